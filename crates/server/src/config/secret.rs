//! Secrets by reference.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Where a secret is to be read from; itself no secret.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Secret {
    /// The file's first line.
    File(PathBuf),
    /// The environment variable's value.
    Variable(String),
}

impl Secret {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server crate is the one that reads the environment"
    )]
    /// The secret, as it is now.
    ///
    /// # Errors
    /// There is none; the text names the place, never a value.
    pub(crate) fn read(&self) -> anyhow::Result<String> {
        match self {
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("read {}", path.display()))?;
                Ok(text.lines().next().unwrap_or_default().to_owned())
            }
            Self::Variable(name) => {
                std::env::var(name).with_context(|| format!("the environment variable {name}"))
            }
        }
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // The text may be the secret itself, so that it is not repeated.
        let wrong = "a secret is given as \"file:PATH\" or \"env:NAME\"";
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Variable(name.to_owned())),
            _ => Err(wrong),
        }
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        match secret {
            Secret::File(path) => format!("file:{}", path.display()),
            Secret::Variable(name) => format!("env:{name}"),
        }
    }
}

impl FromStr for Secret {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl Secret {
    /// The same place, whatever folder it is looked for from.
    ///
    /// # Errors
    /// The current folder is not to be had.
    pub(crate) fn absolute(self) -> std::io::Result<Self> {
        match self {
            Self::File(path) => std::path::absolute(path).map(Self::File),
            Self::Variable(name) => Ok(Self::Variable(name)),
        }
    }
}
