//! What a start makes of the files it finds.
//!
//! Each journal is read from its oldest segment on and its frames are applied in order. Where no
//! sound frame stands at the place where one should, the question is whether these bytes were ever
//! durable. They were when the mark says so, when a segment follows, or when a later frame says so of
//! itself; then this is damage: the range is quarantined, its offsets answer with an error, and the
//! rest is served. Otherwise nobody was told of them: a torn tail, cut off.
//!
//! Damage to a frame's batches costs those batches. Damage to its manifest also costs whatever it
//! changed; ends of partitions are known again from the next frame on the partition or the next
//! snapshot. When neither follows, offsets are skipped that the lost frames may have used, so that
//! none is ever used twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use clock::SharedClock;

use super::frame::{Frame, Kind, MAGIC, Salt, Soundness};
use super::index::{Damage, Entry, Index};
use super::journal::{self, Held, Journal};
use super::segment::{Copies, FRAMES, Header, Segment};
use super::storage::Storage;
use super::wire;
use crate::ledger::{Change, Extent, Ledger, PartitionKey};
use crate::{Error, Lifetime, Offset};

/// What the frames of one journal have built.
#[derive(Debug)]
pub(super) struct Replay {
    home: Lifetime,
    pub(super) ledger: Ledger,
    pub(super) indexes: HashMap<PartitionKey, Index>,
    /// The sequence number that the next frame must have; after damage, the least it can have.
    pub(super) next_frame: u64,
    sequence: Continuity,
    /// The latest damage.
    damage: Option<Damage>,
    /// Bytes of frames lost with their manifests since the last snapshot.
    lost: u64,
    /// Ranges of bytes that were given up.
    pub(super) quarantined: u64,
    /// Partitions whose ends are known since the latest damage.
    ends_known: HashSet<PartitionKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Continuity {
    /// The next frame has exactly the next number.
    Exact,
    /// Frames may have been lost.
    Broken,
}

/// How far a segment is known to have been durable.
#[derive(Clone, Copy, Debug)]
pub(super) enum Synced {
    /// Another segment follows: exactly this many bytes are frames.
    Sealed(usize),
    /// It is the last one: at least this many bytes are.
    AtLeast(usize),
}

/// A segment as it was read.
pub(super) struct Scan<'a> {
    pub(super) segment: &'a Arc<Segment>,
    pub(super) header: Header,
    pub(super) bytes: &'a [u8],
    pub(super) synced: Synced,
}

impl Replay {
    fn new(home: Lifetime) -> Self {
        Self {
            home,
            ledger: Ledger::default(),
            indexes: HashMap::new(),
            next_frame: 1,
            sequence: Continuity::Exact,
            damage: None,
            lost: 0,
            quarantined: 0,
            ends_known: HashSet::new(),
        }
    }

    /// Replays one segment. Returns where its frames end.
    pub(super) fn scan(&mut self, scan: &Scan<'_>) -> Result<usize, Error> {
        self.next_frame = scan.header.first_frame;
        self.sequence = Continuity::Exact;
        let (bytes, synced_to) = match scan.synced {
            Synced::Sealed(end) => (&scan.bytes[..end.min(scan.bytes.len())], end),
            Synced::AtLeast(end) => (scan.bytes, end),
        };
        let mut at = FRAMES;
        loop {
            let frame = Frame::parse(&bytes[at..], scan.header.salt);
            let frame = frame.filter(|frame| self.follows(frame));
            let sound = frame
                .as_ref()
                .is_some_and(|frame| frame.batches_are == Soundness::Sound);
            if !sound && at >= synced_to && !self.proven_later(bytes, at, scan.header.salt) {
                return Ok(at);
            }
            if let Some(frame) = frame {
                self.apply(&frame, scan.segment, at)?;
                at += frame.len;
                continue;
            }
            let next = self.next_frame_after(bytes, at, scan.header.salt);
            let next = next.map_or(synced_to, |(next, _)| next);
            self.lose(scan.segment, at, (next - at) as u64);
            at = next;
            if at >= bytes.len() {
                return Ok(at);
            }
        }
    }

    /// Notes that `bytes` bytes of frames at `at` cannot be read.
    pub(super) fn lose(&mut self, segment: &Arc<Segment>, at: usize, bytes: u64) {
        self.quarantine(segment, at, bytes);
        self.lost += bytes;
        self.ends_known.clear();
        self.sequence = Continuity::Broken;
    }

    fn quarantine(&mut self, segment: &Arc<Segment>, at: usize, bytes: u64) {
        self.report(segment, at, bytes);
        self.damage = Some(Damage {
            segment: Arc::clone(segment),
            position: at as u64,
        });
    }

