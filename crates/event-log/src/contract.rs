//! The contract of every event log.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use clock::Timestamp;
use event::{SourceId, SourcePosition};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    Checkpoint, ConsumerId, Epoch, Error, Offset, OwnerId, RecordBatch, Settled, Settlement, Share,
    Topic, TopicConfig, TopicName, TopicPartition, TopicSettings,
};

/// A log that many parts share.
pub type SharedLog = Arc<dyn EventLog>;

/// Topics of partitions of records, written durably and read by offset.
///
/// - **Durability** (L1): [`settle`](Self::settle) and the topic operations return after the change
///   would survive power loss; it is visible to readers only from then on.
/// - **Order**: records of one partition keep the order in which their settlements were accepted.
///   Offsets are dense (L2): each stored record has the one after its predecessor's, and none is ever
///   reused. Some of these records are not for readers: transactions write control records, and what
///   they aborted stays where it was written, as does the room of what compaction took. So a
///   reader sees holes; [`Chunk::next`] leads past them. Nothing is promised across partitions.
/// - **Reading**: readers see committed records only. The end of a partition, wherever this trait
///   speaks of it, is the last stable offset: below it every transaction has been decided.
/// - **Atomicity** (L4): after a crash a settlement is there whole or not at all.
/// - **Sharing**: several nodes may work on one log. Each has a [`share`](Self::share) of all
///   consumers' partitions and sources, and no two shares overlap. A settlement that moves a
///   checkpoint or a position outside the share, or one that has left it by the time the settlement
///   would take effect, is refused; so a node that was cut off, however long, moves nothing that
///   another has taken over. What a share holds is read as it stands: whatever an earlier holder
///   settled is there. Appends need no share. A log with one node has a share of everything.
/// - **Waiting**: what is written waits for a cluster that is away. Questions, reads and changes of topics
///   are answered with [`Error::Unavailable`] when it does not answer in time.
/// - **Cancellation**: dropping the future of `settle` after it was first polled leaves open whether
///   the settlement happens; it still happens whole or not at all.
#[async_trait]
pub trait EventLog: Send + Sync + std::fmt::Debug + 'static {
    /// Creates a topic.
    ///
    /// # Errors
    /// [`Error::TopicExists`] when there is one of that name; [`Error::InvalidTopicConfig`] without
    /// partitions or with more than 100,000.
    async fn create_topic(&self, name: &TopicName, config: TopicConfig) -> Result<Topic, Error>;

    /// Deletes a topic with its records and the checkpoints on it.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`].
    async fn delete_topic(&self, name: &TopicName) -> Result<(), Error>;

    /// Gives a topic more partitions: `count` in all. Where records of a key go changes with it
    /// ([`Topic::partition_for`]).
    ///
    /// # Errors
    /// [`Error::UnknownTopic`]; [`Error::InvalidTopicConfig`] when `count` is not more than there
    /// are, or more than 100,000.
    async fn add_partitions(&self, name: &TopicName, count: u32) -> Result<Topic, Error>;

    /// Replaces a topic's settings as a whole. They hold from now on for what is there already, too:
    /// records past a shorter retention may be gone as soon as this returns, or later.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`].
    async fn configure_topic(
        &self,
        name: &TopicName,
        settings: TopicSettings,
    ) -> Result<Topic, Error>;

    /// Deletes a partition's records below `before`, durably, and returns the first offset that is
    /// left: `before`, or a later one when more has gone already. Consumers that have not read the
    /// deleted records do not hold them.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`]; [`Error::OffsetOutOfRange`] beyond the
    /// end.
    async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Offset,
    ) -> Result<Offset, Error>;

    /// The topic of that name, if it exists.
    fn topic(&self, name: &TopicName) -> Option<Topic>;

    /// Every topic, by name.
    fn topics(&self) -> Vec<Topic>;

    /// Changes whenever a topic is created, configured, given partitions or deleted.
    fn topics_changed(&self) -> watch::Receiver<u64>;

    /// The work that this node may settle, as it changes. A shard is in it only while no other node
    /// can settle anything of it.
    fn share(&self) -> watch::Receiver<Share>;

    /// Waits until `bytes` of the log's write budget are free: back-pressure for writers. More than
    /// the whole budget is granted as the whole budget.
    async fn reserve(&self, bytes: usize) -> Permit;

    /// Writes a settlement. See the trait for what holds on return.
    ///
    /// # Errors
    /// Nothing was written, for the reason given: [`Error::Fenced`] (L3), [`Error::NotHeld`],
    /// [`Error::CheckpointConflict`], [`Error::InvalidSettlement`], an unknown place, a bad
    /// sequence, a full disk, a batch larger than its topic takes ([`Error::TooLarge`]) or without
    /// keys for a compacted one ([`Error::InvalidBatch`]). An error of the disk itself ends the
    /// process instead.
    async fn settle(&self, permit: Permit, settlement: Settlement) -> Result<Settled, Error>;

    /// Whole committed batches from `from` on, as many as fit `max_bytes` and at least one when there
    /// is any. The first batch may begin below `from`. A chunk may be without batches anywhere: what
    /// stood there is not for readers. Only at the end of the partition is its `next` equal to `from`;
    /// elsewhere it is above.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] outside [`bounds`](Self::bounds); [`Error::Corrupt`] names the
    /// file when stored bytes fail their checksum.
    async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, Error>;

    /// The offsets that can be read: from the first kept to the end (the last stable offset),
    /// exclusive. Holes count: it is no number of records.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error>;

    /// The end of the partition as it is now. Of a partition that nobody here follows,
    /// [`bounds`](Self::bounds) may not have heard of what another node has written a moment ago.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`]; [`Error::Unavailable`] when a cluster does not
    /// say.
    async fn end(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        Ok(self.bounds(partition)?.end)
    }

    /// The end of the partition (the last stable offset, exclusive) as it grows. Closed when the topic
    /// is deleted.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error>;

    /// The first offset whose record is not older than `time`, with that record's time; `None` when
    /// all are older. A batch whose records cannot be decoded answers with its first offset. Records
    /// that are not for readers may be found too: reading goes on behind them.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`]; [`Error::Corrupt`] as for
    /// [`read`](Self::read).
    async fn offset_at(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error>;

    /// A consumer's checkpoint on one partition. Outside the share it is what another node had
    /// settled a moment ago.
    fn checkpoint(&self, consumer: &ConsumerId, partition: &TopicPartition) -> Option<Checkpoint>;

    /// Every checkpoint of a consumer, by partition.
    fn checkpoints(&self, consumer: &ConsumerId) -> Vec<(TopicPartition, Checkpoint)>;

    /// Every consumer that has a checkpoint, by name.
    fn consumers(&self) -> Vec<ConsumerId>;

    /// Forgets every checkpoint of a consumer that the share holds, durably.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Closed`].
    async fn forget_consumer(&self, consumer: &ConsumerId) -> Result<(), Error>;

    /// The place a foreign source has reached; as fresh as [`checkpoint`](Self::checkpoint).
    fn position(&self, source: &SourceId) -> Option<SourcePosition>;

    /// Opens a new epoch for `owner`, durably: every older epoch is fenced on return. Nodes that
    /// share a log have owners of their own; it is the share that keeps nodes apart.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Closed`].
    async fn open_epoch(&self, owner: &OwnerId) -> Result<Epoch, Error>;
}

