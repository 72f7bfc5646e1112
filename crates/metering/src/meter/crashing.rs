//! A log that stands still at a chosen call, as if the process had died there.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use clock::Timestamp;
use event::{SourceId, SourcePosition};
use event_log::{
    Checkpoint, Chunk, ConsumerId, Epoch, Error, EventLog, Offset, OwnerId, Permit, Settled,
    Settlement, Share, SharedLog, Topic, TopicConfig, TopicName, TopicPartition, TopicSettings,
};
use tokio::sync::{Notify, watch};

/// Lets a number of crash points pass, then never answers again. Each `read`, `settle` and
/// `open_epoch` is two crash points: one before it takes effect and one after.
#[derive(Debug)]
pub(super) struct CrashingLog {
    inner: SharedLog,
    left: AtomicUsize,
    crashed: Notify,
}

impl CrashingLog {
    pub(super) fn new(inner: SharedLog, after: usize) -> Arc<Self> {
        Arc::new(Self {
            inner,
            left: AtomicUsize::new(after),
            crashed: Notify::new(),
        })
    }

    /// Returns when the log has stood still.
    pub(super) async fn crashed(&self) {
        self.crashed.notified().await;
    }

    async fn crash_point(&self) {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if left.is_err() {
            self.crashed.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl EventLog for CrashingLog {
    async fn create_topic(&self, name: &TopicName, config: TopicConfig) -> Result<Topic, Error> {
        self.inner.create_topic(name, config).await
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        self.inner.delete_topic(name).await
    }

    async fn add_partitions(&self, name: &TopicName, count: u32) -> Result<Topic, Error> {
        self.inner.add_partitions(name, count).await
    }

    async fn configure_topic(
        &self,
        name: &TopicName,
        settings: TopicSettings,
    ) -> Result<Topic, Error> {
        self.inner.configure_topic(name, settings).await
    }

    async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Offset,
    ) -> Result<Offset, Error> {
        self.inner.delete_records(partition, before).await
    }

    fn topic(&self, name: &TopicName) -> Option<Topic> {
        self.inner.topic(name)
    }

    fn topics(&self) -> Vec<Topic> {
        self.inner.topics()
    }

    fn topics_changed(&self) -> watch::Receiver<u64> {
        self.inner.topics_changed()
    }

    fn share(&self) -> watch::Receiver<Share> {
        self.inner.share()
    }

    async fn reserve(&self, bytes: usize) -> Permit {
        self.inner.reserve(bytes).await
    }

    async fn settle(&self, permit: Permit, settlement: Settlement) -> Result<Settled, Error> {
        self.crash_point().await;
        let settled = self.inner.settle(permit, settlement).await;
        self.crash_point().await;
        settled
    }

    async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, Error> {
        self.crash_point().await;
        let chunk = self.inner.read(partition, from, max_bytes).await;
        self.crash_point().await;
        chunk
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error> {
        self.inner.bounds(partition)
    }

    fn tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error> {
        self.inner.tail(partition)
    }

    async fn offset_at(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        self.inner.offset_at(partition, time).await
    }

    fn checkpoint(&self, consumer: &ConsumerId, partition: &TopicPartition) -> Option<Checkpoint> {
        self.inner.checkpoint(consumer, partition)
    }

    fn checkpoints(&self, consumer: &ConsumerId) -> Vec<(TopicPartition, Checkpoint)> {
        self.inner.checkpoints(consumer)
    }

    fn consumers(&self) -> Vec<ConsumerId> {
        self.inner.consumers()
    }

    async fn forget_consumer(&self, consumer: &ConsumerId) -> Result<(), Error> {
        self.inner.forget_consumer(consumer).await
    }

    fn position(&self, source: &SourceId) -> Option<SourcePosition> {
        self.inner.position(source)
    }

    async fn open_epoch(&self, owner: &OwnerId) -> Result<Epoch, Error> {
        self.crash_point().await;
        let epoch = self.inner.open_epoch(owner).await;
        self.crash_point().await;
        epoch
    }
}
