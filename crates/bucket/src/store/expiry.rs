//! Objects and uploads that go by themselves, when their bucket's rules say so.
//!
//! Everything is looked at once, at the start and whenever rules change, and again at each moment at
//! which something is due: a midnight, by the rules. In between the next such moment is known, because
//! what is written makes it earlier where it has to. Until then nothing runs.

use std::sync::Arc;
use std::time::Duration;

use clock::{Clock, Timestamp};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bucket::Bucket;
use super::writing::Write;
use super::{BucketStore, Inner};
use crate::s3_event::Cause;
use crate::uploads::Upload;
use crate::{
    BucketName, Deletion, Error, Object, ObjectKey, Requester, UploadInfo, VersionId,
    WriteCondition,
};

/// Objects looked at under one lock of the index.
const LOOK: usize = 1000;
/// Deletions under way at once: they share commits.
const CONCURRENT: usize = 64;
/// When a deletion that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// The longest time that a timer runs: clocks are set meanwhile, and machines sleep.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The next moment at which something is due.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: Mutex<Option<Timestamp>>,
    changed: Notify,
}

impl Alarm {
    /// Rings at `at`, unless it does so earlier.
    pub(super) fn set(&self, at: Timestamp) {
        let mut earliest = self.at.lock();
        if earliest.is_none_or(|earliest| at < earliest) {
            *earliest = Some(at);
            self.changed.notify_one();
        }
    }

    /// Rings at once.
    pub(super) fn ring(&self) {
        self.set(Timestamp::from_millis(i64::MIN));
    }

    fn clear(&self) {
        *self.at.lock() = None;
    }

    /// Waits until it rings. The wall clock decides; a timer only says when to look at it again.
    async fn rung(&self, clock: &dyn Clock) {
        loop {
            let at = *self.at.lock();
            let Some(at) = at else {
                self.changed.notified().await;
                continue;
            };
            let now = clock.now();
            if at <= now {
                return;
            }
            let wait = at.since(now).min(LONGEST_WAIT);
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(Instant::now() + wait) => {}
            }
        }
    }
}

