//! Azure Blob Storage's words: `List Blobs`.
//!
//! A blob's tag changes with whatever changes of it, its metadata too, so that setting those is told as
//! another creation. Directories of a hierarchical namespace are no objects; snapshots, versions and what
//! was deleted softly are not listed.

use async_trait::async_trait;
use bytes::Bytes;
use clock::Timestamp;
use object_store::Result;
use object_store::azure::{
    AzureAuthorizer, AzureConfigKey, AzureCredentialProvider, MicrosoftAzureBuilder,
};
use object_store::client::HttpRequest;
use serde::Deserialize;

use super::{Page, Wanted, Words, Wrong, failed, patience, query};
use crate::Listed;
use crate::notification::form_decoded;

/// Where a container of Azure Blob Storage is, and how it is read.
#[derive(Clone)]
pub struct AzurePlace {
    /// The account's address; that at Azure's public cloud when it is empty.
    pub endpoint: String,
    /// The storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// What opens it.
    pub key: AzureKey,
}

/// What a container is read with.
#[derive(Clone)]
pub enum AzureKey {
    /// One of the account's keys, in base64.
    Account(String),
    /// A shared access signature that may list: `sv=…&sp=rl&sig=…`.
    SharedAccessSignature(String),
}

pub(super) struct AzureWords {
    address: String,
    account: String,
    credentials: AzureCredentialProvider,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    blobs: Blobs,
    next_marker: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blob: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

#[derive(Deserialize)]
struct Name {
    /// Whether the text is percent-encoded, as XML cannot carry every character.
    #[serde(default, rename = "@Encoded")]
    encoded: bool,
    #[serde(default, rename = "$text")]
    text: String,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Last-Modified")]
    last_modified: String,
    #[serde(rename = "Content-Length")]
    content_length: u64,
    #[serde(rename = "Etag")]
    etag: Option<String>,
    /// `directory` or `file` in a hierarchical namespace.
    #[serde(rename = "ResourceType")]
    resource_type: Option<String>,
}

impl AzureWords {
    pub(super) fn new(place: AzurePlace) -> Result<Self> {
        let endpoint = match place.endpoint.trim_end_matches('/') {
            "" => format!("https://{}.blob.core.windows.net", place.account),
            endpoint => endpoint.to_owned(),
        };
        let store = MicrosoftAzureBuilder::new()
            .with_account(&place.account)
            .with_container_name(&place.container)
            .with_retry(patience());
        let store = match place.key {
            AzureKey::Account(key) => store.with_access_key(key),
            AzureKey::SharedAccessSignature(text) => {
                store.with_config(AzureConfigKey::SasKey, text)
            }
        };
        Ok(Self {
            address: format!("{endpoint}/{}", place.container),
            account: place.account,
            credentials: store.build()?.credentials().clone(),
        })
    }
}

#[async_trait]
impl Words for AzureWords {
    fn address(&self) -> &str {
        &self.address
    }

    async fn request(&self, wanted: &Wanted<'_>) -> Result<HttpRequest> {
        let most = wanted.most.map(|most| most.to_string());
        let url = query(
            &self.address,
            &[
                ("restype", Some("container")),
                ("comp", Some("list")),
                ("maxresults", most.as_deref()),
                ("prefix", Some(wanted.prefix).filter(|it| !it.is_empty())),
                ("marker", wanted.after),
            ],
        );
        let credential = self.credentials.get_credential().await?;
        let mut request = HttpRequest::new(Bytes::new().into());
        *request.uri_mut() = url.parse().map_err(failed)?;
        AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request)?;
        Ok(request)
    }

    fn page(&self, body: &str) -> Result<Page, Wrong> {
        // Azure begins with a mark of the order of bytes.
        let answer: Answer = quick_xml::de::from_str(body.trim_start_matches('\u{feff}'))?;
        let files = answer.blobs.blob.into_iter();
        let files = files.filter(|it| it.properties.resource_type.as_deref() != Some("directory"));
        let objects = files.map(|Blob { name, properties }| {
            let modified = Timestamp::parse_http_date(&properties.last_modified);
            Ok(Listed {
                key: match name.encoded {
                    // What is a space in a form is a plus here.
                    true => form_decoded(&name.text.replace('+', "%2B"))
                        .ok_or_else(|| format!("a name is no encoding: {:?}", name.text))?,
                    false => name.text,
                },
                etag: properties.etag,
                size: properties.content_length,
                modified: modified
                    .ok_or_else(|| format!("no time: {:?}", properties.last_modified))?,
            })
        });
        Ok(Page {
            objects: objects.collect::<Result<_, Wrong>>()?,
            next: answer.next_marker,
        })
    }
}

impl std::fmt::Debug for AzurePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AzurePlace")
            .field("endpoint", &self.endpoint)
            .field("account", &self.account)
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for AzureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Account(_) => "Account(…)",
            Self::SharedAccessSignature(_) => "SharedAccessSignature(…)",
        })
    }
}
