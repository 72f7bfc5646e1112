//! A visible change of a bucket as a record of its topic, keyed by the object's key and version.
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
use crate::record_key::{self, record_key};
use crate::s3_event::{Cause, Changed, S3Event};
use crate::{
    Checksums, DeleteMarker, ETag, Error, ObjectAttributes, ObjectKey, Sequencer, UploadId,
    VersionId,
};

/// The header with what the store needs.
const OBJECT: &str = "tm-object";
/// The header with the bytes of a small object.
const INLINE: &str = "tm-inline";

/// The content of `tm-object`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
enum Stored {
    Put(Box<StoredObject>),
    DeleteMarker { sequencer: Sequencer },
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
    /// The place among versions where that is not this record's: its tags changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Sequencer>,
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
    /// The version that it is once more, with other tags; none when it is a new one.
    pub(crate) again: Option<Identity>,
    pub(crate) upload: Option<UploadId>,
    pub(crate) content: NewContent,
}

/// What stays of a version when its tags change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) version: VersionId,
    pub(crate) order: Sequencer,
    pub(crate) last_modified: Timestamp,
}

/// A change read back from the log.
#[derive(Debug)]
pub(crate) enum Change {
    Put(Box<Object>),
    Marker(DeleteMarker),
    Delete {
        key: ObjectKey,
        version: VersionId,
        sequencer: Sequencer,
    },
    /// The tombstone that follows a deletion.
    Gone {
        key: ObjectKey,
        version: VersionId,
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
            modified: self.again.map(|again| again.last_modified),
            order: self.again.map(|again| again.order),
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
            | Cause::Mark
            | Cause::Expiration
            | Cause::ExpirationMark => Changed::Written {
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
            version: event.version,
            order: self.again.map_or(event.sequencer, |again| again.order),
            size: self.size,
            etag: self.etag,
            last_modified: self.again.map_or(event.time, |again| again.last_modified),
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

/// The record that makes a delete marker the current version.
pub(crate) fn marking(event: &S3Event<'_>) -> Record {
    let stored = Stored::DeleteMarker {
        sequencer: event.sequencer,
    };
    record(event, Changed::Marked, &stored, None)
}

/// The marker that such a record makes.
pub(crate) fn marker(event: &S3Event<'_>) -> DeleteMarker {
    DeleteMarker {
        key: event.key.clone(),
        version: event.version,
        order: event.sequencer,
        last_modified: event.time,
    }
}

/// The records that make a version disappear: the event, and a tombstone, which in time lets
/// compaction forget it.
pub(crate) fn deletion(event: &S3Event<'_>) -> [Record; 2] {
    let stored = Stored::Delete {
        sequencer: event.sequencer,
    };
    let tombstone = Record {
        key: Some(record_key(event.key, event.version)),
        value: None,
        headers: Vec::new(),
        timestamp: event.time,
    };
    [record(event, Changed::Deleted, &stored, None), tombstone]
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
        key: Some(record_key(event.key, event.version)),
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
    let key = record.key.as_deref().unwrap_or_default();
    let (key, version) = record_key::parse(key).map_err(damaged)?;
    let Some(stored) = stored else {
        return Ok(Some(Change::Gone { key, version }));
    };
    let stored: Stored =
        serde_json::from_slice(stored).map_err(|error| damaged(format!("{OBJECT}: {error}")))?;
    Ok(Some(match stored {
        Stored::Put(object) => {
            let of = (key, version);
            Change::Put(Box::new(object.at(of, record.timestamp, place, blobs)))
        }
        Stored::DeleteMarker { sequencer } => Change::Marker(DeleteMarker {
            key,
            version,
            order: sequencer,
            last_modified: record.timestamp,
        }),
        Stored::Delete { sequencer } => Change::Delete {
            key,
            version,
            sequencer,
        },
    }))
}

/// The bytes that ride in a record.
pub(crate) fn inlined(record: &Record) -> Option<Bytes> {
    record.header(INLINE).cloned()
}

impl StoredObject {
    fn at(
        self,
        (key, version): (ObjectKey, VersionId),
        recorded: Timestamp,
        place: Place,
        blobs: &BlobStore,
    ) -> Object {
        let written = version.order().or(self.order);
        Object {
            key,
            version,
            order: written.unwrap_or(self.sequencer),
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