impl BucketStore {
    /// Removes what is due by the lifecycle rules of buckets, and aborts uploads, until `stop`.
    pub async fn run_lifecycle(&self, stop: CancellationToken) {
        let work = async {
            loop {
                self.expire().await;
                let inner = &self.inner;
                inner.expiry_alarm.rung(&*inner.clock).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Removes everything that is due now, and sets the alarm for what is due later.
    pub(super) async fn expire(&self) {
        // What is written from here on sets the alarm anew; what was written before is looked at.
        self.inner.expiry_alarm.clear();
        let buckets: Vec<_> = self.inner.buckets.read().values().cloned().collect();
        for bucket in buckets {
            if bucket.lifecycle().is_some() {
                self.expire_objects(&bucket).await;
                self.expire_versions(&bucket).await;
                self.expire_uploads(&bucket).await;
            }
        }
    }

    async fn expire_objects(&self, bucket: &Arc<Bucket>) {
        let mut after = None;
        loop {
            let objects = bucket.some_after(after.as_ref(), LOOK);
            let Some(last) = objects.last() else { return };
            after = Some(last.key.clone());
            let due = objects.into_iter().filter(|object| {
                let lifecycle = bucket.lifecycle();
                let expiry = lifecycle.as_ref().and_then(|it| it.expiry(object));
                expiry.is_some_and(|expiry| self.inner.is_due(expiry.at))
            });
            let gone = stream::iter(due).for_each_concurrent(CONCURRENT, |object| async move {
                let (inner, bucket) = (Arc::clone(&self.inner), Arc::clone(bucket));
                let name = bucket.info.name.clone();
                let gone = self.to_the_end(async move { inner.expire(bucket, &object).await });
                match gone.await {
                    Ok(()) | Err(Error::NoSuchBucket { .. } | Error::Closed) => {}
                    Err(error) => self.inner.try_later(&name, &error),
                }
            });
            gone.await;
        }
    }

    /// Removes versions that are not current objects. What is removed makes others due only when it
    /// was the last that a marker hid; the alarm is set for that then.
    async fn expire_versions(&self, bucket: &Arc<Bucket>) {
        let mut after = None;
        loop {
            let keys = bucket.with_index(|index| index.with_older(after.as_ref(), LOOK));
            let Some(last) = keys.last() else { return };
            after = Some(last.clone());
            let due = keys.iter().flat_map(|key| {
                let expiries = bucket.version_expiries(key).into_iter();
                let due = expiries.filter(|(_, at)| self.inner.is_due(*at));
                due.map(|(id, _)| (key.clone(), id))
            });
            let gone = stream::iter(due).for_each_concurrent(CONCURRENT, |(key, id)| async move {
                let (inner, bucket) = (Arc::clone(&self.inner), Arc::clone(bucket));
                let name = bucket.info.name.clone();
                let gone = async move { inner.expire_version(bucket, key, id).await };
                match self.to_the_end(gone).await {
                    Ok(()) | Err(Error::NoSuchBucket { .. } | Error::Closed) => {}
                    Err(error) => self.inner.try_later(&name, &error),
                }
            });
            gone.await;
        }
    }

    async fn expire_uploads(&self, bucket: &Arc<Bucket>) {
        for upload in self.inner.uploads.of_bucket(&bucket.info.name) {
            let lifecycle = bucket.lifecycle();
            let expiry = lifecycle
                .as_ref()
                .and_then(|it| it.upload_expiry(&upload.info));
            if !expiry.is_some_and(|expiry| self.inner.is_due(expiry.at)) {
                continue;
            }
            let inner = Arc::clone(&self.inner);
            match self
                .to_the_end(async move { inner.abort(&upload).await })
                .await
            {
                Ok(()) | Err(Error::NoSuchUpload { .. } | Error::Closed) => {}
                Err(error) => self.inner.try_later(&bucket.info.name, &error),
            }
        }
    }
}

impl Inner {
    /// Sets the alarm for a key whose versions have just changed.
    pub(super) fn watch(&self, bucket: &Bucket, key: &ObjectKey) {
        let Some(lifecycle) = bucket.lifecycle() else {
            return;
        };
        let current = bucket.get(key);
        let current = current.as_ref().and_then(|it| lifecycle.expiry(it));
        let others = bucket.version_expiries(key).into_iter().map(|(_, at)| at);
        if let Some(at) = current.map(|it| it.at).into_iter().chain(others).min() {
            self.expiry_alarm.set(at);
        }
    }

    /// Sets the alarm for an upload that has just begun.
    pub(super) fn watch_upload(&self, bucket: &Bucket, upload: &UploadInfo) {
        let lifecycle = bucket.lifecycle();
        if let Some(expiry) = lifecycle.as_ref().and_then(|it| it.upload_expiry(upload)) {
            self.expiry_alarm.set(expiry.at);
        }
    }

    /// Whether something is due; if not, the alarm is set for it.
    fn is_due(&self, at: Timestamp) -> bool {
        let due = at <= self.clock.now();
        if !due {
            self.expiry_alarm.set(at);
        }
        due
    }

    /// Removes an object, if it is still this one and still due.
    async fn expire(&self, bucket: Arc<Bucket>, object: &Arc<Object>) -> Result<(), Error> {
        let write = Write {
            key: object.key.clone(),
            condition: WriteCondition::Always,
            cause: Cause::Expiration,
            requester: Requester::lifecycle(),
            bucket,
        };
        let locked = self.lock(&write).await?;
        let lifecycle = write.bucket.lifecycle();
        let expiry = lifecycle.as_ref().and_then(|it| it.expiry(object));
        if locked.is_current(object) && expiry.is_some_and(|expiry| self.is_due(expiry.at)) {
            match self.make_invisible(&locked).await? {
                Deletion::Removed(_) | Deletion::Marked(_) | Deletion::Nothing => {}
            }
            metrics::counter!("tidemill_s3_expired_objects_total").increment(1);
        }
        Ok(())
    }

    /// Removes a version for good, if it is still there and still due.
    async fn expire_version(
        &self,
        bucket: Arc<Bucket>,
        key: ObjectKey,
        id: VersionId,
    ) -> Result<(), Error> {
        let write = Write {
            key,
            condition: WriteCondition::Always,
            cause: Cause::Expiration,
            requester: Requester::lifecycle(),
            bucket,
        };
        let locked = self.lock(&write).await?;
        let expiries = write.bucket.version_expiries(&write.key).into_iter();
        let mut of_version = expiries.filter(|(other, _)| *other == id);
        if of_version.next().is_some_and(|(_, at)| self.is_due(at)) {
            self.remove_version(&locked, id).await?;
            metrics::counter!("tidemill_s3_expired_objects_total").increment(1);
        }
        Ok(())
    }

    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), Error> {
        let state = upload.lock().await?;
        self.uploads.finish(upload, state, &[]).await
    }

    fn try_later(&self, bucket: &BucketName, error: &Error) {
        tracing::warn!(
            %bucket,
            error = error as &dyn std::error::Error,
            "what is due by a lifecycle rule could not be removed; it is tried again later"
        );
        self.expiry_alarm.set(self.clock.now().plus(RETRY));
    }
}
