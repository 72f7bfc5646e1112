//! Where the batches of one partition lie. Kept in memory, rebuilt by the scan when the log opens.
//!
//! The entries cover the offsets from `first` to `end` without gaps: where damage has taken batches,
//! an entry says so, and readers are told instead of being led past it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use clock::Timestamp;

use super::segment::Segment;
use crate::Offset;

/// The index of one partition.
#[derive(Debug, Default)]
pub(super) struct Index {
    first: Offset,
    end: Offset,
    runs: VecDeque<Run>,
}

/// The entries that lie in one segment.
#[derive(Debug)]
struct Run {
    segment: Arc<Segment>,
    entries: Vec<Entry>,
}

/// One batch, or a range of offsets whose batches are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) base: Offset,
    pub(super) offsets: u32,
    /// Bytes of the batch; zero for a damaged range.
    len: u32,
    /// Where the batch begins in its segment, or the damage.
    pub(super) position: u64,
    pub(super) max_timestamp: Timestamp,
}

/// A place in a segment where frames could not be read.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) segment: Arc<Segment>,
    pub(super) position: u64,
}

impl Entry {
    pub(super) fn stored(base: Offset, offsets: u32, len: u32, at: u64, max: Timestamp) -> Self {
        Self {
            base,
            offsets,
            len,
            position: at,
            max_timestamp: max,
        }
    }

    /// Bytes of the batch; `None` where it is damaged.
    pub(super) fn len(&self) -> Option<usize> {
        let len = usize::try_from(self.len).ok()?;
        (len > 0).then_some(len)
    }

    pub(super) fn end(&self) -> Offset {
        self.base.plus(u64::from(self.offsets))
    }
}

impl Index {
    /// An empty index whose next record has offset `at`.
    pub(super) fn starting_at(at: Offset) -> Self {
        Self {
            first: at,
            end: at,
            runs: VecDeque::new(),
        }
    }

    pub(super) fn bounds(&self) -> Range<Offset> {
        self.first..self.end
    }

    /// Adds an entry that follows the last one.
    pub(super) fn push(&mut self, segment: &Arc<Segment>, entry: Entry) {
        debug_assert_eq!(entry.base, self.end, "entries are dense");
        self.end = entry.end();
        match self.runs.back_mut() {
            Some(run) if run.segment.number == segment.number => run.entries.push(entry),
            Some(_) | None => self.runs.push_back(Run {
                segment: Arc::clone(segment),
                entries: vec![entry],
            }),
        }
    }

    /// Covers the offsets up to `to` as lost to `damage`.
    pub(super) fn lose(&mut self, damage: &Damage, to: Offset) {
        while self.end < to {
            let missing = to.get() - self.end.get();
            let entry = Entry {
                base: self.end,
                offsets: u32::try_from(missing).unwrap_or(u32::MAX),
                len: 0,
                position: damage.position,
                max_timestamp: Timestamp::from_millis(i64::MIN),
            };
            self.push(&damage.segment, entry);
        }
    }

    /// The entries from the one that holds `from` on, with their segments, as long as `wanted`.
    pub(super) fn from(
        &self,
        from: Offset,
        mut wanted: impl FnMut(&Entry) -> bool,
    ) -> Vec<(Arc<Segment>, Vec<Entry>)> {
        let ends_before = |run: &Run| run.entries.last().is_none_or(|last| last.end() <= from);
        let mut found = Vec::new();
        for run in self.runs.range(self.runs.partition_point(ends_before)..) {
            let start = run.entries.partition_point(|entry| entry.end() <= from);
            let rest = &run.entries[start..];
            let count = rest.iter().take_while(|entry| wanted(entry)).count();
            if count > 0 {
                found.push((Arc::clone(&run.segment), rest[..count].to_vec()));
            }
            if count < rest.len() {
                break;
            }
        }
        found
    }

    /// The first entry with a record of `time` or later, and an offset of `from` or later.
    pub(super) fn since(&self, time: Timestamp, from: Offset) -> Option<Entry> {
        let mut entries = self.runs.iter().flat_map(|run| &run.entries);
        entries
            .find(|entry| entry.end() > from && entry.max_timestamp >= time)
            .copied()
    }

    /// One past the last offset in segments up to `number`, when any lies there.
    pub(super) fn end_within(&self, number: u64) -> Option<Offset> {
        let run = self
            .runs
            .iter()
            .take_while(|run| run.segment.number <= number);
        run.last()?.entries.last().map(Entry::end)
    }

    /// Forgets the offsets below `before`. The batch that holds it stays.
    pub(super) fn drop_before(&mut self, before: Offset) {
        let gone = |run: &Run| run.entries.last().is_none_or(|last| last.end() <= before);
        while self.runs.front().is_some_and(gone) {
            self.runs.pop_front();
        }
        self.first = self.first.max(before.min(self.end));
    }

    /// Forgets what lies in segments up to `number`.
    pub(super) fn drop_through(&mut self, number: u64) {
        while let Some(run) = self.runs.front()
            && run.segment.number <= number
        {
            self.runs.pop_front();
        }
        let front = self.runs.front().and_then(|run| run.entries.first());
        self.first = front.map_or(self.end, |entry| entry.base.max(self.first));
    }
}
