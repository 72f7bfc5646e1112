//! What a log offers beyond the contract to whoever speaks Kafka's protocol for it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use clock::Timestamp;
use tokio::sync::watch;

use crate::{
    Aborted, Chunk, ConsumerId, Error, EventLog, Offset, PartitionProducer, ProducerIdentity,
    RecordBatch, TopicPartition, Transaction, TransactionStep, TransactionalId,
};

/// A log behind a Kafka port.
pub type SharedBrokerLog = Arc<dyn BrokerLog>;

/// A log that is its own broker: it hands out producer ids and shows what it stores as it is stored.
/// A log that is a client of Kafka has no part in this, and needs no port of ours.
#[async_trait]
pub trait BrokerLog: EventLog {
    /// Hands out an id for an idempotent producer, never given before.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Closed`].
    async fn producer_id(&self) -> Result<i64, Error>;

    /// Takes one step in the life of a transactional id, durable on return and all or nothing. The
    /// answer is the producer's latest life.
    ///
    /// A transaction survives a restart as it stands. Until it is decided its records keep the last
    /// stable offset of their partitions where the first of them stands.
    ///
    /// # Errors
    /// Nothing happened, for the reason given: [`Error::UnknownProducer`],
    /// [`Error::StaleProducer`], [`Error::InvalidTransaction`], an unknown place, a full disk.
    async fn transact(
        &self,
        id: &TransactionalId,
        step: TransactionStep,
    ) -> Result<ProducerIdentity, Error>;

    /// Every transactional id that is known, by name.
    fn transactions(&self) -> Vec<Transaction>;

    /// When the open transaction that has the least time left must have ended, as it changes. Somebody
    /// has to see to it with [`TransactionStep::Expire`]: the log has no timers.
    fn transaction_deadline(&self) -> watch::Receiver<Option<Timestamp>>;

    /// Whether an open transaction has staged an offset of this consumer on this partition.
    fn is_staged(&self, consumer: &ConsumerId, partition: &TopicPartition) -> bool;

    /// Forgets those checkpoints of a consumer that still are in the revision named with their
    /// partition: together, durably on return. One that has been written since stays. Returns the
    /// partitions whose checkpoint is gone.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Closed`].
    async fn forget_checkpoints(
        &self,
        consumer: &ConsumerId,
        revisions: Vec<(TopicPartition, u64)>,
    ) -> Result<Vec<TopicPartition>, Error>;

    /// Bytes of the batches that are stored of a partition.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn stored_bytes(&self, partition: &TopicPartition) -> Result<u64, Error>;

    /// The producers that have written to a partition, as far as they are remembered.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn producers(&self, partition: &TopicPartition) -> Result<Vec<PartitionProducer>, Error>;

    /// Batches as they are stored, control batches among them, from the one that holds `from` on: as
    /// many as fit `max_bytes` and at least one when there is any. The first batch may begin below
    /// `from`.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] outside [`stored_bounds`](Self::stored_bounds);
    /// [`Error::Corrupt`] as for [`read`](EventLog::read).
    async fn read_stored(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<StoredChunk, Error>;

    /// The offsets that are stored: from the first kept to the high watermark, exclusive. At least
    /// [`bounds`](EventLog::bounds).
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn stored_bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error>;

    /// The high watermark as it grows. Closed when the topic is deleted.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    fn stored_tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error>;
}

/// How far a read of stored batches goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// To the high watermark, undecided transactions included.
    Uncommitted,
    /// To the last stable offset, with the aborted transactions named.
    Committed,
}

/// What one read of stored batches found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// The batches, in order.
    pub batches: Vec<RecordBatch>,
    /// Where to read on. At or above the end of the last batch.
    pub next: Offset,
    /// The aborted transactions of which a part lies between where the read began and `next`. Empty
    /// unless only decided transactions were asked for.
    pub aborted: Vec<Aborted>,
}

impl StoredChunk {
    /// What a read from `from` found.
    pub(crate) fn of(batches: Vec<RecordBatch>, from: Offset) -> Self {
        let end = batches.last().map_or(from, RecordBatch::end_offset);
        Self {
            batches,
            next: end.max(from),
            aborted: Vec::new(),
        }
    }

    /// What readers may see of it.
    pub(crate) fn committed(self) -> Chunk {
        let mut batches = self.batches;
        batches.retain(|batch| {
            let aborted = |it: &Aborted| it.covers(batch);
            !batch.header().is_control() && !self.aborted.iter().any(aborted)
        });
        Chunk {
            batches,
            next: self.next,
        }
    }
}
