//! One bucket in memory.

use std::ops::Bound;
use std::sync::Arc;

use clock::Timestamp;
use event_log::Topic;
use parking_lot::RwLock;

use crate::index::Index;
use crate::object::Content;
use crate::{BucketName, Error, Lifecycle, Object, ObjectKey, Version, VersionId, Versioning};

/// A bucket as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketInfo {
    /// Its name.
    pub name: BucketName,
    /// When it was created.
    pub created: Timestamp,
}

/// A bucket and its objects.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) info: BucketInfo,
    pub(super) topic: Topic,
    index: RwLock<Index>,
    /// Changed by who holds the gate alone.
    versioning: RwLock<Versioning>,
    lifecycle: RwLock<Option<Arc<Lifecycle>>>,
    /// Writers hold it shared over check, append and apply; removing the bucket takes it alone.
    pub(super) gate: tokio::sync::RwLock<Gate>,
}

/// Whether a bucket takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    Removed,
}

impl Bucket {
    pub(super) fn new(info: BucketInfo, topic: Topic) -> Self {
        Self {
            info,
            topic,
            index: RwLock::default(),
            versioning: RwLock::default(),
            lifecycle: RwLock::default(),
            gate: tokio::sync::RwLock::new(Gate::Open),
        }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.index.read().current().get(key).cloned()
    }

    pub(super) fn require(&self, key: &ObjectKey) -> Result<Arc<Object>, Error> {
        let index = self.index.read();
        let object = index.current().get(key).cloned();
        object.ok_or_else(|| Error::NoSuchKey {
            bucket: self.info.name.clone(),
            key: key.clone(),
            marker: index.marker(key).map(|marker| marker.version),
        })
    }

    /// The object that is this version.
    pub(super) fn require_version(
        &self,
        key: &ObjectKey,
        id: VersionId,
    ) -> Result<Arc<Object>, Error> {
        let (bucket, key) = (self.info.name.clone(), key.clone());
        match self.index.read().find(&key, id) {
            Some(Version::Object(object)) => Ok(object),
            Some(Version::Marker(marker)) => Err(Error::IsDeleteMarker {
                bucket,
                key,
                version: id,
                since: marker.last_modified,
            }),
            None => Err(Error::NoSuchVersion {
                bucket,
                key,
                version: id,
            }),
        }
    }

    pub(super) fn missing(&self) -> Error {
        Error::NoSuchBucket {
            bucket: self.info.name.clone(),
        }
    }

    /// Makes a version visible. What it replaces goes with its last reader, but for blobs that it
    /// names, too.
    pub(super) fn insert(&self, version: Version) {
        let replaced = self.index.write().put(version.clone());
        let shared = match (&replaced, &version) {
            (Some(Version::Object(old)), Version::Object(new)) => old.shares_blobs(new),
            (Some(Version::Object(_) | Version::Marker(_)) | None, _) => false,
        };
        if !shared {
            retire(replaced.as_ref());
        }
    }

    /// Removes a version. It goes with its last reader.
    pub(super) fn remove(&self, key: &ObjectKey, id: VersionId) -> Option<Version> {
        let removed = self.index.write().remove(key, id);
        retire(removed.as_ref());
        removed
    }

    /// Up to `count` objects in the order of keys, of those after a key.
    pub(super) fn some_after(&self, after: Option<&ObjectKey>, count: usize) -> Vec<Arc<Object>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let index = self.index.read();
        let objects = index.current();
        let objects = objects.range::<ObjectKey, _>((from, Bound::Unbounded));
        let objects = objects.take(count);
        objects.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Its lifecycle rules.
    pub(super) fn lifecycle(&self) -> Option<Arc<Lifecycle>> {
        self.lifecycle.read().clone()
    }

    pub(super) fn set_lifecycle(&self, lifecycle: Option<Lifecycle>) {
        *self.lifecycle.write() = lifecycle.map(Arc::new);
    }

    /// When versions of a key go by its rules, other than the current object.
    pub(super) fn version_expiries(&self, key: &ObjectKey) -> Vec<(VersionId, Timestamp)> {
        match (self.lifecycle(), self.versioning()) {
            (None, _) | (_, Versioning::Unversioned) => Vec::new(),
            (Some(lifecycle), Versioning::Enabled | Versioning::Suspended) => {
                let index = self.index.read();
                lifecycle.version_expiries(index.versions(key.as_str()))
            }
        }
    }

    /// Whether it keeps versions.
    pub(super) fn versioning(&self) -> Versioning {
        *self.versioning.read()
    }

    pub(super) fn set_versioning(&self, versioning: Versioning) {
        *self.versioning.write() = versioning;
    }

    pub(super) fn with_index<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.read())
    }
}

fn retire(version: Option<&Version>) {
    match version {
        Some(Version::Object(object)) => match &object.content {
            Content::Blobs(blobs) => blobs.release(),
            Content::Inline(_) | Content::File(_) => {}
        },
        Some(Version::Marker(_)) | None => {}
    }
}
