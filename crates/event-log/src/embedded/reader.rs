//! Reading batches back: one positioned read for each stretch of neighbours, straight into the bytes
//! that are handed on, checked on the way.
//!
//! A reader first takes what the page cache holds, which never waits for the disk; only when that is
//! not enough is the read done over on a thread that may wait. Recent records, which most reads are
//! after, cost no change of threads that way, and old ones do not hold up the runtime.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use clock::Timestamp;

use super::books::PartitionLog;
use super::buffers;
use super::catalog::Section;
use super::index::{self, Batches, Entry, Found, Run};
use super::recovery;
use super::segment::Segment;
use crate::{Error, Offset, RecordBatch, StoredChunk, TopicPartition};

/// Foreign bytes that are read along rather than splitting a read in two.
const MAX_GAP: u64 = 16 << 10;
/// Bytes of one read.
const MAX_READ: u64 = 4 << 20;

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It may not: what is not in the page cache is [`Stop::Cold`].
    Cached,
    Blocking,
}

/// Why a read ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// It would have had to wait for the disk.
    Cold,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What may still be read.
struct Budget {
    max_bytes: usize,
    /// Nothing from here on.
    end: Offset,
    taken: usize,
    bytes: usize,
    /// Whether an entry was left out.
    spent: bool,
    /// Whether that was because `end` was reached.
    ended: bool,
}

impl Budget {
    fn takes(&mut self, entry: &Entry) -> bool {
        if entry.base >= self.end {
            (self.spent, self.ended) = (true, true);
            return false;
        }
        self.bytes = self.bytes.saturating_add(entry.len().unwrap_or(0));
        self.taken += 1;
        let fits = entry.len().is_some() && self.bytes <= self.max_bytes;
        self.spent = self.taken > 1 && !fits;
        !self.spent
    }
}

/// Batches from the one that holds `from` on, as far as they begin below `end`; see
/// [`BrokerLog::read_stored`](crate::BrokerLog::read_stored).
pub(super) fn read(
    partition: &PartitionLog,
    place: &TopicPartition,
    from: Offset,
    max_bytes: usize,
    end: Offset,
    patience: Patience,
) -> Result<StoredChunk, Stop> {
    let bounds = partition.index.read().bounds();
    if from < bounds.start || from > bounds.end {
        return Err(Stop::Failed(Error::OffsetOutOfRange {
            partition: place.clone(),
            offset: from,
            first: bounds.start,
            end: bounds.end,
        }));
    }
    let mut budget = Budget {
        max_bytes,
        end,
        taken: 0,
        bytes: 0,
        spent: false,
        ended: false,
    };
    let mut batches = Vec::new();
    let mut next = from;
    while !budget.spent {
        let mut takes = |entry: &Entry| budget.takes(entry);
        let found = partition.index.read().find(next, &mut takes);
        let Some((found, run_end)) = found else {
            break;
        };
        let read = entries(found, patience, |entries| {
            index::select(entries, next, &mut takes)
        });
        let read = read.and_then(|(segment, entries)| {
            let mut stretches = stretches(&entries);
            stretches.try_for_each(|some| read_stretch(&segment, some, patience, &mut batches))
        });
        match read {
            Ok(()) if budget.spent => {}
            Ok(()) => next = next.max(run_end),
            // What precedes the damage is served first; the next read begins with the error.
            Err(Stop::Failed(_)) if !batches.is_empty() => break,
            Err(stop) => return Err(stop),
        }
    }
    let last = batches.last().map(RecordBatch::end_offset);
    let ended = budget.ended.then_some(end);
    let next = next.max(last.unwrap_or(from)).max(ended.unwrap_or(from));
    Ok(StoredChunk {
        batches,
        next,
        aborted: Vec::new(),
    })
}

/// The first record of `time` or later; see [`EventLog::offset_at`](crate::EventLog::offset_at).
pub(super) fn offset_at(
    partition: &PartitionLog,
    place: &TopicPartition,
    time: Timestamp,
    end: Offset,
    patience: Patience,
) -> Result<Option<(Offset, Timestamp)>, Stop> {
    let mut from = partition.index.read().bounds().start;
    loop {
        let found = partition.index.read().find_since(time, from);
        let Some((found, run_end)) = found else {
            return Ok(None);
        };
        let (_, entries) = entries(found, patience, |entries| {
            index::since(entries, time, from).into_iter().collect()
        })?;
        let Some(entry) = entries.first() else {
            from = run_end;
            continue;
        };
        if entry.base >= end {
            return Ok(None);
        }
        if entry.len().is_some() {
            let at = entry.base.max(from);
            let stored = read(partition, place, at, 1, end, patience)?;
            let first = stored.batches.first();
            if let Some(found) = first.and_then(|batch| batch.first_since(time, from)) {
                return Ok(Some(found));
            }
        }
        // Damaged, or deleted, or the header promised more than its records hold.
        from = entry.end();
    }
}

