//! Layers: what several functions share, shown to them at `/opt`.

use std::fmt;
use std::sync::Arc;

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::CodePackage;
use crate::limits::LAYER_NAME_CHARS;

/// One version of a layer, as one document of the registry. It never changes, but may be deleted: then
/// it is shown to nobody and serves on for the functions that name it already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerVersion {
    /// The owning account: twelve digits.
    pub account: String,
    /// Which it is.
    pub id: LayerId,
    /// Free text.
    pub description: String,
    /// Free text: an SPDX identifier, a link, or the licence itself.
    pub license: String,
    /// AWS's identifiers of the runtimes that it is meant for: kept and shown, and what lists are
    /// narrowed by.
    pub compatible_runtimes: Vec<String>,
    /// Likewise for architectures.
    pub compatible_architectures: Vec<String>,
    /// Its content's identity.
    pub content: CodePackage,
    /// When it was published.
    pub created: Timestamp,
    /// Whether its owner has deleted it.
    #[serde(default)]
    pub deleted: bool,
}

/// A version of a layer, within its account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerId {
    /// The layer's name.
    pub name: LayerName,
    /// From 1 upwards. A number is never given twice.
    pub version: u64,
}

/// What a new version of a layer is made of.
#[derive(Clone, Debug)]
pub struct NewLayerVersion {
    /// The owning account: twelve digits.
    pub account: String,
    /// The layer's name.
    pub name: LayerName,
    /// Free text.
    pub description: String,
    /// Free text.
    pub license: String,
    /// Runtimes that it is meant for.
    pub compatible_runtimes: Vec<String>,
    /// Architectures that it is meant for.
    pub compatible_architectures: Vec<String>,
}

/// A layer's name: 1 to 140 of `[a-zA-Z0-9-_]`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayerName(Arc<str>);

/// Text that is no layer's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("layer name {name:?} is invalid: use 1 to {LAYER_NAME_CHARS} of a-z A-Z 0-9 - _")]
pub struct LayerNameError {
    name: String,
}

impl LayerId {
    /// The version's ARN in `region`, for an owner.
    #[must_use]
    pub fn arn(&self, region: &str, account: &str) -> String {
        let Self { name, version } = self;
        format!("arn:aws:lambda:{region}:{account}:layer:{name}:{version}")
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.version)
    }
}

impl LayerName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`LayerNameError`] when the name breaks AWS's rule.
    pub fn new(name: impl AsRef<str>) -> Result<Self, LayerNameError> {
        let name = name.as_ref();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > LAYER_NAME_CHARS || !name.bytes().all(legal) {
            return Err(LayerNameError {
                name: name.chars().take(LAYER_NAME_CHARS).collect(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LayerName {
    type Error = LayerNameError;

    fn try_from(name: String) -> Result<Self, LayerNameError> {
        Self::new(name)
    }
}

impl From<LayerName> for String {
    fn from(name: LayerName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