/// What one read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Committed batches, in order.
    pub batches: Vec<RecordBatch>,
    /// Where to read on: everything below has been looked at. At or above the end of the last batch.
    pub next: Offset,
}

/// The right to write some bytes: capacity that has been set aside and returns when this is dropped.
#[derive(Debug)]
pub struct Permit {
    _bytes: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// A permit that holds capacity of a semaphore.
    #[must_use]
    pub fn holding(bytes: OwnedSemaphorePermit) -> Self {
        Self {
            _bytes: Some(bytes),
        }
    }

    /// A permit of a log that sets nothing aside.
    #[must_use]
    pub fn unbounded() -> Self {
        Self { _bytes: None }
    }
}

/// Sugar over [`EventLog`].
impl dyn EventLog {
    /// Reserves and settles in one call.
    ///
    /// # Errors
    /// Those of [`settle`](EventLog::settle).
    pub async fn commit(&self, settlement: Settlement) -> Result<Settled, Error> {
        let permit = self.reserve(settlement.bytes()).await;
        self.settle(permit, settlement).await
    }

    /// Whether a record stands in `from..to` of a partition. On a cluster, markers of transactions
    /// take up offsets, too.
    ///
    /// # Errors
    /// Those of [`read`](EventLog::read).
    pub async fn has_records(
        &self,
        partition: &TopicPartition,
        from: Offset,
        to: Offset,
    ) -> Result<bool, Error> {
        let mut next = from;
        while next < to {
            let chunk = self.read(partition, next, 1).await?;
            if let Some(first) = chunk.batches.first() {
                return Ok(first.base_offset().max(next) < to);
            }
            if chunk.next <= next {
                return Ok(false);
            }
            next = chunk.next;
        }
        Ok(false)
    }

    /// The topic of that name, created with `config` when absent. Safe to race.
    ///
    /// # Errors
    /// Those of [`create_topic`](EventLog::create_topic) but [`Error::TopicExists`].
    pub async fn ensure_topic(
        &self,
        name: &TopicName,
        config: TopicConfig,
    ) -> Result<Topic, Error> {
        if let Some(topic) = self.topic(name) {
            return Ok(topic);
        }
        match self.create_topic(name, config).await {
            Err(Error::TopicExists { .. }) => self.topic(name).ok_or_else(|| Error::UnknownTopic {
                topic: name.clone(),
            }),
            other => other,
        }
    }
}
