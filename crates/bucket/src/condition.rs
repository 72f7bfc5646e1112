//! Conditions on writes.

use crate::{BucketName, ETag, Error, Object, ObjectKey};

/// What must hold of the object that a write replaces. Checked under the key's lock, together with
/// the write: of several writers that want the same thing exactly one succeeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing.
    #[default]
    Always,
    /// There is none (`If-None-Match: *`).
    Absent,
    /// There is one (`If-Match: *`).
    Present,
    /// There is one with this tag (`If-Match: "<tag>"`).
    Tag(ETag),
}

impl WriteCondition {
    /// Whether `current` is as the condition wants it.
    ///
    /// # Errors
    /// [`Error::NoSuchKey`] when one is wanted and there is none, [`Error::PreconditionFailed`]
    /// when the one that exists is in the way or another.
    pub(crate) fn check(
        &self,
        current: Option<&Object>,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<(), Error> {
        let missing = || Error::NoSuchKey {
            bucket: bucket.clone(),
            key: key.clone(),
            marker: None,
        };
        let holds = match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Present => {
                current.ok_or_else(missing)?;
                true
            }
            Self::Tag(tag) => current.ok_or_else(missing)?.etag() == tag,
        };
        if holds {
            Ok(())
        } else {
            Err(Error::PreconditionFailed {
                bucket: bucket.clone(),
                key: key.clone(),
            })
        }
    }
}
