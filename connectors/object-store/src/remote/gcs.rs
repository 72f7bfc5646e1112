//! Google Cloud Storage's words: `objects.list` of its JSON API.
//!
//! An object's tag in events is its MD5 in hexadecimal digits, as S3's are. One that was composed of others
//! has none: its tag is then its generation. Metadata that change do not make another object.

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use clock::Timestamp;
use object_store::Result;
use object_store::client::HttpRequest;
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};
use serde::Deserialize;

use super::{Page, Refusal, Wanted, Words, Wrong, failed, patience, percent_encode, query};
use crate::Listed;

/// Where a bucket of Google Cloud Storage is, and how it is read.
#[derive(Clone)]
pub struct GcsPlace {
    /// The store's address; Google's when it is empty.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The service account that reads it: the JSON that Google makes for a key of it.
    pub service_account: String,
}

pub(super) struct GcsWords {
    address: String,
    credentials: GcpCredentialProvider,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    items: Vec<Item>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    /// Numbers of 64 bits are texts.
    size: String,
    generation: String,
    /// When this generation was made.
    time_created: String,
    md5_hash: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: Failed,
}

#[derive(Deserialize)]
struct Failed {
    #[serde(default)]
    errors: Vec<Reason>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Reason {
    reason: Option<String>,
}

impl GcsWords {
    pub(super) fn new(place: GcsPlace) -> Result<Self> {
        let endpoint = match place.endpoint.trim_end_matches('/') {
            "" => "https://storage.googleapis.com",
            endpoint => endpoint,
        };
        let mut address = format!("{endpoint}/storage/v1/b/");
        percent_encode(&place.bucket, &mut address);
        address.push_str("/o");
        let store = GoogleCloudStorageBuilder::new()
            .with_bucket_name(place.bucket)
            .with_service_account_key(place.service_account)
            .with_retry(patience())
            .build()
            // What is said of the JSON may repeat what is in it.
            .map_err(|_| {
                failed("no key of a service account, as Google makes it: JSON with private_key")
            })?;
        Ok(Self {
            address,
            credentials: store.credentials().clone(),
        })
    }
}

#[async_trait]
impl Words for GcsWords {
    fn address(&self) -> &str {
        &self.address
    }

    async fn request(&self, wanted: &Wanted<'_>) -> Result<HttpRequest> {
        let most = wanted.most.map(|most| most.to_string());
        let fields = "items(name,size,generation,timeCreated,md5Hash),nextPageToken";
        let url = query(
            &self.address,
            &[
                ("fields", Some(fields)),
                ("maxResults", most.as_deref()),
                ("prefix", Some(wanted.prefix).filter(|it| !it.is_empty())),
                ("pageToken", wanted.after),
            ],
        );
        let credential = self.credentials.get_credential().await?;
        let mut request = HttpRequest::new(Bytes::new().into());
        *request.uri_mut() = url.parse().map_err(failed)?;
        // An emulator's service account has no token.
        if !credential.bearer.is_empty() {
            let bearer = format!("Bearer {}", credential.bearer);
            let bearer = bearer.parse().map_err(failed)?;
            request.headers_mut().insert("authorization", bearer);
        }
        Ok(request)
    }

    fn page(&self, body: &str) -> Result<Page, Wrong> {
        let answer: Answer = serde_json::from_str(body)?;
        let objects = answer.items.into_iter().map(|found| {
            let created = Timestamp::parse_rfc3339(&found.time_created);
            let md5 = found.md5_hash.map(|text| BASE64_STANDARD.decode(text));
            let md5 = md5.transpose()?.map(|bytes| hexadecimal(&bytes));
            Ok(Listed {
                key: found.name,
                etag: Some(md5.unwrap_or(found.generation)),
                size: found.size.parse()?,
                modified: created.ok_or_else(|| format!("no time: {:?}", found.time_created))?,
            })
        });
        Ok(Page {
            objects: objects.collect::<Result<_, Wrong>>()?,
            next: answer.next_page_token,
        })
    }

    fn refusal(&self, body: &str) -> Option<Refusal> {
        let Failure { error } = serde_json::from_str(body).ok()?;
        Some(Refusal {
            code: error.errors.into_iter().next().and_then(|it| it.reason),
            message: error.message,
        })
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl std::fmt::Debug for GcsPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GcsPlace")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}
