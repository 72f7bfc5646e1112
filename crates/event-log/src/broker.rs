//! What a log offers beyond the contract to whoever speaks Kafka's protocol for it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Chunk, Error, EventLog, Offset, RecordBatch, TopicPartition};

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
}

impl StoredChunk {
    /// What a read from `from` found.
    pub(crate) fn of(batches: Vec<RecordBatch>, from: Offset) -> Self {
        let end = batches.last().map_or(from, RecordBatch::end_offset);
        Self {
            batches,
            next: end.max(from),
        }
    }

    /// What readers may see of it.
    pub(crate) fn committed(self) -> Chunk {
        let mut batches = self.batches;
        batches.retain(|batch| !batch.header().is_control());
        Chunk {
            batches,
            next: self.next,
        }
    }
}
