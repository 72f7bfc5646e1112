//! What a partition's checkpoint remembers beyond offsets: tallies and the state of retries.
//!
//! One version byte, then unsigned LEB128 numbers. Offsets are written as distances, so that a
//! thousand events that wait for a retry take some ten kilobytes in every checkpoint.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clock::Timestamp;
use event_log::Offset;

const VERSION: u8 = 1;

/// How many events have ended in which state, since the trigger was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// The function dealt with them.
    pub succeeded: u64,
    /// No filter matched them.
    pub filtered: u64,
    /// They were given up after their last attempt, or could not be tried at all.
    pub failed: u64,
    /// They were given up because of their age.
    pub expired: u64,
}

/// What a checkpoint's metadata says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) tallies: Tallies,
    /// Unfinished batches of which more is known than that they are unfinished, by first offset.
    pub(crate) batches: Vec<NotedBatch>,
}

/// A batch that waits or was in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotedBatch {
    /// Its offsets: half-open, ascending, disjoint.
    pub(crate) offsets: Vec<Range<Offset>>,
    /// The number of the attempt that comes next, or that was in flight.
    pub(crate) attempt: u32,
    /// Failures that counted against its retries.
    pub(crate) failures: u32,
    /// Refusals since the last attempt.
    pub(crate) refusals: u32,
    pub(crate) state: NotedState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotedState {
    /// It is tried at this time.
    WaitsUntil(Timestamp),
    /// It was in flight.
    InFlight,
}

/// Metadata that this version cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the checkpoint's metadata is unreadable: {reason}")]
pub(crate) struct NotesError {
    reason: &'static str,
}

impl Tallies {
    /// Events that have ended, in whichever state.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.succeeded + self.filtered + self.failed + self.expired
    }
}

impl Notes {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(16 + 12 * self.batches.len());
        out.put_u8(VERSION);
        let tallies = &self.tallies;
        for tally in [
            tallies.succeeded,
            tallies.filtered,
            tallies.failed,
            tallies.expired,
        ] {
            put(&mut out, tally);
        }
        put(&mut out, self.batches.len() as u64);
        let mut before = 0;
        for batch in &self.batches {
            before = batch.encode(&mut out, before);
        }
        out.freeze()
    }

    /// Reads metadata; none at all is a fresh start.
    pub(crate) fn decode(mut bytes: Bytes) -> Result<Self, NotesError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        if bytes.get_u8() != VERSION {
            return Err(unreadable("it was written by a newer version"));
        }
        let tallies = Tallies {
            succeeded: take(&mut bytes)?,
            filtered: take(&mut bytes)?,
            failed: take(&mut bytes)?,
            expired: take(&mut bytes)?,
        };
        let mut batches = Vec::new();
        let mut before = 0;
        for _ in 0..take(&mut bytes)? {
            let batch = NotedBatch::decode(&mut bytes, before)?;
            before = batch
                .offsets
                .first()
                .map_or(before, |range| range.start.get());
            batches.push(batch);
        }
        if bytes.has_remaining() {
            return Err(unreadable("bytes are left over"));
        }
        Ok(Self { tallies, batches })
    }
}

impl NotedBatch {
    /// Writes the batch and returns its first offset, which the next batch is measured from.
    fn encode(&self, out: &mut BytesMut, before: u64) -> u64 {
        put(out, self.offsets.len() as u64);
        let first = self
            .offsets
            .first()
            .map_or(before, |range| range.start.get());
        let mut at = before;
        for range in &self.offsets {
            put(out, range.start.get() - at);
            put(out, range.end.get() - range.start.get());
            at = range.end.get();
        }
        for number in [self.attempt, self.failures, self.refusals] {
            put(out, number.into());
        }
        match self.state {
            NotedState::InFlight => put(out, 0),
            NotedState::WaitsUntil(time) => {
                let millis = u64::try_from(time.as_millis()).unwrap_or(0);
                put(out, millis + 1);
            }
        }
        first
    }

