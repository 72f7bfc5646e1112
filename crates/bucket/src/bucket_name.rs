//! Names of buckets.

use std::fmt;
use std::sync::Arc;

use event_log::TopicName;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Names with this prefix are Tidemill's own.
const RESERVED: &str = "tidemill-";

/// A bucket's name under AWS's rules: 3 to 63 of `[a-z0-9.-]`, a letter or digit at both ends, no
/// `..`, no IP address, no `xn--` in front. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(Arc<str>);

impl BucketName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`Error::InvalidBucketName`].
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        if !s3s::path::check_bucket_name(name) {
            return Err(Error::InvalidBucketName {
                name: name.chars().take(100).collect(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the bucket is Tidemill's own: S3 clients neither see nor make such buckets.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }

    /// The topic that holds the bucket's objects and their events: `bucket.<name>`.
    #[must_use]
    pub fn topic(&self) -> TopicName {
        TopicName::new(format!("bucket.{self}"))
            .expect("bucket names use a subset of the letters of topics and are short enough")
    }
}

impl TryFrom<String> for BucketName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_break_a_rule_are_refused() {
        let long = "x".repeat(64);
        for name in [
            "", "ab", "Abc", "a_b", "-ab", "ab-", "a..b", "10.0.0.1", "xn--abc", &long, "a/b",
        ] {
            assert!(BucketName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn every_legal_name_has_a_topic() {
        let long = "x".repeat(63);
        for name in ["abc", "my.data-1", &long] {
            let topic = BucketName::new(name).unwrap().topic();
            assert_eq!(topic.as_str(), format!("bucket.{name}"));
        }
    }
}
