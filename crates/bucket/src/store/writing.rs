//! The one way in which a bucket changes: check, append, apply, under the key's lock.

use std::sync::Arc;

use event::Record;
use event_log::{RecordBatch, Settlement, TopicPartition};
use tokio::sync::{OwnedMutexGuard, RwLockReadGuard};

use super::Inner;
use super::bucket::{Bucket, Gate};
use crate::change::{self, NewObject};
use crate::object::{NewContent, Place};
use crate::s3_event::{Cause, S3Event};
use crate::{
    DeleteMarker, Deletion, Error, Object, ObjectKey, Requester, Version, VersionId, Versioning,
    WriteCondition,
};

/// A change that is about to be made.
pub(super) struct Write {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: ObjectKey,
    pub(super) condition: WriteCondition,
    pub(super) cause: Cause,
    pub(super) requester: Requester,
}

/// A change whose key nobody else changes meanwhile, and whose condition holds.
pub(super) struct Locked<'a> {
    write: &'a Write,
    current: Option<Arc<Object>>,
    _key: OwnedMutexGuard<()>,
    _gate: RwLockReadGuard<'a, Gate>,
}

impl Locked<'_> {
    /// Whether the key's object is still this one.
    pub(super) fn is_current(&self, object: &Arc<Object>) -> bool {
        let current = self.current.as_ref();
        current.is_some_and(|current| Arc::ptr_eq(current, object))
    }
}

impl Inner {
    /// Makes an object visible. Blobs of a write that fails go, unless something else names them.
    pub(super) async fn write(
        &self,
        write: Write,
        object: NewObject,
    ) -> Result<Arc<Object>, Error> {
        let locked = self.lock(&write).await?;
        self.make_visible(&locked, object).await
    }

    /// Deletes an object, as its bucket does it.
    pub(super) async fn delete(&self, write: Write) -> Result<Deletion, Error> {
        let locked = self.lock(&write).await?;
        self.make_invisible(&locked).await
    }

    /// Removes a version for good. Without one nothing happens and nothing is recorded.
    pub(super) async fn remove(&self, write: Write, id: VersionId) -> Result<Deletion, Error> {
        let locked = self.lock(&write).await?;
        self.remove_version(&locked, id).await
    }

    /// Waits for the key, then checks.
    pub(super) async fn lock<'a>(&self, write: &'a Write) -> Result<Locked<'a>, Error> {
        let Write { bucket, key, .. } = write;
        let key_lock = self.keys.lock(&bucket.info.name, key).await;
        let gate = bucket.gate.read().await;
        if *gate == Gate::Removed {
            return Err(bucket.missing());
        }
        let current = bucket.get(key);
        write
            .condition
            .check(current.as_deref(), &bucket.info.name, key)?;
        Ok(Locked {
            write,
            current,
            _key: key_lock,
            _gate: gate,
        })
    }

    pub(super) async fn make_visible(
        &self,
        locked: &Locked<'_>,
        object: NewObject,
    ) -> Result<Arc<Object>, Error> {
        let Write { bucket, key, .. } = locked.write;
        let event = match &object.again {
            Some(again) => self.event_of(locked.write, again.version),
            None => self.event(locked.write),
        };
        let record = object.record(&event);
        // From here on the record may reach the disk, so the blobs must stay even if this task dies.
        let were_kept = match &object.content {
            NewContent::Blobs(blobs) => blobs.keep(),
            NewContent::Inline(_) => true,
        };
        let place = match self.append(bucket, key, &[record]).await {
            Ok(place) => place,
            Err(error) => {
                match &object.content {
                    NewContent::Blobs(blobs) if !were_kept => blobs.release(),
                    NewContent::Blobs(_) | NewContent::Inline(_) => {}
                }
                return Err(error);
            }
        };
        let object = Arc::new(object.at(place, &event));
        bucket.insert(Version::Object(Arc::clone(&object)));
        self.watch(bucket, key);
        Ok(object)
    }

    /// Deletes the current object: removes it where there are no versions, and hides it by a delete
    /// marker where there are, even if there is nothing to hide.
    pub(super) async fn make_invisible(&self, locked: &Locked<'_>) -> Result<Deletion, Error> {
        match locked.write.bucket.versioning() {
            Versioning::Unversioned => self.remove_version(locked, VersionId::NULL).await,
            Versioning::Enabled | Versioning::Suspended => {
                let marker = self.mark_deleted(locked).await?;
                Ok(Deletion::Marked(marker))
            }
        }
    }

    pub(super) async fn remove_version(
        &self,
        locked: &Locked<'_>,
        id: VersionId,
    ) -> Result<Deletion, Error> {
        let Write { bucket, key, .. } = locked.write;
        if bucket.with_index(|index| index.find(key, id)).is_none() {
            return Ok(Deletion::Nothing);
        }
        let records = change::deletion(&self.event_of(locked.write, id));
        self.append(bucket, key, &records).await?;
        let removed = bucket.remove(key, id);
        self.watch(bucket, key);
        Ok(removed.map_or(Deletion::Nothing, Deletion::Removed))
    }

    async fn mark_deleted(&self, locked: &Locked<'_>) -> Result<Arc<DeleteMarker>, Error> {
        let Write { bucket, key, .. } = locked.write;
        let mut event = self.event(locked.write);
        event.cause = event.cause.leaving_a_marker();
        let record = change::marking(&event);
        self.append(bucket, key, &[record]).await?;
        let marker = Arc::new(change::marker(&event));
        bucket.insert(Version::Marker(Arc::clone(&marker)));
        self.watch(bucket, key);
        Ok(marker)
    }

    /// The event of a version that is there already.
    fn event_of<'a>(&'a self, write: &'a Write, version: VersionId) -> S3Event<'a> {
        let time = self.clock.now();
        S3Event {
            origin: &self.origin,
            bucket: &write.bucket.info.name,
            key: &write.key,
            version,
            versioning: write.bucket.versioning(),
            cause: write.cause,
            time,
            sequencer: self.sequencers.next(time),
            requester: write.requester.clone(),
        }
    }

    /// The event of a new version.
    fn event<'a>(&'a self, write: &'a Write) -> S3Event<'a> {
        let mut event = self.event_of(write, VersionId::NULL);
        event.version = match event.versioning {
            Versioning::Unversioned | Versioning::Suspended => VersionId::NULL,
            Versioning::Enabled => VersionId::new(event.sequencer),
        };
        event
    }

    /// Appends records in one batch; returns where the first is.
    async fn append(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        records: &[Record],
    ) -> Result<Place, Error> {
        let partition: TopicPartition = bucket.topic.partition_for(key.as_str().as_bytes());
        let batch = RecordBatch::of(records).expect("a change is at least one record");
        let settlement = Settlement::of(partition.clone(), batch);
        let settled = self.log.commit(settlement).await?;
        let offset = settled.appended[0].base();
        Ok(Place { partition, offset })
    }
}
