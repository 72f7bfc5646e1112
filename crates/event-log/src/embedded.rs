//! The log on the local disk.
//!
//! ```text
//! settle ─▶ queue ─▶ committer ─▶ judge ─▶ frames ─▶ one write, one sync ─▶ publish ─▶ answer
//!                    (one thread per journal)                                 │
//! read ◀── positioned read of the segment ◀── index in memory ◀──────────────┘
//! ```
//!
//! All partitions of a lifetime share one journal: a folder of segments, each a row of frames. A
//! frame holds a whole settlement under one checksum, its batches byte for byte as they go over the
//! wire. Whatever is queued while a sync runs shares the next one.
//!
//! Everything but the segments is a cache. A start reads the last segment, whose snapshot holds the
//! ledger, and of each sealed one the catalog that tells where its batches lie; a segment without its
//! catalog is read through.
//!
//! Old records go by [retention] as soon as they may; what they leave behind in segments that must
//! stay is cleared away by the [cleaner], which also compacts keyed topics. Up to two files of dropped
//! segments are kept to be written again.

mod books;
mod buffers;
mod catalog;
mod cleaner;
mod committer;
mod compaction;
#[cfg(feature = "crash-points")]
mod crash_points;
mod frame;
mod index;
mod inspection;
mod journal;
mod lock;
mod log;
mod mark;
mod read_only;
mod reader;
mod recovery;
mod replay;
mod retention;
mod rewrite;
mod sealing;
mod segment;
mod storage;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "crash-points")]
pub use crash_points::CrashPoints;
pub use inspection::{Damage, Depth, Inspection, Lost, SegmentFound};
pub use log::EmbeddedLog;
pub use retention::Retention;

/// How an embedded log is kept.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The log's own folder, created when absent.
    pub dir: PathBuf,
    /// Bytes set aside for each segment file. A segment grows beyond it when one settlement needs it.
    pub segment_bytes: u64,
    /// Bytes of batches that may wait to be written: the budget behind
    /// [`reserve`](crate::EventLog::reserve).
    pub write_budget_bytes: usize,
    /// Bytes that one settlement may take, batches, checkpoints and positions together; at most
    /// 1 GiB.
    pub max_settlement_bytes: usize,
    /// What is kept of the events journal.
    pub retention: Retention,
    /// How long compaction keeps a tombstone, where a topic does not say otherwise.
    pub tombstone_grace: Duration,
}

impl EmbeddedConfig {
    /// Segments of 64 MiB, a write budget of 64 MiB, settlements of at most 16 MiB, a retention of
    /// seven days without a bound on size, tombstones kept for a day (Kafka's defaults, 4.0:
    /// `log.retention.hours`, `log.cleaner.delete.retention.ms`).
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            write_budget_bytes: 64 << 20,
            max_settlement_bytes: 16 << 20,
            retention: Retention {
                age: Some(Duration::from_secs(7 * 24 * 3600)),
                bytes: None,
            },
            tombstone_grace: Duration::from_secs(24 * 3600),
        }
    }
}

#[cfg(test)]
mod tests;
