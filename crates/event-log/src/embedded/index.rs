//! Where the batches of one partition lie, segment by segment.
//!
//! Each segment that holds batches of the partition has a [`Run`] here. The entries of the active
//! segment, one per batch, are in memory; those of a sealed one are in its [catalog](super::catalog)
//! and come through a cache, so that a log takes memory by its segments and not by its records.
//!
//! The runs cover the offsets from `first` to `end` without gaps: where damage has taken batches, an
//! entry says so, and readers are told instead of being led past it. Inside a segment that has been
//! compacted, and only there, entries leave holes: what stood there has been superseded.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use clock::Timestamp;

use super::catalog::Section;
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
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) segment: Arc<Segment>,
    pub(super) summary: Summary,
    pub(super) batches: Batches,
}

/// What is always known of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    /// The first offset covered.
    pub(super) base: Offset,
    /// One past the last offset covered.
    pub(super) end: Offset,
    /// The latest time of a record.
    pub(super) max_timestamp: Timestamp,
    /// Bytes of batches.
    pub(super) bytes: u64,
}

/// Where the entries of a run are.
#[derive(Clone, Debug)]
pub(super) enum Batches {
    /// Here, and more may come.
    Growing(Vec<Entry>),
    /// Here for good: there was no room for a catalog, or there is damage in the segment.
    Kept(Arc<[Entry]>),
    /// In the segment's catalog.
    Stored(Section),
}

/// One batch, or a range of offsets whose batches are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) base: Offset,
    pub(super) offsets: u32,
    /// Bytes of the batch; zero for a damaged range.
    pub(super) len: u32,
    /// Where the batch begins in its segment, or the damage.
    pub(super) position: u64,
    /// The latest time of a record in this batch or one before it in the run: never falls, so that it
    /// can be searched.
    pub(super) latest: Timestamp,
}

