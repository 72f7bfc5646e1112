//! What a start makes of the files it finds.
//!
//! Each journal is read from its oldest segment on and its frames are applied in order. Where no
//! sound frame stands at the place where one should, the question is whether these bytes were ever
//! durable. They were when the mark says so, when a segment follows, or when a later frame says so of
//! itself; then this is damage: the range is quarantined, its offsets answer with an error, and the
//! rest is served ([`replay`](super::replay)). Otherwise nobody was told of them: a torn tail, cut
//! off.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clock::SharedClock;

use super::frame::Salt;
use super::journal::{self, Held, Journal};
use super::mark::Mark;
use super::replay::{Condition, Replay, Scan, Synced, trailing_zeros};
use super::segment::Header;
use super::storage::Storage;
use crate::{Error, Lifetime};

/// Opens the journal `home` in `dir`: its files, and what its frames have built.
pub(super) fn recover(
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    home: Lifetime,
    segment_bytes: u64,
    clock: SharedClock,
) -> Result<(Journal, Replay), Error> {
    let io = |source| Error::Io {
        act: format!("open the journal in {}", dir.display()),
        source,
    };
    let (segments, mark_file, mark) = journal::open_files(&*storage, &dir, home).map_err(io)?;
    let mut journal = Journal {
        lifetime: home,
        storage,
        dir: dir.clone(),
        segment_bytes,
        clock,
        segments: VecDeque::new(),
        position: 0,
        capacity: 0,
        written: 0,
        next_frame: 1,
        mark: mark_file,
    };
    let mut replay = Replay::new(home);
    let headers: io::Result<Vec<_>> = segments
        .iter()
        .map(|segment| replay.header(segment))
        .collect();
    let headers = headers.map_err(io)?;
    for (index, segment) in segments.iter().enumerate() {
        if let Some(before) = journal.segments.back()
            && before.segment.number + 1 != segment.number
        {
            replay.lose(&before.segment, journal.position as usize, 0);
        }
        let bytes = segment.file.read_all().map_err(io)?;
        let header = headers[index];
        let next = segments.get(index + 1).zip(headers.get(index + 1));
        let next = next.map(|(next, header)| (next.number, *header));
        let end = if let Some(header) = header {
            let bytes = &bytes;
            replay.scan(&Scan {
                segment,
                header,
                bytes,
                synced: synced(&header, bytes, next, mark),
            })?
        } else {
            replay.lose(segment, 0, bytes.len() as u64);
            bytes.len()
        };
        journal.position = end as u64;
        journal.segments.push_back(Held {
            segment: Arc::clone(segment),
            salt: header.map_or(Salt(0), |header| header.salt),
            created: header.map_or_else(|| journal.clock.now(), |header| header.created),
            bytes: segment.file.len().map_err(io)?,
        });
        if next.is_none() {
            if mark.segment > segment.number {
                replay.lose(segment, end, mark.position);
            }
            let condition = replay.damaged_in(segment.number);
            journal.resume(&bytes, condition).map_err(io)?;
        }
    }
    if segments.is_empty() && mark != Mark::default() {
        return Err(Error::Corrupt {
            file: Journal::name(home).to_owned(),
            position: 0,
            reason: format!(
                "segment {} was written and no segment is there",
                mark.segment
            ),
        });
    }
    replay.finish();
    journal.next_frame = replay.next_frame;
    Ok((journal, replay))
}

/// How far a segment is known to have been durable: by the header of the `next` one, which has its
/// number too, or else by the mark.
fn synced(
    header: &Header,
    bytes: &[u8],
    next: Option<(u64, Option<Header>)>,
    mark: Mark,
) -> Synced {
    match next {
        Some((number, Some(next))) if number == header.number + 1 => {
            Synced::Sealed(next.previous_end as usize)
        }
        // Whatever was written to it: it has been sealed, it is not known where.
        Some(_) => Synced::Sealed(bytes.len() - trailing_zeros(bytes)),
        None if mark.segment == header.number => {
            Synced::AtLeast(mark.position.max(header.snapshot_end) as usize)
        }
        None => Synced::AtLeast(header.snapshot_end as usize),
    }
}

impl Journal {
    /// Prepares the last segment, read as `bytes`, for writing from `position` on.
    fn resume(&mut self, bytes: &[u8], condition: Condition) -> io::Result<()> {
        let Some(held) = self.segments.back_mut() else {
            return Ok(());
        };
        let file = &held.segment.file;
        let allocated = file.len()?;
        let end = (self.position as usize).min(bytes.len());
        let torn = bytes.len() - end - trailing_zeros(&bytes[end..]);
        if torn > 0 {
            tracing::warn!(
                file = held.segment.name,
                position = self.position,
                bytes = torn,
                "a torn tail is cut off: nobody was told that it was written"
            );
            file.truncate(self.position)?;
        }
        let restored = if torn > 0 {
            file.allocate(allocated)
        } else {
            Ok(())
        };
        self.capacity = match (condition, restored) {
            (Condition::Sound, Ok(())) => allocated,
            // Without room the next group begins a new segment, or finds the disk full.
            (Condition::Damaged, _) | (_, Err(_)) => self.position,
        };
        // After a crash of the process alone the frames may still be on their way to the disk.
        file.sync()?;
        self.write_mark();
        Ok(())
    }
}