    fn decode(bytes: &mut Bytes, before: u64) -> Result<Self, NotesError> {
        let mut offsets = Vec::new();
        let mut at = before;
        for _ in 0..take(bytes)? {
            let far = || unreadable("an offset is beyond every log");
            let start = at.checked_add(take(bytes)?).ok_or_else(far)?;
            at = start.checked_add(take(bytes)?).ok_or_else(far)?;
            offsets.push(Offset::new(start)..Offset::new(at));
        }
        let mut number =
            || u32::try_from(take(bytes)?).map_err(|_| unreadable("a count is beyond every limit"));
        let (attempt, failures, refusals) = (number()?, number()?, number()?);
        let state = match take(bytes)? {
            0 => NotedState::InFlight,
            millis => NotedState::WaitsUntil(Timestamp::from_millis(
                i64::try_from(millis - 1)
                    .map_err(|_| unreadable("a time is beyond every clock"))?,
            )),
        };
        Ok(Self {
            offsets,
            attempt,
            failures,
            refusals,
            state,
        })
    }
}

/// Ascending offsets as half-open ranges.
pub(crate) fn ranges(offsets: impl IntoIterator<Item = Offset>) -> Vec<Range<Offset>> {
    let mut ranges: Vec<Range<Offset>> = Vec::new();
    for offset in offsets {
        match ranges.last_mut() {
            Some(last) if last.end == offset => last.end = offset.next(),
            Some(_) | None => ranges.push(offset..offset.next()),
        }
    }
    ranges
}

fn unreadable(reason: &'static str) -> NotesError {
    NotesError { reason }
}

fn put(out: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

fn take(from: &mut Bytes) -> Result<u64, NotesError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        if !from.has_remaining() {
            return Err(unreadable("it is cut off"));
        }
        let byte = from.get_u8();
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(unreadable("a number is longer than ten bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_format_reads_for_ever() {
        let golden: &[u8] = &[
            1, 5, 1, 0, 2, 2, 1, 10, 2, 1, 0, 0, 0, 1, 4, 1, 3, 2, 0, 0xe9, 7,
        ];
        let notes = Notes {
            tallies: Tallies {
                succeeded: 5,
                filtered: 1,
                failed: 0,
                expired: 2,
            },
            batches: vec![
                NotedBatch {
                    offsets: vec![Offset::new(10)..Offset::new(12)],
                    attempt: 1,
                    failures: 0,
                    refusals: 0,
                    state: NotedState::InFlight,
                },
                NotedBatch {
                    offsets: vec![Offset::new(14)..Offset::new(15)],
                    attempt: 3,
                    failures: 2,
                    refusals: 0,
                    state: NotedState::WaitsUntil(Timestamp::from_millis(1_000)),
                },
            ],
        };
        assert_eq!(&notes.encode()[..], golden);
        assert_eq!(Notes::decode(Bytes::from_static(golden)).unwrap(), notes);
    }

    #[test]
    fn a_newer_format_is_refused() {
        assert!(Notes::decode(Bytes::from_static(&[9, 0])).is_err());
    }

    fn batch() -> impl Strategy<Value = NotedBatch> {
        (
            proptest::collection::btree_set(0u64..2_000, 1..8),
            (1u32..9, 0u32..9, 0u32..9),
            proptest::option::of(0i64..4_000_000_000_000),
        )
            .prop_map(|(offsets, (attempt, failures, refusals), due)| NotedBatch {
                offsets: ranges(offsets.into_iter().map(Offset::new)),
                attempt,
                failures,
                refusals,
                state: due.map_or(NotedState::InFlight, |due| {
                    NotedState::WaitsUntil(Timestamp::from_millis(due))
                }),
            })
    }

    proptest! {
        #[test]
        fn notes_survive_their_bytes(mut batches in proptest::collection::vec(batch(), 0..6)) {
            batches.sort_by_key(|batch| batch.offsets[0].start);
            let notes = Notes { tallies: Tallies { failed: u64::MAX, ..Tallies::default() }, batches };
            prop_assert_eq!(Notes::decode(notes.encode()).unwrap(), notes);
        }

        #[test]
        fn no_bytes_make_reading_notes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            drop(Notes::decode(bytes.into()));
        }
    }
}
