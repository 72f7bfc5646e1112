//! What is written together.

use event::{SourceId, SourcePosition};

use crate::{CheckpointUpdate, Epoch, Offset, OwnerId, RecordBatch, TopicPartition};

/// Appends to several partitions, checkpoints and source positions: all or nothing (invariant L4).
///
/// Every append must lie in the same journal ([`Lifetime`]); checkpoints and positions are kept in
/// that journal too. All checkpoints of a consumer live in one journal, and so does the position of
/// a source: a settlement that would move them to the other one is refused. Without appends they
/// stay where they are, and new ones go to the events journal.
///
/// [`Lifetime`]: crate::Lifetime
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Batches to append, in this order where they share a partition.
    pub appends: Vec<Append>,
    /// Checkpoints to write.
    pub checkpoints: Vec<CheckpointUpdate>,
    /// Places reached in foreign streams.
    pub positions: Vec<PositionUpdate>,
    /// Under which epoch, when the writer can be fenced.
    pub writer: Option<Writer>,
}

/// One batch for one partition.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where to.
    pub to: TopicPartition,
    /// What; its base offset is assigned by the log.
    pub batch: RecordBatch,
}

/// The place a source has reached with the batch it rides on (invariant C1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionUpdate {
    /// The foreign partition.
    pub source: SourceId,
    /// Resume after this.
    pub position: SourcePosition,
}

/// Who writes, and under which epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The owner.
    pub owner: OwnerId,
    /// Its epoch, from [`EventLog::open_epoch`](crate::EventLog::open_epoch).
    pub epoch: Epoch,
}

/// A settlement that is durable and visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// For each append, in order, where it went.
    pub appended: Vec<Appended>,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It was written; its first record has this offset.
    At(Offset),
    /// An idempotent producer sent it before; this is the first offset of the earlier copy.
    Duplicate(Offset),
}

impl Appended {
    /// The first offset of the batch, whichever copy is kept.
    #[must_use]
    pub fn base(self) -> Offset {
        match self {
            Self::At(offset) | Self::Duplicate(offset) => offset,
        }
    }
}

impl Settlement {
    /// A settlement of one batch.
    #[must_use]
    pub fn of(to: TopicPartition, batch: RecordBatch) -> Self {
        Self {
            appends: vec![Append { to, batch }],
            ..Self::default()
        }
    }

    /// Bytes that a permit must cover.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.appends
            .iter()
            .map(|append| append.batch.as_bytes().len())
            .sum()
    }
}
