//! Keys of records in a bucket's topic: one for each version of each object.
//!
//! The topic keeps the latest record of every key, so a record's key names what its object's next
//! version must not supersede. The version `null` has the object's key itself, as every object had
//! before there were versions; any other has that key, a byte that UTF-8 never holds, and its id.
//! Records of one object are in one partition all the same, that of the object's key.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{ObjectKey, VersionId};

/// What stands between an object's key and a version's id.
const SEPARATOR: u8 = 0xff;

/// The key of records about a version of an object.
pub(crate) fn record_key(key: &ObjectKey, version: VersionId) -> Bytes {
    let key = key.as_str().as_bytes();
    if version == VersionId::NULL {
        return Bytes::copy_from_slice(key);
    }
    let version = version.to_string();
    let mut bytes = BytesMut::with_capacity(key.len() + 1 + version.len());
    bytes.extend_from_slice(key);
    bytes.put_u8(SEPARATOR);
    bytes.extend_from_slice(version.as_bytes());
    bytes.freeze()
}

/// The object and the version that a record with this key is about; what is wrong with it when it is
/// about none.
pub(crate) fn parse(bytes: &[u8]) -> Result<(ObjectKey, VersionId), String> {
    let mut parts = bytes.splitn(2, |byte| *byte == SEPARATOR);
    let mut text = || {
        let part = parts.next().map(std::str::from_utf8).transpose();
        part.map_err(|_| "the record has no readable key".to_owned())
    };
    let key = ObjectKey::new(text()?.unwrap_or_default()).map_err(|error| error.to_string())?;
    let version = match text()?.map(VersionId::parse) {
        None => VersionId::NULL,
        Some(Ok(VersionId::NULL)) => return Err("the record names a version twice".to_owned()),
        Some(version) => version.map_err(|error| error.to_string())?,
    };
    Ok((key, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sequencer;

    #[test]
    fn a_record_key_says_object_and_version_whatever_the_key_holds() {
        let id = VersionId::new(Sequencer::from_bits(7));
        let looks_like_one = format!("a\u{ff}{id}");
        for key in ["a", "\0", "é\u{ff}", "null", &looks_like_one] {
            let key = ObjectKey::new(key).unwrap();
            for version in [VersionId::NULL, id] {
                let bytes = record_key(&key, version);
                assert_eq!(parse(&bytes).unwrap(), (key.clone(), version));
            }
            assert_eq!(record_key(&key, VersionId::NULL), key.as_str());
        }
    }

    /// The format on disk: what is written today must be read for ever.
    #[test]
    fn a_record_key_of_the_first_format_is_read() {
        let (key, version) = parse(b"a/b\xff06600a2b4c8000010123456789abcdef").unwrap();
        assert_eq!(key.as_str(), "a/b");
        assert_eq!(version.to_string(), "06600a2b4c8000010123456789abcdef");
    }

    #[test]
    fn what_no_store_writes_is_no_record_key() {
        for bytes in [
            &b""[..],
            b"a\xff",
            b"a\xffnull",
            b"\xff06600a2b4c8000010123456789abcdef",
            b"a\xfe",
            b"a\xff06600a2b4c8000010123456789abcdef\xff",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }
}