    fn report(&mut self, segment: &Segment, position: usize, bytes: u64) {
        self.quarantined += 1;
        metrics::counter!("tidemill_log_quarantined_ranges_total").increment(1);
        tracing::error!(
            file = segment.name,
            position,
            bytes,
            "stored data is damaged; the range is quarantined and the rest is served"
        );
    }

    /// Reads a segment's header, and reports a damaged copy of it.
    fn header(&mut self, segment: &Segment) -> io::Result<Option<Header>> {
        let mut bytes = [0; FRAMES];
        if segment.file.len()? < FRAMES as u64 {
            return Ok(None);
        }
        segment.file.read_at(&mut bytes, 0)?;
        let header = Header::decode(&bytes);
        if let Some((_, Copies::One)) = header {
            self.report(segment, 0, FRAMES as u64);
        }
        Ok(header.map(|(header, _)| header))
    }

    fn follows(&self, frame: &Frame<'_>) -> bool {
        match self.sequence {
            Continuity::Exact => frame.sequence == self.next_frame,
            Continuity::Broken => frame.sequence >= self.next_frame,
        }
    }

    /// The next place after `at` where a frame with a sound manifest stands.
    fn next_frame_after<'a>(
        &self,
        bytes: &'a [u8],
        at: usize,
        salt: Salt,
    ) -> Option<(usize, Frame<'a>)> {
        let end = bytes.len() - trailing_zeros(bytes);
        let mut at = at + 1;
        while at < end {
            at += bytes[at..end]
                .windows(MAGIC.len())
                .position(|window| window == MAGIC)?;
            if let Some(frame) = Frame::parse(&bytes[at..], salt)
                && frame.sequence >= self.next_frame
            {
                return Some((at, frame));
            }
            at += 1;
        }
        None
    }

    /// Whether a frame after `at` says that the bytes at `at` were durable when it was written.
    fn proven_later(&self, bytes: &[u8], at: usize, salt: Salt) -> bool {
        let mut from = at;
        while let Some((next, frame)) = self.next_frame_after(bytes, from, salt) {
            if frame.synced > at as u64 {
                return true;
            }
            from = next;
        }
        false
    }

    fn apply(&mut self, frame: &Frame<'_>, segment: &Arc<Segment>, at: usize) -> Result<(), Error> {
        let changes = wire::take_all(frame.manifest).ok_or_else(|| {
            segment.corrupt(at as u64, "the manifest holds changes of an unknown kind")
        })?;
        self.next_frame = frame.sequence + 1;
        self.sequence = Continuity::Exact;
        if frame.kind == Kind::Snapshot {
            self.ledger = Ledger::default();
            self.lost = 0;
        }
        let batches_len = (frame.len - frame.batches) as u64;
        if frame.batches_are == Soundness::Damaged {
            self.quarantine(segment, at + frame.batches, batches_len);
        }
        let mut batch_at = (at + frame.batches) as u64;
        for change in &changes {
            self.ledger.apply(self.home, change);
            match change {
                Change::Appended(extent) => {
                    self.place(extent, segment, batch_at, frame.batches_are)?;
                    batch_at += u64::from(extent.len);
                }
                Change::Partition { key, end, .. } => {
                    self.partition_ends(*key, *end, segment, at)?
                }
                Change::TopicDeleted(id) => self.indexes.retain(|key, _| key.topic != *id),
                Change::TopicCreated(_)
                | Change::Checkpointed { .. }
                | Change::ConsumerForgotten(_)
                | Change::Positioned { .. }
                | Change::EpochOpened { .. }
                | Change::ProducerIds { .. } => {}
            }
        }
        Ok(())
    }

    fn place(
        &mut self,
        extent: &Extent,
        segment: &Arc<Segment>,
        at: u64,
        soundness: Soundness,
    ) -> Result<(), Error> {
        let here = Damage {
            segment: Arc::clone(segment),
            position: at,
        };
        let index = self.indexes.entry(extent.key).or_default();
        if extent.base < index.bounds().end {
            return Err(segment.corrupt(at, "a batch stands where another one stood before"));
        }
        index.lose(self.damage.as_ref().unwrap_or(&here), extent.base);
        match soundness {
            Soundness::Damaged => index.lose(&here, extent.end()),
            Soundness::Sound => index.push(
                segment,
                Entry::stored(
                    extent.base,
                    extent.offsets,
                    extent.len,
                    at,
                    extent.max_timestamp,
                ),
            ),
        }
        self.ends_known.insert(extent.key);
        Ok(())
    }

    /// A snapshot tells where a partition ends.
    fn partition_ends(
        &mut self,
        key: PartitionKey,
        end: Offset,
        segment: &Arc<Segment>,
        at: usize,
    ) -> Result<(), Error> {
        let Some(damage) = &self.damage else {
            // Records before the oldest segment have passed their retention.
            let index = self
                .indexes
                .entry(key)
                .or_insert_with(|| Index::starting_at(end));
            if index.bounds().end != end {
                return Err(
                    segment.corrupt(at as u64, "the snapshot contradicts the frames before")
                );
            }
            return Ok(());
        };
        self.indexes.entry(key).or_default().lose(damage, end);
        Ok(())
    }

    fn damaged_in(&self, segment: u64) -> Condition {
        match &self.damage {
            Some(damage) if damage.segment.number == segment => Condition::Damaged,
            Some(_) | None => Condition::Sound,
        }
    }

    /// Ends the replay: skips offsets that frames lost since the last snapshot may have used.
    pub(super) fn finish(&mut self) {
        let Some(damage) = self.damage.as_ref().filter(|_| self.lost > 0) else {
            return;
        };
        for (key, index) in &mut self.indexes {
            if !self.ends_known.contains(key) {
                // A record takes at least a byte.
                let end = index.bounds().end.plus(self.lost);
                index.lose(damage, end);
                self.ledger.skip_to(*key, end);
                tracing::error!(
                    topic = %key.topic, partition = %key.partition, %end,
                    "offsets are skipped: damaged frames may have used them"
                );
            }
        }
    }
}

