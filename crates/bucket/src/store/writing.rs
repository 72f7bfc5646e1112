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
use crate::{Error, Object, ObjectKey, Requester, WriteCondition};

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

    /// Makes an object invisible. Returns whether there was one: without one nothing happens and
    /// nothing is recorded.
    pub(super) async fn remove(&self, write: Write) -> Result<Option<Arc<Object>>, Error> {
        let locked = self.lock(&write).await?;
        if locked.current.is_some() {
            self.make_invisible(&locked).await?;
        }
        Ok(locked.current)
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
        let event = self.event(locked.write);
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
        bucket.insert(Arc::clone(&object));
        self.watch(bucket, &object);
        Ok(object)
    }

    pub(super) async fn make_invisible(&self, locked: &Locked<'_>) -> Result<(), Error> {
        let Write { bucket, key, .. } = locked.write;
        let records = change::deletion(&self.event(locked.write));
        self.append(bucket, key, &records).await?;
        bucket.remove(key);
        Ok(())
    }

    fn event<'a>(&'a self, write: &'a Write) -> S3Event<'a> {
        let time = self.clock.now();
        S3Event {
            origin: &self.origin,
            bucket: &write.bucket.info.name,
            key: &write.key,
            cause: write.cause,
            time,
            sequencer: self.sequencers.next(time),
            requester: write.requester.clone(),
        }
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
