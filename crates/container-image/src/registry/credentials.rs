//! Credentials from a file of the operator's, in the form of Docker's `config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::denied;
use crate::Error;

/// The file. It is read whenever a registry asks for proof, and nothing of it is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

/// What proves who we are.
pub(super) enum Credentials {
    /// A user's name and password.
    Password { user: String, password: String },
    /// A token that is exchanged for others.
    Identity(String),
    /// A token for the registry itself.
    Token(String),
}

impl DockerConfig {
    pub(super) async fn read(path: &Path) -> Result<Self, Error> {
        let text = tokio::fs::read(path).await;
        let text = text.map_err(|error| {
            Error::unavailable(format!("read the credentials in {}", path.display()), error)
        })?;
        serde_json::from_slice(&text).map_err(|_| {
            // What the parser would quote may be a secret.
            let reason = "it is not of the form of Docker's config.json";
            Error::unavailable(
                format!("read the credentials in {}", path.display()),
                reason,
            )
        })
    }

    /// Those for a registry, if there are any.
    pub(super) fn credentials(&self, host: &str) -> Result<Option<Credentials>, Error> {
        let entry = self.auths.iter().find(|(key, _)| name(key) == host);
        let entry = entry.map(|(_, entry)| entry.clone()).unwrap_or_default();
        if !entry.registrytoken.is_empty() {
            return Ok(Some(Credentials::Token(entry.registrytoken)));
        }
        if !entry.identitytoken.is_empty() {
            return Ok(Some(Credentials::Identity(entry.identitytoken)));
        }
        if !entry.username.is_empty() {
            return Ok(Some(Credentials::Password {
                user: entry.username,
                password: entry.password,
            }));
        }
        if !entry.auth.is_empty() {
            let decoded = STANDARD.decode(&entry.auth).ok();
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (user, password) = pair.ok_or_else(|| {
                denied(
                    host,
                    "auth in the file of credentials is no USER:PASSWORD in base64",
                )
            })?;
            return Ok(Some(Credentials::Password {
                user: user.to_owned(),
                password: password.to_owned(),
            }));
        }
        if self.creds_store.is_some() || self.cred_helpers.contains_key(host) {
            return Err(denied(
                host,
                "the file of credentials names a helper program for it, and none is run here",
            ));
        }
        Ok(None)
    }
}

/// A registry as it stands in names, by what the file calls it.
fn name(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

impl Credentials {
    /// As a header; `None` for tokens.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        match self {
            Self::Password { user, password } => {
                let pair = STANDARD.encode(format!("{user}:{password}"));
                let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
                value.set_sensitive(true);
                Some(value)
            }
            Self::Identity(_) | Self::Token(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> DockerConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn credentials_are_found_under_every_name_that_tools_write() {
        let auth = STANDARD.encode("ada:a:b");
        for key in [
            "r.example",
            "https://r.example",
            "https://r.example/v1/",
            "r.example/v2/",
        ] {
            let config = config(&format!(r#"{{"auths":{{"{key}":{{"auth":"{auth}"}}}}}}"#));
            match config.credentials("r.example").unwrap() {
                Some(Credentials::Password { user, password }) => {
                    assert_eq!((user.as_str(), password.as_str()), ("ada", "a:b"));
                }
                _ => panic!("{key}"),
            }
            assert!(config.credentials("r.example:5000").unwrap().is_none());
            assert!(config.credentials("example").unwrap().is_none());
        }
    }

    #[test]
    fn a_helper_program_is_refused_by_name_and_no_secret_is_told() {
        let helper = config(r#"{"credHelpers":{"r.example":"pass"}}"#);
        assert!(helper.credentials("r.example").is_err());
        let broken = config(r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#);
        let told = format!("{:?}", broken.credentials("r.example").err().unwrap());
        assert!(
            !told.contains("secret") && !told.contains("c2VjcmV0"),
            "{told}"
        );
    }
}
