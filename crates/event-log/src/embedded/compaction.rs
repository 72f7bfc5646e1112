//! Which records of a compacted partition are still the latest of their keys.
//!
//! A record goes when a later one has its key, or when it is a tombstone that has stood long enough.
//! What aborted transactions wrote goes too, and supersedes nothing. Records that are not decided, or
//! that a consumer has not finished, stay; so does whatever cannot be decoded. Offsets keep their
//! place.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::books::PartitionLog;
use super::index::Run;
use super::reader;
use crate::{Aborted, Error, Offset, RecordBatch, StoredRecord};

/// Keys that are held in memory at a time. Records after the one whose key found no room stay for
/// now.
const MAX_KEYS: usize = 4_000_000;

/// Where a compaction ends and begins.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Nothing from here on is touched, or counts.
    pub(super) horizon: Offset,
    /// Tombstones before this may go.
    pub(super) tombstones_before: Offset,
    pub(super) aborted: Vec<Aborted>,
}

/// The latest offset of every key of a partition.
#[derive(Debug)]
pub(super) struct Latest {
    bounds: Bounds,
    hashers: (RandomState, RandomState),
    offsets: HashMap<(u64, u64), Offset>,
}

impl Latest {
    /// Reads the partition up to the horizon.
    ///
    /// # Errors
    /// Those of reading: a damaged partition is not compacted.
    pub(super) fn of(partition: &Arc<PartitionLog>, bounds: Bounds) -> Result<Self, Error> {
        let mut latest = Self {
            bounds,
            hashers: (RandomState::new(), RandomState::new()),
            offsets: HashMap::new(),
        };
        let runs: Vec<Run> = {
            let index = partition.index.read();
            let horizon = latest.bounds.horizon;
            let before = |run: &&Run| run.summary.base < horizon;
            index.runs().take_while(before).cloned().collect()
        };
        for run in &runs {
            reader::each_batch(run, |batch| {
                latest.note(&batch);
                ControlFlow::Continue(())
            })?;
        }
        Ok(latest)
    }

    fn note(&mut self, batch: &RecordBatch) {
        if batch.header().is_control() || self.is_aborted(batch) {
            return;
        }
        for stored in batch.records().unwrap_or_default() {
            if stored.offset >= self.bounds.horizon {
                return;
            }
            let Some(key) = &stored.record.key else {
                continue;
            };
            let place = self.hash(key);
            if self.offsets.len() >= MAX_KEYS && !self.offsets.contains_key(&place) {
                self.bounds.horizon = stored.offset;
                return;
            }
            self.offsets.insert(place, stored.offset);
        }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key))
    }

    fn is_aborted(&self, batch: &RecordBatch) -> bool {
        self.bounds.aborted.iter().any(|it| it.covers(batch))
    }

    /// What is left of a batch.
    pub(super) fn left_of(&self, batch: &RecordBatch) -> Option<RecordBatch> {
        if batch.header().is_control() || batch.end_offset() > self.bounds.horizon {
            return Some(batch.clone());
        }
        if self.is_aborted(batch) {
            return None;
        }
        batch.retain(|stored| self.keeps(stored))
    }

    /// Whether anything in a run goes. What cannot be read does not.
    pub(super) fn shrinks(&self, run: &Run) -> bool {
        if run.summary.base >= self.bounds.horizon {
            return false;
        }
        let mut shrinks = false;
        let read = reader::each_batch(run, |batch| {
            shrinks = self.left_of(&batch).is_none_or(|left| left != batch);
            if shrinks {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        read.is_ok() && shrinks
    }

    fn keeps(&self, stored: &StoredRecord) -> bool {
        let Some(key) = &stored.record.key else {
            return true;
        };
        let latest = self.offsets.get(&self.hash(key)).copied();
        let superseded = latest.is_some_and(|latest| latest > stored.offset);
        let tombstone = stored.record.value.is_none();
        let spent = tombstone && stored.offset < self.bounds.tombstones_before;
        !(superseded || spent)
    }
}
