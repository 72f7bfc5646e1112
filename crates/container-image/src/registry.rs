//! Images in registries (OCI distribution specification 1.1, which Docker's HTTP API version 2 became).

mod challenge;
mod credentials;
mod pattern;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::OnceCell;

use crate::manifest::ACCEPTED;
use crate::reference::{Place, Version};
use crate::sink::Sink;
use crate::source::{DOCUMENT_BYTES, Shelf};
use crate::{Error, Reference};

use challenge::Challenge;
use credentials::{Credentials, DockerConfig};
pub use pattern::{PatternError, RegistryPattern};

/// The setting that permits registries, as operators write it.
const SETTING: &str = "functions.images.registries";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A registry that sends nothing for so long has failed.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const REDIRECTS: usize = 5;

/// Bytes of what a token server answers, at most.
const TOKEN_BYTES: u64 = 256 * 1024;

/// Reads from registries.
#[derive(Debug)]
pub(crate) struct Registries {
    permitted: Vec<RegistryPattern>,
    docker_config: Option<PathBuf>,
    clients: OnceCell<Clients>,
}

/// Made when a registry is asked for the first time.
#[derive(Debug)]
struct Clients {
    distant: Client,
    /// For this machine's own registries, which no proxy leads to.
    local: Client,
}

impl Registries {
    pub(crate) const fn new(
        permitted: Vec<RegistryPattern>,
        docker_config: Option<PathBuf>,
    ) -> Self {
        Self {
            permitted,
            docker_config,
            clients: OnceCell::const_new(),
        }
    }

    async fn client(&self, host: &str) -> Result<&Client, Error> {
        let clients = self.clients.get_or_try_init(|| async { Clients::new() });
        let Clients { distant, local } = clients.await?;
        Ok(if is_local(host) { local } else { distant })
    }
}

impl Clients {
    fn new() -> Result<Self, Error> {
        let build = || {
            Client::builder()
                .user_agent("tidemill")
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .redirect(Policy::custom(follow))
        };
        let fail = |error| Error::unavailable("prepare to speak to registries", error);
        Ok(Self {
            distant: build().build().map_err(fail)?,
            local: build().no_proxy().build().map_err(fail)?,
        })
    }
}

impl Registries {
    /// Asks the registry of `image` for `path` below its repository, with credentials if it wants some.
    async fn get(&self, image: &Reference, path: &str, accept: &str) -> Result<Response, Error> {
        let host = self.host(image)?;
        let scheme = if is_local(host) { "http" } else { "https" };
        let url = format!("{scheme}://{host}/v2/{}/{path}", image.name());
        let url = Url::parse(&url).map_err(|_| Error::Reference {
            text: image.to_string(),
            reason: "its registry is no host",
        })?;
        let client = self.client(host).await?;
        let ask = |authorization: Option<HeaderValue>| {
            let request = client.get(url.clone()).header(ACCEPT, accept);
            let request = match authorization {
                Some(value) => request.header(AUTHORIZATION, value),
                None => request,
            };
            request.send()
        };
        let act = || format!("ask {host} for {image}");
        let fail = |error| Error::unavailable(act(), error);
        let mut answer = ask(None).await.map_err(fail)?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            let authorization = self.authorize(client, host, image, &answer).await?;
            answer = ask(Some(authorization)).await.map_err(fail)?;
        }
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::NOT_FOUND => Err(Error::NotFound {
                image: format!("{path} of {image}"),
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(denied(
                host,
                "it does not let these credentials read the repository",
            )),
            status => Err(Error::unavailable(act(), format!("it answered {status}"))),
        }
    }

    /// The registry of an image, if it may be asked.
    fn host<'a>(&self, image: &'a Reference) -> Result<&'a str, Error> {
        let (host, place) = match image.place() {
            Place::Registry(host) => (host.as_str(), format!("the registry {host}")),
            Place::Layouts => ("", image.to_string()),
        };
        if self.permitted.iter().any(|pattern| pattern.matches(host)) {
            Ok(host)
        } else {
            let setting = SETTING;
            Err(Error::NotPermitted { place, setting })
        }
    }

    /// What the registry wants to see, by what it answered without.
    async fn authorize(
        &self,
        client: &Client,
        host: &str,
        image: &Reference,
        answer: &Response,
    ) -> Result<HeaderValue, Error> {
        let stated = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let mut stated = stated.filter_map(|value| Challenge::read(value.to_str().ok()?));
        let challenge = stated.next();
        let challenge =
            challenge.ok_or_else(|| denied(host, "it asks for no known kind of proof"))?;
        let credentials = match &self.docker_config {
            Some(path) => DockerConfig::read(path).await?.credentials(host)?,
            None => None,
        };
        match (challenge, credentials) {
            (_, Some(Credentials::Token(token))) => bearer(host, &token),
            (Challenge::Basic, Some(credentials)) => credentials
                .basic()
                .ok_or_else(|| denied(host, "it wants a user's name and password")),
            (Challenge::Basic, None) => Err(denied(host, "there are no credentials for it")),
            (
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                },
                credentials,
            ) => {
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", image.name()));
                let asked = challenge::TokenRequest {
                    realm,
                    service,
                    scope,
                    local: is_local(host),
                };
                let token = asked.send(client, host, credentials.as_ref()).await?;
                bearer(host, &token)
            }
        }
    }
}

#[async_trait]
impl Shelf for Registries {
    async fn manifest(&self, image: &Reference) -> Result<Vec<u8>, Error> {
        let version = match image.version() {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
            Version::Only => "latest".to_owned(),
        };
        let path = format!("manifests/{version}");
        let answer = self.get(image, &path, &ACCEPTED.join(", ")).await?;
        collect(answer, DOCUMENT_BYTES, &format!("the manifest {image}")).await
    }

    async fn content(&self, image: &Reference, to: &mut Sink) -> Result<(), Error> {
        let path = format!("blobs/{}", to.digest());
        let mut answer = self.get(image, &path, "*/*").await?;
        let broken = |error| Error::unavailable(format!("read {path} of {image}"), error);
        while let Some(chunk) = answer.chunk().await.map_err(broken)? {
            to.write(&chunk).await?;
        }
        Ok(())
    }
}

/// A whole body of at most so many bytes.
async fn collect(mut answer: Response, limit: u64, what: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let broken = |error| Error::unavailable(format!("read {what}"), error);
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(Error::invalid(what, "it is too long"));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Content may lie with somebody else, but is never asked for in plain text, except on this machine by
/// a registry of this machine. Credentials do not go along to another host.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let from_local = attempt.previous().first().is_some_and(is_local_url);
    let safe = is_safe(attempt.url(), from_local);
    if attempt.previous().len() > REDIRECTS {
        attempt.error("it is led on too often")
    } else if safe {
        attempt.follow()
    } else {
        attempt.error("it is led on to where nothing is encrypted")
    }
}

/// Whether `url` is encrypted, or of this machine where that is allowed.
fn is_safe(url: &Url, local: bool) -> bool {
    url.scheme() == "https" || (local && url.scheme() == "http" && is_local_url(url))
}

fn is_local_url(url: &Url) -> bool {
    url.host_str().is_some_and(is_local)
}

/// Whether `host`, with a port or without, is this machine's loopback interface.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn bearer(host: &str, token: &str) -> Result<HeaderValue, Error> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| denied(host, "its token is no text of a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn denied(registry: &str, reason: &str) -> Error {
    Error::Denied {
        registry: registry.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
