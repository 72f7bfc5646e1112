//! How a registry asks for proof, and how a token is got (distribution's token authentication).

use reqwest::header::AUTHORIZATION;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;

use super::credentials::Credentials;
use super::{TOKEN_BYTES, collect, denied, is_safe};
use crate::{Error, manifest};

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user's name and password.
    Basic,
    /// A token from somebody else.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// A question for a token.
pub(super) struct TokenRequest {
    pub(super) realm: String,
    pub(super) service: Option<String>,
    pub(super) scope: String,
    /// Whether the registry is of this machine, so that its token server may be.
    pub(super) local: bool,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    /// `None` for a kind that we have no proof for.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (kind, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !kind.eq_ignore_ascii_case("bearer") {
            return None;
        }
        Some(Self::Bearer {
            realm: parameter(rest, "realm")?,
            service: parameter(rest, "service"),
            scope: parameter(rest, "scope"),
        })
    }
}

/// The value of a parameter of a challenge.
fn parameter(mut text: &str, wanted: &str) -> Option<String> {
    loop {
        let (name, rest) = text.split_once('=')?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        if name.trim_matches([',', ' ']).eq_ignore_ascii_case(wanted) {
            return Some(value.to_owned());
        }
        text = rest;
    }
}

impl TokenRequest {
    /// Asks with these credentials, or as nobody.
    pub(super) async fn send(
        self,
        client: &Client,
        host: &str,
        credentials: Option<&Credentials>,
    ) -> Result<String, Error> {
        let realm = Url::parse(&self.realm).ok();
        let realm = realm.filter(|url| is_safe(url, self.local));
        let realm = realm.ok_or_else(|| denied(host, "its token server is not encrypted"))?;
        let request = match credentials {
            Some(Credentials::Identity(token)) => {
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", "tidemill"),
                    ("scope", &self.scope),
                    ("refresh_token", token),
                ];
                form.extend(self.service.as_deref().map(|service| ("service", service)));
                // The one serialiser of forms at hand is that of addresses.
                let mut body = realm.clone();
                body.query_pairs_mut().clear().extend_pairs(form);
                let body = body.query().unwrap_or_default().to_owned();
                let request = client.post(realm);
                let kind = "application/x-www-form-urlencoded";
                request.header("content-type", kind).body(body)
            }
            Some(Credentials::Password { .. } | Credentials::Token(_)) | None => {
                let mut url = realm;
                url.query_pairs_mut()
                    .extend_pairs(self.service.as_deref().map(|service| ("service", service)))
                    .append_pair("scope", &self.scope);
                let request = client.get(url);
                match credentials.and_then(Credentials::basic) {
                    Some(basic) => request.header(AUTHORIZATION, basic),
                    None => request,
                }
            }
        };
        let act = || format!("ask for a token to read from {host}");
        // Its address may hold a token, and is left out.
        let fail = |error: reqwest::Error| Error::unavailable(act(), error.without_url());
        let answer = request.send().await.map_err(fail)?;
        match answer.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                return Err(denied(host, "its token server refuses these credentials"));
            }
            status => return Err(Error::unavailable(act(), format!("it answered {status}"))),
        }
        let what = format!("the token for {host}");
        let bytes = collect(answer, TOKEN_BYTES, &what).await?;
        let answer: Answer = manifest::read(&what, &bytes)
            .map_err(|_| denied(host, "its token server answered with no token"))?;
        let token = answer.token.or(answer.access_token);
        token.ok_or_else(|| denied(host, "its token server answered with no token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let read = Challenge::read(
            r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#,
        );
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".to_owned(),
            service: Some("r.example".to_owned()),
            scope: Some("repository:a/b:pull,push".to_owned()),
        };
        assert_eq!(read, Some(expected));
        let read = Challenge::read("bearer service=x, realm=https://a.example/t");
        let expected = Challenge::Bearer {
            realm: "https://a.example/t".to_owned(),
            service: Some("x".to_owned()),
            scope: None,
        };
        assert_eq!(read, Some(expected));
        assert_eq!(Challenge::read("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::read("Negotiate"), None);
        assert_eq!(Challenge::read("Bearer service=\"x\""), None);
    }
}
