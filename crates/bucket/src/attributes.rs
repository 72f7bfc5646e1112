//! What a writer says about an object.

use std::collections::BTreeMap;

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, Tags};

/// The most bytes of user metadata (AWS, "Working with object metadata", 2026).
const MAX_USER_METADATA: usize = 2 * 1024;

/// Headers and metadata kept with an object and given back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectAttributes {
    /// Headers of HTTP's own.
    #[serde(default, skip_serializing_if = "ObjectHeaders::is_empty")]
    pub headers: ObjectHeaders,
    /// The user's metadata: names in lower case without `x-amz-meta-`, at most 2 KiB together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Its tags, as they are now.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// HTTP headers kept with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each field is the header of that name")]
pub struct ObjectHeaders {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_disposition: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl ObjectHeaders {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl ObjectAttributes {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let bytes = self
            .metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > MAX_USER_METADATA {
            return Err(Error::MetadataTooLarge {
                bytes,
                limit: MAX_USER_METADATA,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_taken_up_to_two_kibibytes() {
        let of = |bytes: usize| ObjectAttributes {
            metadata: BTreeMap::from([("k".to_owned(), "v".repeat(bytes - 1))]),
            ..Default::default()
        };
        assert!(of(2048).check().is_ok());
        assert!(matches!(
            of(2049).check(),
            Err(Error::MetadataTooLarge { bytes: 2049, .. })
        ));
    }
}
