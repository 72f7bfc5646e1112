//! What a rig asks of the workload, and what the workload says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::WRITERS;

/// What the workload is asked for: its only argument, as JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Job {
    /// The log's folder.
    pub dir: PathBuf,
    /// What the plan is made from.
    pub seed: u64,
    /// The writers that take part.
    pub writers: Vec<u32>,
    /// Settlements of each writer, and topics made and deleted; without end when absent.
    pub settlements: Option<u64>,
    /// Bytes of events that are kept; all when absent.
    pub retention_bytes: Option<u64>,
    /// When the writers begin.
    pub start: Start,
    /// Where to die or to stop.
    pub point: Option<Point>,
    /// The first number of a topic that comes and goes which has not been tried before.
    pub churn_from: u64,
    /// The idempotent producer of an earlier process.
    pub resend: Option<Resend>,
}

/// When the writers begin.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Start {
    /// Once the log is open.
    AtOnce,
    /// Once a line arrives on standard input.
    WhenTold,
}

/// A named point, by its n-th time.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Point {
    /// The point's name.
    pub name: String,
    /// Which time, from 1.
    pub occurrence: u64,
    /// What happens there.
    pub then: Then,
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Then {
    /// The process is killed.
    Die,
    /// The thread says so and does not go on.
    Hold,
}

/// What the idempotent producer takes up again after a crash.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Resend {
    /// Its id.
    pub producer: i64,
    /// The settlement that is sent again first: the last one that was acknowledged.
    pub from: u64,
}

/// One line of the workload.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Said {
    /// The log is open and recovered.
    Ready,
    /// A writer has opened an epoch.
    Epoch(u32, u64),
    /// The idempotent producer was given an id.
    Producer(i64),
    /// A writer is about to send a settlement.
    Sending(u32, u64),
    /// It was acknowledged, with the first offset of each append.
    Settled(u32, u64, Vec<u64>),
    /// A topic is about to be created.
    Creating(u64),
    /// It exists.
    Created(u64),
    /// It is about to be deleted.
    Deleting(u64),
    /// It is gone.
    Deleted(u64),
    /// The thread that reached the point stands still.
    Held,
    /// How often each point was reached.
    Points(BTreeMap<String, u64>),
    /// Everything that was asked for is done.
    Done,
}

impl Job {
    /// All writers, `settlements` each, from the start.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, seed: u64, settlements: Option<u64>) -> Self {
        Self {
            dir: dir.into(),
            seed,
            writers: (0..WRITERS).collect(),
            settlements,
            retention_bytes: None,
            start: Start::AtOnce,
            point: None,
            churn_from: 0,
            resend: None,
        }
    }
}