/// The entries that were found, those of a catalog selected by `select`.
fn entries(
    found: Found,
    patience: Patience,
    select: impl FnOnce(&[Entry]) -> Vec<Entry>,
) -> Result<(Arc<Segment>, Vec<Entry>), Stop> {
    match found {
        Found::Entries(segment, entries) => Ok((segment, entries)),
        Found::Stored(segment, section) => {
            let all = load(&segment, &section, patience)?;
            Ok((segment, select(&all)))
        }
    }
}

/// Reads every batch of a run in order, however long the disk takes.
///
/// # Errors
/// [`Error::Corrupt`] at the first damage, [`Error::Io`].
pub(super) fn each_batch(
    run: &Run,
    mut take: impl FnMut(RecordBatch) -> ControlFlow<()>,
) -> Result<(), Error> {
    let failed = |stop| match stop {
        Stop::Failed(error) => error,
        Stop::Cold => unreachable!("a read that may wait does not end for that"),
    };
    let entries = match &run.batches {
        Batches::Growing(entries) => entries.clone().into(),
        Batches::Kept(entries) => Arc::clone(entries),
        Batches::Stored(section) => {
            load(&run.segment, section, Patience::Blocking).map_err(failed)?
        }
    };
    for stretch in stretches(&entries) {
        let mut batches = Vec::new();
        read_stretch(&run.segment, stretch, Patience::Blocking, &mut batches).map_err(failed)?;
        for batch in batches {
            if take(batch).is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn load(
    segment: &Arc<Segment>,
    section: &Section,
    patience: Patience,
) -> Result<Arc<[Entry]>, Stop> {
    if let Some(entries) = section.cached() {
        return Ok(entries);
    }
    if patience == Patience::Cached {
        return Err(Stop::Cold);
    }
    let io = |source| Error::Io {
        act: format!("read the catalog of {}", segment.name),
        source,
    };
    if let Some(entries) = section.load().map_err(io)? {
        return Ok(entries);
    }
    tracing::warn!(
        file = segment.name,
        "the catalog of a segment is damaged; the segment is read through"
    );
    let entries = recovery::reread(segment, section).map_err(io)?;
    section.remember(&entries);
    Ok(entries)
}

/// Splits entries where too much of other partitions lies between.
fn stretches(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let mut start = entries.first().map_or(0, |first| first.position);
    entries.chunk_by(move |before, after| {
        let before_end = before.position + before.len().unwrap_or(0) as u64;
        let after_end = after.position + after.len().unwrap_or(0) as u64;
        let near = after
            .position
            .checked_sub(before_end)
            .is_some_and(|gap| gap <= MAX_GAP)
            && after_end - start <= MAX_READ;
        if !near {
            start = after.position;
        }
        near
    })
}

fn read_stretch(
    segment: &Arc<Segment>,
    entries: &[Entry],
    patience: Patience,
    batches: &mut Vec<RecordBatch>,
) -> Result<(), Stop> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Ok(());
    };
    let Some(last_len) = last.len() else {
        let reason = "the frame failed its checksum at the start";
        return Err(segment.corrupt(first.position, reason).into());
    };
    let span = usize::try_from(last.position - first.position)
        .map_err(|_| segment.corrupt(first.position, "the segment is too large"))?;
    let read = buffers::filled(span + last_len, |bytes| match patience {
        Patience::Cached => segment.file.read_cached(bytes, first.position),
        Patience::Blocking => segment.file.read_at(bytes, first.position),
    });
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Stop::Cold),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let reason = "the segment ends before its frames do";
            return Err(segment.corrupt(first.position, reason).into());
        }
        Err(source) => {
            return Err(Stop::Failed(Error::Io {
                act: format!("read {} at byte {}", segment.name, first.position),
                source,
            }));
        }
    };
    for entry in entries {
        let at = (entry.position - first.position) as usize;
        let mut rest = bytes.slice(at..);
        let batch = RecordBatch::take(&mut rest)
            .map_err(|error| segment.corrupt(entry.position, error.to_string()))?;
        let expected = (entry.base, entry.len());
        if (batch.base_offset(), Some(batch.as_bytes().len())) != expected {
            return Err(segment
                .corrupt(entry.position, "another batch stands there")
                .into());
        }
        batches.push(batch);
    }
    Ok(())
}
