//! S3's words: `ListObjectsV2`, whose keys travel form-encoded since XML cannot carry every character.

use async_trait::async_trait;
use bytes::Bytes;
use clock::Timestamp;
use object_store::Result;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequest;
use serde::Deserialize;

use super::{Page, Wanted, Words, Wrong, failed, query};
use crate::Listed;
use crate::notification::form_decoded;

/// Where a bucket of an S3-compatible store is, and with which keys it is read.
#[derive(Clone)]
pub struct S3Place {
    /// The store's address; AWS S3 of the region when it is empty.
    pub endpoint: String,
    /// The store's region.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// The public half of the keys.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
}

pub(super) struct S3Words {
    /// Path style, which every store knows.
    address: String,
    region: String,
    credential: AwsCredential,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    contents: Vec<Contents>,
    encoding_type: Option<String>,
    next_continuation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    last_modified: String,
    #[serde(rename = "ETag")]
    e_tag: Option<String>,
    size: u64,
}

impl S3Words {
    pub(super) fn new(place: S3Place) -> Self {
        let endpoint = match place.endpoint.trim_end_matches('/') {
            "" => format!("https://s3.{}.amazonaws.com", place.region),
            endpoint => endpoint.to_owned(),
        };
        Self {
            address: format!("{endpoint}/{}", place.bucket),
            region: place.region,
            credential: AwsCredential {
                key_id: place.access_key_id,
                secret_key: place.secret_access_key,
                token: None,
            },
        }
    }

    /// A request for what is at `url`, signed.
    pub(super) fn signed(&self, url: &str) -> Result<HttpRequest> {
        let mut request = HttpRequest::new(Bytes::new().into());
        *request.uri_mut() = url.parse().map_err(failed)?;
        AwsAuthorizer::new(&self.credential, "s3", &self.region)
            .try_authorize(&mut request, None)?;
        Ok(request)
    }
}

#[async_trait]
impl Words for S3Words {
    fn address(&self) -> &str {
        &self.address
    }

    async fn request(&self, wanted: &Wanted<'_>) -> Result<HttpRequest> {
        let most = wanted.most.map(|most| most.to_string());
        let url = query(
            &self.address,
            &[
                ("list-type", Some("2")),
                ("encoding-type", Some("url")),
                ("max-keys", most.as_deref()),
                ("prefix", Some(wanted.prefix).filter(|it| !it.is_empty())),
                ("continuation-token", wanted.after),
            ],
        );
        self.signed(&url)
    }

    fn page(&self, body: &str) -> Result<Page, Wrong> {
        let answer: Answer = quick_xml::de::from_str(body)?;
        let encoded = answer.encoding_type.as_deref() == Some("url");
        let objects = answer.contents.into_iter().map(|found| {
            let modified = Timestamp::parse_rfc3339(&found.last_modified);
            Ok(Listed {
                key: match encoded {
                    true => form_decoded(&found.key)
                        .ok_or_else(|| format!("a key is no form encoding: {:?}", found.key))?,
                    false => found.key,
                },
                etag: found.e_tag,
                size: found.size,
                modified: modified.ok_or_else(|| format!("no time: {:?}", found.last_modified))?,
            })
        });
        Ok(Page {
            objects: objects.collect::<Result<_, Wrong>>()?,
            next: answer.next_continuation_token,
        })
    }
}

impl std::fmt::Debug for S3Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Place")
            .field("endpoint", &self.endpoint)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}
