//! What a connector implements.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use event::{Record, SourceId, SourcePosition};
use event_log::{Partition, TopicName};

use crate::{Memory, Note, SourceError};

/// One foreign partition. See the crate for the contract as a whole.
#[async_trait]
pub trait Source: Debug + Send + 'static {
    /// Whose position the log keeps. Stable across restarts, unique among all sources.
    fn id(&self) -> &SourceId;

    /// Hands it its [`Memory`], before every [`open`](Self::open). For sources that make notes: others
    /// leave it.
    fn recall(&mut self, memory: Memory) {
        drop(memory);
    }

    /// Connects and goes to the place after `position`, or to where a new source begins. Called
    /// again after a failure, on the same value: what an earlier call left behind must not matter.
    ///
    /// Returns every topic that [`next`](Self::next) may name.
    ///
    /// # Errors
    /// [`SourceError::Rejected`] when the position is not one of this source or cannot be resumed
    /// at; the other classes as they come.
    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError>;

    /// Waits until there is something and returns it: about `max_bytes` of payload, at least one
    /// delivery or a position that has moved. Positions do not go back from call to call.
    ///
    /// Cancel safe: dropped before it is ready, it has handed over nothing and loses nothing.
    ///
    /// # Errors
    /// Any class. The source is opened again before the next call.
    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError>;

    /// Nothing has come for `quiet`: makes sure that nothing is waiting. Asked again after as long again,
    /// so that a source can tell what has been waiting for all that time from what has just come.
    ///
    /// # Errors
    /// [`SourceError::Stalled`] when something has, and any other class. The source is opened again.
    async fn check(&mut self, quiet: Duration) -> Result<(), SourceError> {
        let _ = quiet;
        Ok(())
    }

    /// Everything up to `position` is durable. May be told the same more than once.
    ///
    /// # Errors
    /// Any class. The source is opened again and told again.
    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError>;

    /// The order of two positions that this source gave out.
    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering;

    /// Events known to be waiting at the source; `None` when it cannot say.
    fn lag(&self) -> Option<u64>;

    /// Bytes known to be waiting at the source, or handed over and not acknowledged; `None` when it
    /// cannot say.
    fn lag_bytes(&self) -> Option<u64> {
        None
    }
}

/// A topic that a source writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: TopicName,
    /// Partitions to create it with, at least 1.
    pub partitions: u32,
}

/// What a source hands over at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Events in the source's order. None at all when only the position has moved.
    pub deliveries: Vec<Delivery>,
    /// What became of the source as a whole; mostly nothing.
    pub notices: Vec<Notice>,
    /// What to remember once `position` is reached, in this order; mostly nothing. All of it is written
    /// or, when the log is there already, none: a source that makes notes gives every delivery of a
    /// batch the batch's position.
    pub notes: Vec<Note>,
    /// Resume after this; not smaller than any position in `deliveries`.
    pub position: SourcePosition,
}

/// What became of a source as a whole, to be counted and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What kind of thing.
    pub kind: NoticeKind,
    /// What happened, for people; no payload.
    pub what: String,
    /// Its place at the source, which decides whether it was told before, as that of a delivery does.
    pub position: SourcePosition,
}

/// A kind of thing that becomes of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeKind {
    /// Events were lost at the source before they were read.
    Gap,
    /// The source was emptied at once.
    Truncation,
}

impl Notice {
    /// A gap.
    #[must_use]
    pub fn gap(what: impl ToString, position: SourcePosition) -> Self {
        Self {
            kind: NoticeKind::Gap,
            what: what.to_string(),
            position,
        }
    }

    /// A truncation.
    #[must_use]
    pub fn truncation(what: impl ToString, position: SourcePosition) -> Self {
        Self {
            kind: NoticeKind::Truncation,
            what: what.to_string(),
            position,
        }
    }
}

/// One event on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event's own place at the source.
    pub position: SourcePosition,
    /// The topic it goes to: one of those that [`Source::open`] named.
    pub topic: TopicName,
    /// Which partition.
    pub placement: Placement,
    /// The record that carries it.
    pub record: Record,
}

/// How a delivery finds its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// By the record's key, as Kafka clients do; without a key, the first.
    ByKey,
    /// This one, which the topic must have.
    Exact(Partition),
    /// Every partition gets a copy: it concerns all keys and keeps its place among the events of each.
    Every,
}
