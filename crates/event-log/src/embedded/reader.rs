//! Reading batches back: one positioned read for each stretch of neighbours, checked on the way.

use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;

use super::books::PartitionLog;
use super::index::Entry;
use super::segment::Segment;
use crate::{Error, Offset, RecordBatch, TopicPartition};

/// Foreign bytes that are read along rather than splitting a read in two.
const MAX_GAP: u64 = 16 << 10;
/// Bytes of one read.
const MAX_READ: u64 = 4 << 20;

/// Batches from the one that holds `from` on; see [`EventLog::read`](crate::EventLog::read).
pub(super) fn read(
    partition: &PartitionLog,
    place: &TopicPartition,
    from: Offset,
    max_bytes: usize,
) -> Result<Vec<RecordBatch>, Error> {
    let wanted = {
        let index = partition.index.read();
        let bounds = index.bounds();
        if from < bounds.start || from > bounds.end {
            return Err(Error::OffsetOutOfRange {
                partition: place.clone(),
                offset: from,
                first: bounds.start,
                end: bounds.end,
            });
        }
        let (mut taken, mut bytes) = (0, 0usize);
        index.from(from, |entry| {
            bytes = bytes.saturating_add(entry.len().unwrap_or(0));
            taken += 1;
            taken == 1 || (entry.len().is_some() && bytes <= max_bytes)
        })
    };
    let mut batches = Vec::new();
    for (segment, entries) in &wanted {
        for stretch in stretches(entries) {
            match read_stretch(segment, stretch, &mut batches) {
                Ok(()) => {}
                // What precedes the damage is served first; the next read begins with the error.
                Err(_) if !batches.is_empty() => return Ok(batches),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(batches)
}

/// The first record of `time` or later; see [`EventLog::offset_at`](crate::EventLog::offset_at).
pub(super) fn offset_at(
    partition: &PartitionLog,
    place: &TopicPartition,
    time: Timestamp,
) -> Result<Option<(Offset, Timestamp)>, Error> {
    let mut from = partition.index.read().bounds().start;
    loop {
        let entry = partition.index.read().since(time, from);
        let Some(entry) = entry else {
            return Ok(None);
        };
        let batches = read(partition, place, entry.base.max(from), 1)?;
        let found = batches.first().map(|batch| batch.first_since(time, from));
        match found {
            Some(Some(found)) => return Ok(Some(found)),
            // The header promised more than its records hold, or they have been deleted.
            Some(None) => from = entry.end(),
            None => return Ok(None),
        }
    }
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
    batches: &mut Vec<RecordBatch>,
) -> Result<(), Error> {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Ok(());
    };
    let Some(last_len) = last.len() else {
        return Err(segment.corrupt(first.position, "the frame failed its checksum at the start"));
    };
    let span = usize::try_from(last.position - first.position)
        .map_err(|_| segment.corrupt(first.position, "the segment is too large"))?;
    let mut bytes = vec![0; span + last_len];
    let read = segment.file.read_at(&mut bytes, first.position);
    read.map_err(|source| Error::Io {
        act: format!("read {} at byte {}", segment.name, first.position),
        source,
    })?;
    let bytes = Bytes::from(bytes);
    for entry in entries {
        let at = (entry.position - first.position) as usize;
        let mut rest = bytes.slice(at..);
        let batch = RecordBatch::take(&mut rest)
            .map_err(|error| segment.corrupt(entry.position, error.to_string()))?;
        let expected = (entry.base, entry.len());
        if (batch.base_offset(), Some(batch.as_bytes().len())) != expected {
            return Err(segment.corrupt(entry.position, "another batch stands there"));
        }
        batches.push(batch);
    }
    Ok(())
}
