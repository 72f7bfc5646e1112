//! A log that refuses settlements when it is told to.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use clock::Timestamp;
use event::{SourceId, SourcePosition};
use event_log::{
    Checkpoint, Chunk, ConsumerId, Epoch, Error, EventLog, MemoryLog, Offset, OwnerId, Permit,
    Settled, Settlement, Share, Topic, TopicConfig, TopicName, TopicPartition, TopicSettings,
};
use tokio::sync::watch;

/// A log in memory whose disk is full or broken, or whose settlements are too large, for a while.
#[derive(Debug)]
pub(super) struct FaultyLog {
    inner: Arc<MemoryLog>,
    full: AtomicUsize,
    broken: AtomicUsize,
    largest: AtomicUsize,
}

impl FaultyLog {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryLog::new(),
            full: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            largest: AtomicUsize::new(usize::MAX),
        })
    }

    /// The next settlements under an epoch find the disk full.
    pub(super) fn fill(&self, settlements: usize) {
        self.full.store(settlements, Ordering::Relaxed);
    }

    /// The next settlements under an epoch cannot be written.
    pub(super) fn break_down(&self, settlements: usize) {
        self.broken.store(settlements, Ordering::Relaxed);
    }

    /// Settlements beyond so many bytes are refused.
    pub(super) fn limit(&self, bytes: usize) {
        self.largest.store(bytes, Ordering::Relaxed);
    }
}

#[async_trait]
impl EventLog for FaultyLog {
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
        let limit = self.largest.load(Ordering::Relaxed);
        let bytes = settlement.bytes();
        if bytes > limit {
            return Err(Error::TooLarge { bytes, limit });
        }
        let one_less = |left: usize| left.checked_sub(1);
        let ours = settlement.writer.is_some();
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        if ours && self.full.fetch_update(set, get, one_less).is_ok() {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(Error::Full { source });
        }
        if ours && self.broken.fetch_update(set, get, one_less).is_ok() {
            return Err(Error::Io {
                act: "write the journal".to_owned(),
                source: std::io::ErrorKind::Other.into(),
            });
        }
        self.inner.settle(permit, settlement).await
    }

    async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, Error> {
        self.inner.read(partition, from, max_bytes).await
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
        self.inner.open_epoch(owner).await
    }
}
