//! A bucket of a store behind HTTP, asked for listings in that store's own words.
//!
//! Keys come byte for byte: `a//b`, `./a` and `a/` are objects as any other. The clients of `object_store`
//! cannot show them, as their keys are paths; signatures, tokens and the HTTP client are theirs.
//!
//! A store that is busy or does not answer is asked again a few times. What lasts longer is the runner's
//! affair, as is everything that somebody must see to.

mod azure;
mod gcs;
mod listen;
mod s3;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequest, ReqwestConnector};
use object_store::{ClientOptions, Error, Result, RetryConfig};
use serde::Deserialize;
use tokio::time::Instant;

pub use azure::{AzureKey, AzurePlace};
pub use gcs::GcsPlace;
pub use listen::listen_hints;
pub use s3::S3Place;

use crate::{Listed, Listing};

/// How often a page is asked for while the store says that it is busy, and the pause before the second
/// time; it doubles.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);

/// How long a token is asked for, where a store wants one.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of an error that are told.
const TOLD: usize = 300;

/// What to do when a store refuses.
const CREDENTIALS: &str = "the credentials must be right and may list it";

/// A bucket of another store.
#[derive(Clone)]
pub struct Remote {
    client: HttpClient,
    words: Arc<dyn Words>,
}

/// How one kind of store is asked, and how its answers are read.
#[async_trait]
trait Words: Send + Sync {
    /// The bucket's address, without secrets.
    fn address(&self) -> &str;

    /// A request for a page of a listing, signed.
    async fn request(&self, wanted: &Wanted<'_>) -> Result<HttpRequest>;

    /// Reads such a page.
    fn page(&self, body: &str) -> Result<Page, Wrong>;

    /// Reads what the store says when it refuses.
    fn refusal(&self, body: &str) -> Option<Refusal> {
        quick_xml::de::from_str(body).ok()
    }
}

type Wrong = Box<dyn std::error::Error + Send + Sync>;

/// What is asked for.
struct Wanted<'a> {
    /// What keys begin with.
    prefix: &'a str,
    /// Where the page before has ended, in the store's words; `None` for the first.
    after: Option<&'a str>,
    /// How many objects at most; as many as the store puts on a page without.
    most: Option<usize>,
}

/// Part of a listing.
#[derive(Debug, Default)]
struct Page {
    objects: Vec<Listed>,
    /// Where the next one begins; `None` when this is the last.
    next: Option<String>,
}

/// What a store says when it refuses. Whatever else it says may hold what was signed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: Option<String>,
    message: Option<String>,
}

/// Where a listing is.
enum Turn {
    First,
    After(String),
    Done,
}