/// Zero bytes at the end: the part of a preallocated segment that was never written.
pub(super) fn trailing_zeros(bytes: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    let blocks = bytes.rchunks(BLOCK);
    let zero = blocks
        .take_while(|block| **block == ZEROS[..block.len()])
        .map(<[u8]>::len)
        .sum::<usize>();
    let rest = &bytes[..bytes.len() - zero];
    zero + rest.iter().rev().take_while(|byte| **byte == 0).count()
}

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
            let before = Arc::clone(&before.segment);
            replay.lose(&before, journal.position as usize, 0);
        }
        let bytes = segment.file.read_all().map_err(io)?;
        let written = bytes.len() - trailing_zeros(&bytes);
        let header = headers[index];
        let synced = match (segments.get(index + 1), headers.get(index + 1)) {
            (Some(next), Some(Some(header))) if next.number == segment.number + 1 => {
                Synced::Sealed(header.previous_end as usize)
            }
            (Some(_), _) => Synced::Sealed(written),
            (None, _) if mark.segment == segment.number => {
                let snapshot = header.map_or(0, |header| header.snapshot_end);
                Synced::AtLeast(mark.position.max(snapshot) as usize)
            }
            (None, _) => Synced::AtLeast(header.map_or(written, |at| at.snapshot_end as usize)),
        };
        let end = if let Some(header) = header {
            let bytes = &bytes;
            replay.scan(&Scan {
                segment,
                header,
                bytes,
                synced,
            })?
        } else {
            replay.lose(segment, 0, written as u64);
            // No frame is shorter than its header: none of the lost ones had a higher number.
            replay.next_frame += written as u64;
            bytes.len()
        };
        journal.position = end as u64;
        journal.segments.push_back(Held {
            segment: Arc::clone(segment),
            salt: header.map_or(Salt(0), |header| header.salt),
            created: header.map_or_else(|| journal.clock.now(), |header| header.created),
            bytes: bytes.len() as u64,
        });
        if index + 1 == segments.len() {
            let damaged = replay.damaged_in(segment.number);
            journal.resume(&bytes, damaged).map_err(io)?;
        }
    }
    journal.next_frame = replay.next_frame;
    replay.finish();
    Ok((journal, replay))
}

/// Whether the last segment can be written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Sound,
    /// The next group begins a new segment, whose snapshot holds what has been recovered.
    Damaged,
}

impl Journal {
    /// Prepares the last segment, read as `bytes`, for writing from `position` on.
    fn resume(&mut self, bytes: &[u8], condition: Condition) -> io::Result<()> {
        let Some(held) = self.segments.back_mut() else {
            return Ok(());
        };
        let file = &held.segment.file;
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
            file.allocate(bytes.len() as u64)
        } else {
            Ok(())
        };
        self.capacity = match (condition, restored) {
            (Condition::Sound, Ok(())) => bytes.len() as u64,
            // Without room the next group begins a new segment, or finds the disk full.
            (Condition::Damaged, _) | (_, Err(_)) => self.position,
        };
        // After a crash of the process alone the frames may still be on their way to the disk.
        file.sync()?;
        self.write_mark();
        Ok(())
    }
}
