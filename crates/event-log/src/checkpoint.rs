//! Cursors made durable.

use std::ops::Range;

use bytes::Bytes;

use crate::{ConsumerId, Offset, TopicPartition};

/// How far a consumer has come in a partition, and what it wants to remember there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The lowest offset that is not finished: everything below is.
    pub next: Offset,
    /// Finished offsets above `next`: half-open, ascending, disjoint, none adjacent to `next`.
    pub finished_above: Vec<Range<Offset>>,
    /// The consumer's own notes (tallies, retry state), opaque to the log.
    pub metadata: Bytes,
    /// How often this checkpoint has been written; the next compare-and-swap must name it.
    pub revision: u64,
}

/// A checkpoint to write with a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointUpdate {
    /// Whose checkpoint.
    pub consumer: ConsumerId,
    /// On which partition.
    pub partition: TopicPartition,
    /// The new `next`.
    pub next: Offset,
    /// The new `finished_above`.
    pub finished_above: Vec<Range<Offset>>,
    /// The new `metadata`.
    pub metadata: Bytes,
    /// Under which rule.
    pub rule: Rule,
}

/// When a checkpoint may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The stored revision is the expected one (0 for none yet) and `next` does not go back.
    Advance {
        /// The revision the caller read.
        expected_revision: u64,
    },
    /// An order from outside (replay, a Kafka group's commit): any place is accepted.
    Reset,
}