impl Remote {
    /// A bucket of an S3-compatible store, not connected yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn s3(place: S3Place) -> Result<Self> {
        Self::of(Arc::new(s3::S3Words::new(place)))
    }

    /// A container of Azure Blob Storage, not connected yet.
    ///
    /// # Errors
    /// The key is none; TLS cannot be set up.
    pub fn azure(place: AzurePlace) -> Result<Self> {
        Self::of(Arc::new(azure::AzureWords::new(place)?))
    }

    /// A bucket of Google Cloud Storage, not connected yet.
    ///
    /// # Errors
    /// The service account's key is none; TLS cannot be set up.
    pub fn gcs(place: GcsPlace) -> Result<Self> {
        Self::of(Arc::new(gcs::GcsWords::new(place)?))
    }

    fn of(words: Arc<dyn Words>) -> Result<Self> {
        let plain = words.address().starts_with("http://");
        let options = ClientOptions::new().with_allow_http(plain);
        let client = ReqwestConnector::default().connect(&options)?;
        Ok(Self { client, words })
    }

    async fn page(&self, wanted: &Wanted<'_>) -> Result<Page> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            match self.ask(wanted).await {
                Err(Error::Generic { .. }) => {}
                answered => return answered,
            }
            tokio::time::sleep_until(Instant::now() + pause).await;
            pause *= 2;
        }
        self.ask(wanted).await
    }

    async fn ask(&self, wanted: &Wanted<'_>) -> Result<Page> {
        let request = self.words.request(wanted).await?;
        let answer = self.client.execute(request).await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.into_body().bytes().await.map_err(failed)?;
        let text = std::str::from_utf8(&body).map_err(failed)?;
        match status {
            200 => self.words.page(text).map_err(failed),
            status => Err(refused(
                self.words.address(),
                status,
                self.words.refusal(text).unwrap_or_default(),
            )),
        }
    }

    fn pages(&self, prefix: &str, most: Option<usize>) -> BoxStream<'static, Result<Listed>> {
        let (remote, prefix) = (self.clone(), prefix.to_owned());
        let pages = stream::try_unfold(Turn::First, move |turn| {
            let (remote, prefix) = (remote.clone(), prefix.clone());
            async move {
                let after = match &turn {
                    Turn::First => None,
                    Turn::After(token) => Some(token.as_str()),
                    Turn::Done => return Ok::<_, Error>(None),
                };
                let wanted = Wanted {
                    prefix: &prefix,
                    after,
                    most,
                };
                let page = remote.page(&wanted).await?;
                let next = page.next.filter(|token| !token.is_empty());
                let turn = next.map_or(Turn::Done, Turn::After);
                Ok(Some((stream::iter(page.objects).map(Ok), turn)))
            }
        });
        pages.try_flatten().boxed()
    }
}

#[async_trait]
impl Listing for Remote {
    fn all(&self, prefix: Option<&str>) -> BoxStream<'static, Result<Listed>> {
        self.pages(prefix.unwrap_or_default(), None)
    }

    async fn one(&self, key: &str) -> Result<Option<Listed>> {
        // In the order of their bytes, the key itself comes before all that only begin with it.
        let first = self.pages(key, Some(1)).try_next().await?;
        Ok(first.filter(|object| object.key == key))
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote")
            .field(&self.words.address())
            .finish()
    }
}

/// What a store's refusal means, and what to do.
fn refused(address: &str, status: u16, refusal: Refusal) -> Error {
    let mut said = status.to_string();
    if let Some(code) = refusal.code {
        said.push_str(&format!(" {code}"));
    }
    // Some stores append identifiers on lines of their own.
    if let Some(line) = refusal.message.as_deref().and_then(|it| it.lines().next()) {
        said.push_str(&format!(": {line}"));
    }
    said.truncate(said.floor_char_boundary(TOLD));
    let path = address.to_owned();
    let advised = |advice: &str| format!("{said} ({advice})").into();
    match status {
        401 => Error::Unauthenticated {
            path,
            source: advised(CREDENTIALS),
        },
        403 => Error::PermissionDenied {
            path,
            source: advised(CREDENTIALS),
        },
        404 => Error::NotFound {
            path,
            source: advised("make it there, or correct its name"),
        },
        _ => failed(said),
    }
}

/// `address?name=value&…` of the pairs that have a value.
fn query(address: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut url = address.to_owned();
    for (name, value) in pairs {
        if let Some(value) = value {
            url.push(if url.len() == address.len() { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            percent_encode(value, &mut url);
        }
    }
    url
}

/// Whatever is not a letter, a digit or one of `-._~`, as signatures have it.
fn percent_encode(text: &str, onto: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                onto.push(char::from(byte));
            }
            other => onto.push_str(&format!("%{other:02X}")),
        }
    }
}

/// A token is asked for as long as a page.
fn patience() -> RetryConfig {
    RetryConfig {
        retry_timeout: PATIENCE,
        ..RetryConfig::default()
    }
}

fn failed(source: impl Into<Wrong>) -> Error {
    Error::Generic {
        store: "object store",
        source: source.into(),
    }
}

#[cfg(test)]
mod tests;