/// Entries of one segment, to be read.
#[derive(Debug)]
pub(super) enum Found {
    Entries(Arc<Segment>, Vec<Entry>),
    Stored(Arc<Segment>, Section),
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
            latest: max,
        }
    }

    /// The same offsets, as damaged.
    pub(super) fn damaged(self) -> Self {
        Self { len: 0, ..self }
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

impl Run {
    fn new(segment: &Arc<Segment>, base: Offset) -> Self {
        Self {
            segment: Arc::clone(segment),
            summary: Summary {
                base,
                end: base,
                max_timestamp: Timestamp::from_millis(i64::MIN),
                bytes: 0,
            },
            batches: Batches::Growing(Vec::new()),
        }
    }

    pub(super) fn push(&mut self, mut entry: Entry) {
        let summary = &mut self.summary;
        summary.end = summary.end.max(entry.end());
        summary.bytes += u64::from(entry.len);
        summary.max_timestamp = summary.max_timestamp.max(entry.latest);
        entry.latest = summary.max_timestamp;
        match &mut self.batches {
            Batches::Growing(entries) => entries.push(entry),
            Batches::Kept(kept) => {
                let mut entries = kept.to_vec();
                entries.push(entry);
                self.batches = Batches::Growing(entries);
            }
            Batches::Stored(_) => unreachable!("a segment with a catalog takes no more batches"),
        }
    }

    fn found(&self, select: impl FnOnce(&[Entry]) -> Vec<Entry>) -> Found {
        let segment = Arc::clone(&self.segment);
        match &self.batches {
            Batches::Growing(entries) => Found::Entries(segment, select(entries)),
            Batches::Kept(entries) => Found::Entries(segment, select(entries)),
            Batches::Stored(section) => Found::Stored(segment, section.clone()),
        }
    }
}

/// The entries from the one that holds `from` on, or that follows it, as long as `wanted`.
pub(super) fn select(
    entries: &[Entry],
    from: Offset,
    wanted: &mut impl FnMut(&Entry) -> bool,
) -> Vec<Entry> {
    let start = entries.partition_point(|entry| entry.end() <= from);
    let rest = &entries[start..];
    let count = rest.iter().take_while(|entry| wanted(entry)).count();
    rest[..count].to_vec()
}

/// The first entry with a record of `time` or later, and an offset of `from` or later.
pub(super) fn since(entries: &[Entry], time: Timestamp, from: Offset) -> Option<Entry> {
    let after = entries.partition_point(|entry| entry.end() <= from);
    let at = entries.partition_point(|entry| entry.latest < time);
    // Where the entries before `from` reach that time themselves, this one may not: the caller looks.
    entries.get(at.max(after)).copied()
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

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// Adds an empty run of a rewritten segment, to be [filled](Self::fill).
    pub(super) fn begin_run(&mut self, segment: &Arc<Segment>, base: Offset, end: Offset) {
        let mut run = Run::new(segment, base);
        run.summary.end = end;
        self.push_run(run);
    }

    /// Adds what is left of the offsets of the last run. `false` when it does not belong there.
    pub(super) fn fill(&mut self, segment: &Arc<Segment>, entry: Entry) -> bool {
        let Some(run) = self.runs.back_mut() else {
            return false;
        };
        let Batches::Growing(entries) = &run.batches else {
            return false;
        };
        let after = entries.last().map_or(run.summary.base, Entry::end);
        let fits = run.segment.number == segment.number
            && entry.base >= after
            && entry.end() <= run.summary.end;
        if fits {
            run.push(entry);
        }
        fits
    }

    /// Puts `new` where the runs of the segments `first..=last` are, if there is any.
    pub(super) fn replace(&mut self, first: u64, last: u64, new: Run) {
        let within = |run: &Run| (first..=last).contains(&run.segment.number);
        let Some(at) = self.runs.iter().position(within) else {
            return; // All of it has been deleted meanwhile.
        };
        self.runs.retain(|run| !within(run));
        self.runs.insert(at, new);
    }

    /// Begins anew at `at` when nothing is held: what was before has been removed.
    pub(super) fn skip_empty(&mut self, at: Offset) {
        if self.runs.is_empty() && self.end < at {
            *self = Self::starting_at(at);
        }
    }

    /// Adds an entry that follows the last one.
    pub(super) fn push(&mut self, segment: &Arc<Segment>, entry: Entry) {
        debug_assert_eq!(entry.base, self.end, "entries are dense");
        self.end = entry.end();
        let last = self.runs.back_mut();
        match last.filter(|run| run.segment.number == segment.number) {
            Some(run) => run.push(entry),
            None => {
                let mut run = Run::new(segment, entry.base);
                run.push(entry);
                self.runs.push_back(run);
            }
        }
    }

    /// Adds a run that follows the last one.
    pub(super) fn push_run(&mut self, run: Run) {
        debug_assert_eq!(run.summary.base, self.end, "runs are dense");
        self.end = run.summary.end;
        self.runs.push_back(run);
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
                latest: Timestamp::from_millis(i64::MIN),
            };
            self.push(&damage.segment, entry);
        }
    }

    /// What the segment that covers `from` holds from there on, and where that ends. Entries that are
    /// in memory are taken as long as `wanted`.
    pub(super) fn find(
        &self,
        from: Offset,
        wanted: &mut impl FnMut(&Entry) -> bool,
    ) -> Option<(Found, Offset)> {
        let run = self.run_at(from)?;
        let found = run.found(|entries| select(entries, from, wanted));
        Some((found, run.summary.end))
    }

    /// What the first segment from `from` on holds that has a record of `time` or later.
    pub(super) fn find_since(&self, time: Timestamp, from: Offset) -> Option<(Found, Offset)> {
        let start = self.runs.partition_point(|run| run.summary.end <= from);
        let mut runs = self.runs.range(start..);
        let run = runs.find(|run| run.summary.max_timestamp >= time)?;
        let found = run.found(|entries| since(entries, time, from).into_iter().collect());
        Some((found, run.summary.end))
    }

    fn run_at(&self, from: Offset) -> Option<&Run> {
        let at = self.runs.partition_point(|run| run.summary.end <= from);
        self.runs.get(at)
    }

    /// Takes the entries of a sealed segment out of their growing form, to be written to its catalog.
    pub(super) fn seal(&mut self, segment: u64) -> Option<(Summary, Arc<[Entry]>)> {
        let run = self.run_in(segment)?;
        match &mut run.batches {
            Batches::Growing(entries) => {
                let entries: Arc<[Entry]> = std::mem::take(entries).into();
                run.batches = Batches::Kept(Arc::clone(&entries));
                Some((run.summary, entries))
            }
            Batches::Kept(entries) => Some((run.summary, Arc::clone(entries))),
            Batches::Stored(_) => None,
        }
    }

    /// Lets go of the entries of a segment that its catalog holds now.
    pub(super) fn store(&mut self, segment: u64, section: Section) {
        if let Some(run) = self.run_in(segment) {
            run.batches = Batches::Stored(section);
        }
    }

    /// Bytes of batches.
    pub(super) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.summary.bytes).sum()
    }

    /// The entries whose batches are damaged, of those that are in memory: a segment with damage has
    /// no catalog.
    pub(super) fn lost(&self) -> Vec<(Arc<Segment>, Entry)> {
        let runs = self.runs.iter().flat_map(|run| {
            let entries: &[Entry] = match &run.batches {
                Batches::Growing(entries) => entries,
                Batches::Kept(entries) => entries,
                Batches::Stored(_) => &[],
            };
            let lost = entries.iter().filter(|entry| entry.len().is_none());
            lost.map(|entry| (Arc::clone(&run.segment), *entry))
        });
        runs.collect()
    }

    fn run_in(&mut self, segment: u64) -> Option<&mut Run> {
        let mut runs = self.runs.iter_mut().rev();
        runs.find(|run| run.segment.number == segment)
    }

    /// One past the last offset in segments up to `number`, when any lies there.
    pub(super) fn end_within(&self, number: u64) -> Option<Offset> {
        let runs = self.runs.iter();
        let within = runs.take_while(|run| run.segment.number <= number);
        within.last().map(|run| run.summary.end)
    }

    /// Forgets the offsets below `before`. The batch that holds it stays.
    pub(super) fn drop_before(&mut self, before: Offset) {
        while self
            .runs
            .front()
            .is_some_and(|run| run.summary.end <= before)
        {
            self.runs.pop_front();
        }
        self.first = self.first.max(before.min(self.end));
    }
}
