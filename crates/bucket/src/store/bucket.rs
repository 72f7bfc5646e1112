//! One bucket in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use clock::Timestamp;
use event_log::Topic;
use parking_lot::RwLock;

use crate::object::Content;
use crate::{BucketName, Error, Lifecycle, Object, ObjectKey};

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
    objects: RwLock<BTreeMap<ObjectKey, Arc<Object>>>,
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
            objects: RwLock::default(),
            lifecycle: RwLock::default(),
            gate: tokio::sync::RwLock::new(Gate::Open),
        }
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.objects.read().get(key).cloned()
    }

    pub(super) fn require(&self, key: &ObjectKey) -> Result<Arc<Object>, Error> {
        self.get(key).ok_or_else(|| Error::NoSuchKey {
            bucket: self.info.name.clone(),
            key: key.clone(),
        })
    }

    pub(super) fn missing(&self) -> Error {
        Error::NoSuchBucket {
            bucket: self.info.name.clone(),
        }
    }

    /// Makes an object visible. What it replaces goes with its last reader, but for blobs that it
    /// names, too.
    pub(super) fn insert(&self, object: Arc<Object>) {
        let new = Arc::clone(&object);
        let replaced = self.objects.write().insert(object.key.clone(), object);
        retire(replaced.filter(|replaced| !replaced.shares_blobs(&new)));
    }

    /// Makes an object invisible. It goes with its last reader.
    pub(super) fn remove(&self, key: &ObjectKey) {
        let removed = self.objects.write().remove(key);
        retire(removed);
    }

    /// Up to `count` objects in the order of keys, of those after a key.
    pub(super) fn some_after(&self, after: Option<&ObjectKey>, count: usize) -> Vec<Arc<Object>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let objects = self.objects.read();
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

    pub(super) fn with_objects<T>(
        &self,
        look: impl FnOnce(&BTreeMap<ObjectKey, Arc<Object>>) -> T,
    ) -> T {
        look(&self.objects.read())
    }
}

fn retire(object: Option<Arc<Object>>) {
    if let Some(object) = object {
        match &object.content {
            Content::Blobs(blobs) => blobs.release(),
            Content::Inline(_) => {}
        }
    }
}
