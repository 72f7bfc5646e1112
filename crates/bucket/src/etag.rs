//! Entity tags.

use std::fmt;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

/// An object's entity tag, without quotes: the MD5 of its bytes in hex, or for a multipart upload
/// the MD5 of its parts' MD5s and `-<parts>`. Equal bytes written the same way have equal tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ETag(String);

impl ETag {
    /// Wraps what a client sent, without quotes. It need not be a tag of ours.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The tag of bytes with this MD5.
    #[must_use]
    pub fn of_md5(md5: [u8; 16]) -> Self {
        Self(hex::encode(md5))
    }

    /// The tag of an object of several parts.
    #[must_use]
    pub fn of_parts<'a>(parts: impl ExactSizeIterator<Item = &'a [u8; 16]>) -> Self {
        let count = parts.len();
        let mut all = Md5::new();
        for md5 in parts {
            all.update(md5);
        }
        Self(format!("{}-{count}", hex::encode(all.finalize())))
    }

    /// The tag without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_parts_is_the_md5_of_their_md5s_and_their_number() {
        let part: [u8; 16] = Md5::digest(b"a").into();
        let tag = ETag::of_parts([part, part].iter());
        let expected = hex::encode(Md5::digest([part, part].concat()));
        assert_eq!(tag.as_str(), format!("{expected}-2"));
    }
}
