//! Transactions of Kafka producers: several batches and a group's offsets that count together or
//! not at all, though they arrive one by one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;

use crate::{ConsumerId, Offset, TopicPartition};

/// What a transactional producer calls itself, the same through all of its lives. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionalId(Arc<str>);

impl TransactionalId {
    /// Wraps the text as it is.
    #[must_use]
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TransactionalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One life of a producer: a newer epoch of the same id fences every older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerIdentity {
    /// The id handed out by the log.
    pub id: i64,
    /// The epoch, from zero.
    pub epoch: i16,
}

/// One step in the life of a transactional id; see [`BrokerLog::transact`].
///
/// [`BrokerLog::transact`]: crate::BrokerLog::transact
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStep {
    /// A producer begins a life: every older epoch is fenced on return, and what it left open is
    /// aborted. The answer is whom it is to write as.
    Enroll {
        /// How long one of its transactions may stay open.
        timeout: Duration,
        /// Who it was, when it was somebody before: then only the latest life may begin another.
        current: Option<ProducerIdentity>,
        /// The time.
        now: Timestamp,
    },
    /// Partitions that will be written to and consumers whose offsets will be staged. The first of
    /// these opens a transaction.
    Join {
        /// Who writes.
        by: ProducerIdentity,
        /// The partitions.
        partitions: Vec<TopicPartition>,
        /// The consumers.
        consumers: Vec<ConsumerId>,
        /// The time.
        now: Timestamp,
    },
    /// Offsets that become checkpoints if the transaction commits. The consumer must have joined.
    Stage {
        /// Who writes.
        by: ProducerIdentity,
        /// Whose checkpoints.
        consumer: ConsumerId,
        /// Where to.
        offsets: Vec<StagedOffset>,
    },
    /// Decides the transaction: control batches in all of its partitions, and the staged offsets, in
    /// one write. Deciding it again in the same way changes nothing.
    End {
        /// Who writes.
        by: ProducerIdentity,
        /// How.
        outcome: Outcome,
        /// The time.
        now: Timestamp,
    },
    /// Aborts a transaction that has been open for longer than it may, and fences its producer.
    /// Changes nothing where that is not so.
    Expire {
        /// The time.
        now: Timestamp,
    },
}

/// An offset that waits for its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedOffset {
    /// On which partition.
    pub partition: TopicPartition,
    /// The next offset to read.
    pub next: Offset,
    /// The consumer's notes.
    pub metadata: Bytes,
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its records are for readers.
    Commit,
    /// They are not.
    Abort,
}

/// What is known of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The producer's name.
    pub id: TransactionalId,
    /// Its latest life.
    pub producer: ProducerIdentity,
    /// How long its transactions may stay open.
    pub timeout: Duration,
    /// How far it has come.
    pub stage: TransactionStage,
}

/// How far a transactional id has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStage {
    /// Its latest life has begun no transaction.
    Fresh,
    /// A transaction is open.
    Open {
        /// When it began.
        since: Timestamp,
        /// The partitions that have joined, in order.
        partitions: Vec<TopicPartition>,
    },
    /// Its last transaction has ended.
    Ended(Outcome),
}

/// A transaction that was aborted, as it lies in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    /// Whose.
    pub producer_id: i64,
    /// Its first record.
    pub first: Offset,
    /// Its control batch.
    pub marker: Offset,
}

/// What one producer has written to a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProducer {
    /// The producer, in the latest life that wrote here.
    pub producer: ProducerIdentity,
    /// The sequence of its last record; `None` after a control batch alone.
    pub last_sequence: Option<i32>,
    /// The first record of its open transaction.
    pub open_since: Option<Offset>,
}
