//! A deployed function.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use clock::Timestamp;
use event_log::TopicName;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{ImageCode, LayerId, Logging, Version, limits};

/// One version of a function: configuration and code, as one document of the registry. What is said
/// of the whole function (tags, reserved concurrency, the last number) is in the document of `$LATEST`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// The owning account: twelve digits.
    pub account: String,
    /// Its name, unique within the account.
    pub name: FunctionName,
    /// Which version it is.
    #[serde(default)]
    pub version: Version,
    /// The highest number that was ever given to a version, 0 when none was. No number is given twice.
    #[serde(default)]
    pub last_version: u64,
    /// AWS's identifier of the runtime, for example `python3.13`.
    pub runtime: String,
    /// What the runtime calls; empty for `provided.*`.
    pub handler: String,
    /// The role's ARN as the user gave it. What may be done in its name is the server's configuration.
    pub role: String,
    /// Free text.
    pub description: String,
    /// Memory in MiB, 128 to 10,240.
    pub memory_mib: u32,
    /// `/tmp` in MiB, 512 to 10,240.
    #[serde(default = "default_ephemeral_storage")]
    pub ephemeral_storage_mib: u32,
    /// The longest invocation in seconds, 1 to 900.
    pub timeout_seconds: u32,
    /// Environment variables of the function's process.
    pub environment: BTreeMap<String, String>,
    /// The unpacked code's identity; empty for an image.
    pub code: CodePackage,
    /// Its code where that is a container image; `None` for a package.
    #[serde(default)]
    pub image: Option<ImageCode>,
    /// Its layers, in the order in which they are laid over one another.
    #[serde(default)]
    pub layers: Vec<LayerId>,
    /// How its log is written.
    #[serde(default)]
    pub logging: Logging,
    /// Tags, shown to whoever asks.
    pub tags: BTreeMap<String, String>,
    /// At most this many invocations at once, and that many kept for it; `Some(0)` switches it off.
    pub reserved_concurrency: Option<u32>,
    /// What happens to asynchronous invocations that fail.
    pub asynchronous: AsyncPolicy,
    /// Statements of the resource policy, by statement id: kept and shown. Calls from the function's
    /// own account need none, so they decide nothing here.
    #[serde(default)]
    pub policy: BTreeMap<String, PolicyStatement>,
    /// How many instances of a published version are kept initialised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<ProvisionedConcurrency>,
    /// Changes with every change of configuration or code: the optimistic lock of updates, and the
    /// identity that a warm instance must match.
    pub revision: Uuid,
    /// When it last changed.
    pub last_modified: Timestamp,
}

/// That of functions that were stored before there was a choice.
const fn default_ephemeral_storage() -> u32 {
    limits::DEFAULT_EPHEMERAL_STORAGE_MIB
}

/// A function's code as it was uploaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodePackage {
    /// SHA-256 of the archive, base64 as AWS shows it.
    pub sha256: String,
    /// Bytes of the archive.
    pub size: u64,
}

/// How many instances are kept initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedConcurrency {
    /// The number, at least 1.
    pub executions: u32,
    /// When it was asked for.
    pub configured_at: Timestamp,
}

/// Retry rules of asynchronous invocations (AWS's EventInvokeConfig).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsyncPolicy {
    /// Attempts after the first, 0 to 2; AWS's default is 2.
    pub maximum_retry_attempts: u32,
    /// Seconds that an event may wait and retry, 60 to 21,600; AWS's default is 21,600.
    pub maximum_event_age_seconds: u32,
    /// Where an event goes that was given up.
    pub on_failure: Destination,
    /// When the user set these rules; `None` while they are AWS's defaults.
    #[serde(default)]
    pub configured_at: Option<Timestamp>,
}

/// Who may call a function, as `AddPermission` states it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatement {
    /// The action, for example `lambda:InvokeFunction`.
    pub action: String,
    /// A service (`s3.amazonaws.com`), an account, a principal's ARN, or `*`.
    pub principal: String,
    /// The calling resource's ARN must match this.
    pub source_arn: Option<String>,
    /// The calling resource's account.
    pub source_account: Option<String>,
    /// The token that an Alexa skill must show.
    pub event_source_token: Option<String>,
    /// The organisation that the caller must belong to.
    pub principal_org_id: Option<String>,
}

impl Default for AsyncPolicy {
    fn default() -> Self {
        Self {
            maximum_retry_attempts: 2,
            maximum_event_age_seconds: 21_600,
            on_failure: Destination::DeadLetters,
            configured_at: None,
        }
    }
}

/// Where an event goes that was given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// The topic `tidemill.dead-letters`.
    #[default]
    DeadLetters,
    /// A topic of the user's own (`kafka://<topic>` in AWS's words).
    Topic(TopicName),
}

/// A function's name: 1 to 64 of `[a-zA-Z0-9-_]`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FunctionName(Arc<str>);

/// Text that is no function name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("function name {name:?} is invalid: use 1 to 64 of a-z A-Z 0-9 - _")]
pub struct NameError {
    name: String,
}

impl Function {
    /// The longest invocation.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// The function's unqualified ARN in `region`.
    #[must_use]
    pub fn arn(&self, region: &str) -> String {
        format!(
            "arn:aws:lambda:{region}:{}:function:{}",
            self.account, self.name
        )
    }
}

impl Function {
    /// The SHA-256 of its code as AWS shows it: of an archive in base64, of the image that runs in
    /// hexadecimal.
    #[must_use]
    pub fn code_sha256(&self) -> String {
        match &self.image {
            None => self.code.sha256.clone(),
            Some(code) => {
                let digest = code.running.as_ref().map(|image| image.digest.hex());
                digest.unwrap_or_default()
            }
        }
    }

    /// Whether code and configuration are those of `other`, another version of the same function.
    /// Descriptions make no difference: a version may have one of its own.
    #[must_use]
    pub fn runs_like(&self, other: &Self) -> bool {
        let mut like = self.clone();
        like.version = other.version;
        like.last_version = other.last_version;
        like.description.clone_from(&other.description);
        like.tags.clone_from(&other.tags);
        like.reserved_concurrency = other.reserved_concurrency;
        like.asynchronous.clone_from(&other.asynchronous);
        like.policy.clone_from(&other.policy);
        like.provisioned = other.provisioned;
        like.revision = other.revision;
        like.last_modified = other.last_modified;
        if let (Some(code), Some(other)) = (&mut like.image, &other.image) {
            code.arriving.clone_from(&other.arriving);
        }
        like == *other
    }
}

impl FunctionName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`NameError`] when the name breaks AWS's rule.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
            return Err(NameError {
                name: name.chars().take(140).collect(),
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

impl TryFrom<String> for FunctionName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        Self::new(name)
    }
}

impl From<FunctionName> for String {
    fn from(name: FunctionName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
