//! What a start makes of the files it finds.
//!
//! Each journal is read from its oldest segment on and its frames are applied in order. Of the segments
//! before the last sound snapshot nothing is asked but where their batches lie, and their catalogs tell
//! that where they are whole. Where no
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

use super::catalog::{self, Identity, Section};
use super::frame::{Frame, Kind, Salt, Soundness};
use super::index::Entry;
use super::journal::{self, Held, Journal};
use super::mark::Mark;
use super::replay::{Condition, Replay, Scan, Synced, trailing_zeros};
use super::segment::{FRAMES, Header, OpenSegment, Segment, Written};
use super::storage::Storage;
use crate::{Error, Lifetime};

/// A journal as it was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) journal: Journal,
    pub(super) replay: Replay,
    /// The sealed segments that have been read through without meeting damage.
    pub(super) scanned: Vec<Identity>,
}

/// Opens the journal `home` in `dir`: its files, and what its frames have built.
pub(super) fn recover(
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    home: Lifetime,
    segment_bytes: u64,
    clock: SharedClock,
) -> Result<Recovered, Error> {
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
        spares: Vec::new(),
        cache: Arc::default(),
    };
    let mut replay = Replay::new(home);
    let headers: io::Result<Vec<_>> = segments
        .iter()
        .map(|(segment, _)| replay.header(segment))
        .collect();
    let headers = headers.map_err(io)?;
    let (segments, headers) = without_leftovers(&journal, segments, headers);
    let snapshot = last_snapshot(&segments, &headers).map_err(io)?;
    let mut scanned = Vec::new();
    for (index, (segment, catalog)) in segments.iter().enumerate() {
        if let Some(before) = journal.segments.back()
            && before.through + 1 != segment.number
        {
            replay.lose(&before.segment, journal.position as usize, 0);
        }
        let header = headers[index];
        let next = segments.get(index + 1).zip(headers.get(index + 1));
        let next = next.map(|((next, _), header)| (next.number, *header));
        let sealed = header.and_then(|header| identity(&header, next));
        let mut bytes = Vec::new();
        let known = match (sealed, catalog) {
            (Some(sealed), Some(catalog)) if index < snapshot => {
                let long_enough = segment.file.len().map_err(io)? >= sealed.end;
                let catalog = catalog::open(Arc::clone(catalog), sealed, &journal.cache);
                let catalog = catalog.map_err(io)?.filter(|_| long_enough);
                catalog.map(|sections| (sealed, sections))
            }
            (Some(_) | None, Some(_) | None) => None,
        };
        journal.position = if let Some((sealed, sections)) = known {
            replay.take(segment, sections)?;
            sealed.end
        } else {
            bytes = segment.file.read_all().map_err(io)?;
            scanned.extend(sealed);
            scan(&mut replay, segment, header, &bytes, next, mark)?
        };
        journal.segments.push_back(Held {
            segment: Arc::clone(segment),
            salt: header.map_or(Salt(0), |header| header.salt),
            created: header.map_or_else(|| journal.clock.now(), |header| header.created),
            bytes: segment.file.len().map_err(io)?,
            through: header.map_or(segment.number, |header| header.through()),
            written: header.map_or(Written::Again, |header| header.written()),
        });
        if next.is_none() {
            if mark.segment > segment.number {
                replay.lose(segment, journal.position as usize, mark.position);
            }
            let condition = replay.damaged_in(segment.number);
            let used = header.map_or(0, |header| header.used);
            journal.resume(&bytes, condition, used).map_err(io)?;
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
    scanned.retain(|sealed| !replay.is_damaged(sealed.number));
    Ok(Recovered {
        journal,
        replay,
        scanned,
    })
}

fn scan(
    replay: &mut Replay,
    segment: &Arc<Segment>,
    header: Option<Header>,
    bytes: &[u8],
    next: Option<(u64, Option<Header>)>,
    mark: Mark,
) -> Result<u64, Error> {
    let Some(header) = header else {
        replay.lose(segment, 0, bytes.len() as u64);
        return Ok(bytes.len() as u64);
    };
    let end = replay.scan(&Scan {
        segment,
        header,
        bytes,
        synced: synced(&header, bytes, next, mark),
    })?;
    Ok(end as u64)
}

/// The segments but for those that a rewritten one stands for: its making was cut short before they
/// had been removed.
fn without_leftovers(
    journal: &Journal,
    segments: Vec<OpenSegment>,
    headers: Vec<Option<Header>>,
) -> (Vec<OpenSegment>, Vec<Option<Header>>) {
    let mut through = 0;
    let all = segments.into_iter().zip(headers);
    let kept = all.filter(|((segment, _), header)| {
        if segment.number <= through {
            journal.remove_files(segment.number);
            return false;
        }
        through = header.map_or(segment.number, |header| header.through());
        true
    });
    kept.unzip()
}

/// Which of the segments is the last one whose snapshot is sound.
fn last_snapshot(segments: &[OpenSegment], headers: &[Option<Header>]) -> io::Result<usize> {
    for (index, ((segment, _), header)) in segments.iter().zip(headers).enumerate().rev() {
        let Some(header) = header else {
            continue;
        };
        let len = header.snapshot_end.saturating_sub(FRAMES as u64);
        if segment.file.len()? < header.snapshot_end {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        segment.file.read_at(&mut bytes, FRAMES as u64)?;
        let frame = Frame::parse(&bytes, header.salt);
        if frame.is_some_and(|frame| {
            frame.kind == Kind::Snapshot && frame.batches_are == Soundness::Sound
        }) {
            return Ok(index);
        }
    }
    Ok(0)
}

/// What the catalog of a segment is known by, when the next one tells where its frames end.
fn identity(header: &Header, next: Option<(u64, Option<Header>)>) -> Option<Identity> {
    if header.sealed_end > 0 {
        return Some(Identity {
            number: header.number,
            salt: header.salt,
            end: header.sealed_end,
        });
    }
    let (number, next) = next?;
    (number == header.number + 1).then_some(Identity {
        number: header.number,
        salt: header.salt,
        end: next?.previous_end,
    })
}

/// The entries of one partition in a sealed segment, from the segment itself.
pub(super) fn reread(segment: &Arc<Segment>, section: &Section) -> io::Result<Arc<[Entry]>> {
    let sealed = section.identity();
    let mut replay = Replay::new(Lifetime::Events);
    let Some(header) = replay.header(segment)? else {
        return Err(io::Error::other("the segment has lost its header"));
    };
    let bytes = segment.file.read_all()?;
    replay
        .scan(&Scan {
            segment,
            header,
            bytes: &bytes,
            synced: Synced::Sealed(sealed.end as usize),
        })
        .map_err(io::Error::other)?;
    let index = replay.indexes.remove(&section.key());
    let sealed = index.and_then(|mut index| index.seal(segment.number));
    Ok(sealed.map_or_else(Arc::default, |(_, entries)| entries))
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
        _ if header.sealed_end > 0 => Synced::Sealed(header.sealed_end as usize),
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
    /// A file that was written before, up to `used`, takes no more: a torn tail cannot be told from what
    /// it held then.
    fn resume(&mut self, bytes: &[u8], condition: Condition, used: u64) -> io::Result<()> {
        let Some(held) = self.segments.back_mut() else {
            return Ok(());
        };
        let file = &held.segment.file;
        if used > self.position {
            file.truncate(self.position)?;
            held.bytes = self.position;
            self.capacity = self.position;
            file.sync()?;
            self.write_mark();
            return Ok(());
        }
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
