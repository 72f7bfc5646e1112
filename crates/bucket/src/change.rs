//! A visible change of a bucket as a record of its topic, keyed by the object's key.
//!
//! The value is the event as AWS's handlers know it, the CloudEvents attributes are in the `ce_`
//! headers, what the store itself needs is in `tm-object`, and the bytes of a small object in
//! `tm-inline`.

use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use event::{Event, Header, Record};
use serde::{Deserialize, Serialize};

use crate::blob::{BlobRef, BlobStore};
use crate::object::{Content, NewContent, Object, Place};
use crate::s3_event::{Cause, Changed, S3Event};
use crate::{Checksums, ETag, Error, ObjectAttributes, ObjectKey, Sequencer, UploadId};

/// The header with what the store needs.
const OBJECT: &str = "tm-object";
/// The header with the bytes of a small object.
const INLINE: &str = "tm-inline";

/// The content of `tm-object`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
enum Stored {
    Put(Box<StoredObject>),
    Delete { sequencer: Sequencer },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StoredObject {
    sequencer: Sequencer,
    size: u64,
    etag: ETag,
    #[serde(default, skip_serializing_if = "Checksums::is_empty")]
    checksums: Checksums,
    #[serde(flatten)]
    attributes: ObjectAttributes,
    /// When the bytes were written, where that was before this record: its tags changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified: Option<Timestamp>,
    /// The multipart upload that the object came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<UploadId>,
    /// Absent when the bytes are in `tm-inline`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blobs: Option<Vec<BlobRef>>,
}

/// An object that is about to become visible.
#[derive(Debug)]
pub(crate) struct NewObject {
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) checksums: Checksums,
    pub(crate) attributes: ObjectAttributes,
    /// When its bytes were written, where that is not now.
    pub(crate) last_modified: Option<Timestamp>,
    pub(crate) upload: Option<UploadId>,
    pub(crate) content: NewContent,
}

/// A change read back from the log.
#[derive(Debug)]
pub(crate) enum Change {
    Put(Box<Object>),
    Delete {
        key: ObjectKey,
        sequencer: Sequencer,
    },
    /// The tombstone that follows a deletion.
    Gone {
        key: ObjectKey,
    },
}

impl NewObject {
    /// The record that makes this object visible.
    pub(crate) fn record(&self, event: &S3Event<'_>) -> Record {
        let (blobs, inline) = match &self.content {
            NewContent::Inline(bytes) => (None, Some(bytes.clone())),
            NewContent::Blobs(blobs) => (Some(blobs.refs().to_vec()), None),
        };
        let stored = Stored::Put(Box::new(StoredObject {
            sequencer: event.sequencer,
            size: self.size,
            etag: self.etag.clone(),
            checksums: self.checksums.clone(),
            attributes: self.attributes.clone(),
            modified: self.last_modified,
            upload: self.upload,
            blobs,
        }));
        let changed = match event.cause {
            Cause::PutTags | Cause::DeleteTags => Changed::Tagged { etag: &self.etag },
            Cause::Put
            | Cause::Post
            | Cause::Copy
            | Cause::CompleteMultipartUpload
            | Cause::Delete
            | Cause::Expiration => Changed::Written {
                size: self.size,
                etag: &self.etag,
            },
        };
        record(event, changed, &stored, inline)
    }

    /// The object at the place where its record went.
    pub(crate) fn at(self, place: Place, event: &S3Event<'_>) -> Object {
        Object {
            key: event.key.clone(),
            size: self.size,
            etag: self.etag,
            last_modified: self.last_modified.unwrap_or(event.time),
            sequencer: event.sequencer,
            checksums: self.checksums,
            attributes: self.attributes,
            upload: self.upload,
            content: match self.content {
                NewContent::Inline(_) => Content::Inline(place),
                NewContent::Blobs(blobs) => Content::Blobs(blobs),
            },
        }
    }
}

/// The records that make an object disappear: the event, and a tombstone, which in time lets
/// compaction forget the key.
pub(crate) fn deletion(event: &S3Event<'_>) -> [Record; 2] {
    let stored = Stored::Delete {
        sequencer: event.sequencer,
    };
    let tombstone = Record {
        key: Some(key_bytes(event.key)),
        value: None,
        headers: Vec::new(),
        timestamp: event.time,
    };
    [record(event, Changed::Deleted, &stored, None), tombstone]
}

fn key_bytes(key: &ObjectKey) -> Bytes {
    Bytes::copy_from_slice(key.as_str().as_bytes())
}

fn record(
    event: &S3Event<'_>,
    changed: Changed<'_>,
    stored: &Stored,
    inline: Option<Bytes>,
) -> Record {
    let header = |key: &str, value: Bytes| Header {
        key: key.to_owned(),
        value: Some(value),
    };
    let stored = serde_json::to_vec(stored).expect("stored metadata has only text as keys");
    let mut extensions = vec![header(OBJECT, stored.into())];
    extensions.extend(inline.map(|bytes| header(INLINE, bytes)));
    Event {
        id: event.id(),
        source: event.source(),
        kind: event.kind(),
        subject: Some(event.key.as_str().to_owned()),
        time: event.time,
        key: Some(key_bytes(event.key)),
        content_type: Some("application/json".to_owned()),
        data: Some(event.value(changed)),
        extensions,
    }
    .into_record()
}

/// Reads a record of a bucket's topic. `None` when it is nobody's change: published by a client of
/// the log, not by a store.
pub(crate) fn decode(
    record: &Record,
    place: Place,
    blobs: &BlobStore,
) -> Result<Option<Change>, Error> {
    let stored = match (record.header(OBJECT), &record.value) {
        (Some(stored), _) => Some(stored),
        (None, None) => None,
        (None, Some(_)) => return Ok(None),
    };
    let damaged = |reason: String| Error::Corrupt {
        place: format!("{}@{}", place.partition, place.offset),
        reason,
    };
    let key = record
        .key
        .as_ref()
        .and_then(|key| std::str::from_utf8(key).ok())
        .ok_or_else(|| damaged("the record has no readable key".to_owned()))?;
    let key = ObjectKey::new(key).map_err(|error| damaged(error.to_string()))?;
    let Some(stored) = stored else {
        return Ok(Some(Change::Gone { key }));
    };
    let stored: Stored =
        serde_json::from_slice(stored).map_err(|error| damaged(format!("{OBJECT}: {error}")))?;
    Ok(Some(match stored {
        Stored::Put(object) => {
            Change::Put(Box::new(object.at(key, record.timestamp, place, blobs)))
        }
        Stored::Delete { sequencer } => Change::Delete { key, sequencer },
    }))
}

/// The bytes that ride in a record.
pub(crate) fn inlined(record: &Record) -> Option<Bytes> {
    record.header(INLINE).cloned()
}

impl StoredObject {
    fn at(self, key: ObjectKey, recorded: Timestamp, place: Place, blobs: &BlobStore) -> Object {
        Object {
            key,
            size: self.size,
            etag: self.etag,
            last_modified: self.modified.unwrap_or(recorded),
            sequencer: self.sequencer,
            checksums: self.checksums,
            attributes: self.attributes,
            upload: self.upload,
            content: match self.blobs {
                None => Content::Inline(place),
                Some(refs) => Content::Blobs(Arc::new(blobs.kept(refs))),
            },
        }
    }
}

#[cfg(test)]
mod tests;
