//! What goes into a schedule and what comes out of it.

use std::ops::Range;

use bytes::Bytes;
use clock::Timestamp;
use event_log::Offset;

use super::batch::{Reason, Target, Verdict};
use super::notes::Tallies;
use super::policy::Limits;

/// Names one flight within the life of one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId(pub(super) u64);

/// What has happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The log was read from the offset last asked for up to `end`, exclusive.
    Fetched {
        end: Offset,
        /// The events there, ascending. Offsets without one are no events.
        arrivals: Vec<Arrival>,
    },
    /// A flight has got its concurrency: the attempt begins.
    Started(FlightId),
    /// A flight has ended.
    Finished(FlightId, Verdict),
    /// The settlement under way is durable.
    Settled,
    /// The time asked for has come.
    TimeReached,
    /// Nothing more is to be begun.
    StopIntake,
    /// Whatever flies has been cut off.
    CutOff,
}

/// An event that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) offset: Offset,
    /// A hash of its key, if it has one.
    pub(crate) key: Option<u64>,
    /// Whose concurrency it waits for, where the partition serves many functions.
    pub(crate) target: Option<Target>,
    /// What it adds to a payload, roughly.
    pub(crate) bytes: usize,
    pub(crate) time: Timestamp,
    pub(crate) limits: Limits,
    pub(crate) kind: ArrivalKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArrivalKind {
    /// It is to be run.
    Matched,
    /// No filter wants it.
    Filtered,
    /// Its record cannot be decoded.
    Unreadable,
}

/// What to do.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Begin these, in this order.
    pub(crate) invoke: Vec<Flight>,
    /// Write this, then answer with [`Input::Settled`].
    pub(crate) settle: Option<Settle>,
    /// The payloads of these events may be dropped from memory.
    pub(crate) released: Vec<Offset>,
}

/// A batch to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) id: FlightId,
    pub(crate) offsets: Vec<Offset>,
    /// Which attempt, from 1.
    pub(crate) attempt: u32,
    /// While it waits for concurrency: from here on it is refused.
    pub(crate) expires_at: Option<Timestamp>,
}

/// One settlement: a checkpoint and what belongs to it.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) next: Offset,
    pub(crate) finished_above: Vec<Range<Offset>>,
    pub(crate) metadata: Bytes,
    pub(crate) tallies: Tallies,
    /// Attempts that have ended: their usage is due.
    pub(crate) finished: Vec<FlightId>,
    /// Attempts that were cut off: their usage is void.
    pub(crate) voided: Vec<Voided>,
    pub(crate) given_up: Vec<GivenUp>,
}

/// An attempt that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voided {
    /// Half-open, ascending.
    pub(crate) offsets: Vec<Range<Offset>>,
    pub(crate) attempt: u32,
}

/// An event that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) offset: Offset,
    /// How often it was tried.
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
    /// The flight whose end decided it, if one did. If it was an attempt, it is among those that
    /// the same settlement finishes.
    pub(crate) flight: Option<FlightId>,
}
