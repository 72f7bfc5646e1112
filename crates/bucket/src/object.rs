//! Objects as the index holds them.

use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use event_log::{Offset, TopicPartition};

use crate::blob::OwnedBlobs;
use crate::connected::OpenFile;
use crate::{Checksums, ETag, ObjectAttributes, ObjectKey, Sequencer, UploadId, VersionId};

/// One visible version of an object. As long as somebody holds it its bytes can be read, also after
/// it has been replaced or deleted.
#[derive(Debug)]
pub struct Object {
    pub(crate) key: ObjectKey,
    pub(crate) version: VersionId,
    /// Its place among the versions of its key: that of its writing, whatever its tags went through.
    pub(crate) order: Sequencer,
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) last_modified: Timestamp,
    pub(crate) sequencer: Sequencer,
    pub(crate) checksums: Checksums,
    pub(crate) attributes: ObjectAttributes,
    pub(crate) upload: Option<UploadId>,
    pub(crate) content: Content,
}

/// Where an object's bytes are.
#[derive(Debug)]
pub(crate) enum Content {
    /// In its record.
    Inline(Place),
    /// In blobs, one after the other. For a multipart upload they are its parts. Shared by what an
    /// object was before and after its tags changed.
    Blobs(Arc<OwnedBlobs>),
    /// In somebody else's file. The index holds no such object.
    File(Arc<OpenFile>),
}

/// A record's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: Offset,
}

/// Bytes of a new object, before they have a place.
#[derive(Debug)]
pub(crate) enum NewContent {
    Inline(Bytes),
    Blobs(Arc<OwnedBlobs>),
}

impl Object {
    /// A file of somebody else's as an object: no attributes, no checksums.
    pub(crate) fn of_file(key: ObjectKey, file: OpenFile) -> Self {
        Self {
            key,
            size: file.opened.size,
            etag: file.opened.etag.clone(),
            last_modified: file.opened.modified,
            version: VersionId::NULL,
            sequencer: Sequencer::default(),
            order: Sequencer::default(),
            checksums: Checksums::default(),
            attributes: ObjectAttributes::default(),
            upload: None,
            content: Content::File(Arc::new(file)),
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Which version of its key's it is.
    #[must_use]
    pub fn version(&self) -> VersionId {
        self.version
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its entity tag.
    #[must_use]
    pub fn etag(&self) -> &ETag {
        &self.etag
    }

    /// When it was written.
    #[must_use]
    pub fn last_modified(&self) -> Timestamp {
        self.last_modified
    }

    /// Its place in the order of changes.
    #[must_use]
    pub fn sequencer(&self) -> Sequencer {
        self.sequencer
    }

    /// Its checksums.
    #[must_use]
    pub fn checksums(&self) -> &Checksums {
        &self.checksums
    }

    /// What its writer said about it.
    #[must_use]
    pub fn attributes(&self) -> &ObjectAttributes {
        &self.attributes
    }

    /// Whether both name the same blobs.
    pub(crate) fn shares_blobs(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Content::Blobs(one), Content::Blobs(other)) => one.refs() == other.refs(),
            (Content::Inline(_) | Content::File(_), _)
            | (_, Content::Inline(_) | Content::File(_)) => false,
        }
    }

    /// The sizes of the parts it was uploaded in, in order; `None` when it was written at once.
    #[must_use]
    pub fn parts(&self) -> Option<Vec<u64>> {
        match (&self.upload, &self.content) {
            (Some(_), Content::Blobs(blobs)) => {
                Some(blobs.refs().iter().map(|blob| blob.len).collect())
            }
            (Some(_) | None, _) => None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use event_log::{Partition, TopicName};

    use super::*;

    /// An empty object that is nowhere.
    pub(crate) fn object(key: &str) -> Object {
        let topic = TopicName::new("bucket.test").unwrap();
        Object {
            key: ObjectKey::new(key).unwrap(),
            version: VersionId::NULL,
            order: Sequencer::default(),
            size: 0,
            etag: ETag::new("tag"),
            last_modified: Timestamp::default(),
            sequencer: Sequencer::default(),
            checksums: Checksums::default(),
            attributes: ObjectAttributes::default(),
            upload: None,
            content: Content::Inline(Place {
                partition: topic.partition(Partition::new(0)),
                offset: Offset::ZERO,
            }),
        }
    }
}
