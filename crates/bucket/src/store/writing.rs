//! The one way in which a bucket changes: check, append, apply, under the key's lock.

use std::sync::Arc;

use event::Record;
use event_log::{RecordBatch, Settlement, TopicPartition};

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

impl Inner {
    /// Makes an object visible. Blobs of a write that fails go, unless something else names them.
    pub(super) async fn write(
        &self,
        write: Write,
        object: NewObject,
    ) -> Result<Arc<Object>, Error> {
        let Write { bucket, key, .. } = &write;
        let _key = self.keys.lock(&bucket.info.name, key).await;
        let gate = bucket.gate.read().await;
        if *gate == Gate::Removed {
            return Err(bucket.missing());
        }
        let current = bucket.get(key);
        write
            .condition
            .check(current.as_deref(), &bucket.info.name, key)?;
        let event = self.event(&write);
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
        Ok(object)
    }

    /// Makes an object invisible. Returns whether there was one: without one nothing happens and
    /// nothing is recorded.
    pub(super) async fn remove(&self, write: Write) -> Result<Option<Arc<Object>>, Error> {
        let Write { bucket, key, .. } = &write;
        let _key = self.keys.lock(&bucket.info.name, key).await;
        let gate = bucket.gate.read().await;
        if *gate == Gate::Removed {
            return Err(bucket.missing());
        }
        let current = bucket.get(key);
        write
            .condition
            .check(current.as_deref(), &bucket.info.name, key)?;
        if current.is_some() {
            let records = change::deletion(&self.event(&write));
            self.append(bucket, key, &records).await?;
            bucket.remove(key);
        }
        Ok(current)
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
