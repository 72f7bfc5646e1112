//! The frames of one journal, applied in order, and what is given up where they are damaged.
//!
//! Damage to a frame's batches costs those batches. Damage to its manifest also costs whatever it
//! changed; ends of partitions are known again from the next frame on the partition or the next
//! snapshot. When neither follows, offsets are skipped that the lost frames may have used, so that
//! none is ever used twice.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use super::catalog::Sections;
use super::frame::{Frame, Kind, MAGIC, Salt, Soundness};
use super::index::{Batches, Damage, Entry, Index, Run};
use super::segment::{Copies, FRAMES, Header, Segment, Written};
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
    /// How the segment being read was written.
    segment_is: Written,
    /// The same ranges, for whoever looks into the folder.
    pub(super) findings: Vec<Finding>,
    /// Segments with damage in them.
    damaged: HashSet<u64>,
    /// Partitions whose ends are known since the latest damage.
    ends_known: HashSet<PartitionKey>,
}

/// A range of bytes that is not as it was written.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) file: String,
    pub(super) position: u64,
    pub(super) bytes: u64,
    pub(super) reason: &'static str,
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
    pub(super) fn new(home: Lifetime) -> Self {
        Self {
            home,
            ledger: Ledger::default(),
            indexes: HashMap::new(),
            next_frame: 1,
            sequence: Continuity::Exact,
            damage: None,
            lost: 0,
            quarantined: 0,
            segment_is: Written::Once,
            findings: Vec::new(),
            damaged: HashSet::new(),
            ends_known: HashSet::new(),
        }
    }

    /// Replays one segment. Returns where its frames end.
    pub(super) fn scan(&mut self, scan: &Scan<'_>) -> Result<usize, Error> {
        self.next_frame = scan.header.first_frame;
        self.sequence = Continuity::Exact;
        self.segment_is = scan.header.written();
        let (bytes, synced_to) = match scan.synced {
            Synced::Sealed(end) => (&scan.bytes[..end.min(scan.bytes.len())], end),
            Synced::AtLeast(end) => (scan.bytes, end),
        };
        let mut at = FRAMES;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let frame = Frame::parse(rest, scan.header.salt);
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

    /// Takes what a sealed segment holds from its catalog. The ledger does not move: a later snapshot
    /// holds what this segment changed.
    pub(super) fn take(&mut self, segment: &Arc<Segment>, sections: Sections) -> Result<(), Error> {
        let here = Damage {
            segment: Arc::clone(segment),
            position: FRAMES as u64,
        };
        for (key, summary, section) in sections {
            let damage = self.damage.as_ref().unwrap_or(&here).clone();
            let index = self.index_from(key, summary.base);
            if summary.base < index.bounds().end {
                return Err(segment.corrupt(0, "its catalog contradicts the segments before"));
            }
            index.lose(&damage, summary.base);
            index.push_run(Run {
                segment: Arc::clone(segment),
                summary,
                batches: Batches::Stored(section),
            });
        }
        Ok(())
    }

    /// The index of a partition. What lies before its first known offset has passed its retention,
    /// unless there has been damage.
    fn index_from(&mut self, key: PartitionKey, first: Offset) -> &mut Index {
        let sound = self.damage.is_none();
        let index = self.indexes.entry(key).or_insert_with(|| {
            if sound {
                Index::starting_at(first)
            } else {
                Index::default()
            }
        });
        if sound {
            index.skip_empty(first);
        }
        index
    }

    /// Notes that `bytes` bytes of frames at `at` cannot be read.
    pub(super) fn lose(&mut self, segment: &Arc<Segment>, at: usize, bytes: u64) {
        let reason = "no sound frame stands there, and one did";
        self.quarantine(segment, at, bytes, reason);
        self.lost += bytes;
        self.ends_known.clear();
        self.sequence = Continuity::Broken;
    }

    fn quarantine(&mut self, segment: &Arc<Segment>, at: usize, bytes: u64, reason: &'static str) {
        self.report(segment, at, bytes, reason);
        self.damaged.insert(segment.number);
        self.damage = Some(Damage {
            segment: Arc::clone(segment),
            position: at as u64,
        });
    }

    fn report(&mut self, segment: &Segment, position: usize, bytes: u64, reason: &'static str) {
        self.quarantined += 1;
        self.findings.push(Finding {
            file: segment.name.clone(),
            position: position as u64,
            bytes,
            reason,
        });
        metrics::counter!("tidemill_log_quarantined_ranges_total").increment(1);
        tracing::error!(
            file = segment.name,
            position,
            bytes,
            "stored data is damaged; the range is quarantined and the rest is served"
        );
    }

    /// Reads a segment's header, and reports a damaged copy of it.
    pub(super) fn header(&mut self, segment: &Segment) -> io::Result<Option<Header>> {
        let mut bytes = [0; FRAMES];
        if segment.file.len()? < FRAMES as u64 {
            return Ok(None);
        }
        segment.file.read_at(&mut bytes, 0)?;
        let header = Header::decode(&bytes);
        if let Some((_, Copies::One)) = header {
            let reason = "one copy of the header is damaged; the other serves";
            self.report(segment, 0, FRAMES as u64, reason);
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
            let reason = "batches fail the checksum of their frame";
            self.quarantine(segment, at + frame.batches, batches_len, reason);
        }
        let mut batch_at = (at + frame.batches) as u64;
        for change in &changes {
            self.ledger.apply(self.home, change);
            match change {
                Change::Appended(extent) => {
                    self.place(extent, segment, batch_at, frame.batches_are)?;
                    batch_at += u64::from(extent.len);
                }
                Change::Cleaned { key, base, end } => {
                    self.begin_run(*key, *base, *end, segment, at)?;
                }
                Change::Partition { key, end, .. } => {
                    self.partition_ends(*key, *end, segment, at)?
                }
                Change::TopicDeleted(id) => self.indexes.retain(|key, _| key.topic != *id),
                Change::TopicCreated(_)
                | Change::Checkpointed { .. }
                | Change::ConsumerForgotten(_)
                | Change::CheckpointForgotten { .. }
                | Change::Positioned { .. }
                | Change::EpochOpened { .. }
                | Change::ProducerIds { .. }
                | Change::Enrolled(_)
                | Change::TransactionJoined { .. }
                | Change::Staged { .. }
                | Change::TransactionEnded { .. }
                | Change::ProducerForgotten(_)
                | Change::Decisions { .. }
                | Change::TopicConfigured { .. }
                | Change::PartitionsAdded { .. }
                | Change::RecordsDeleted { .. } => {}
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
        let entry = Entry::stored(
            extent.base,
            extent.offsets,
            extent.len,
            at,
            extent.max_timestamp,
        );
        if self.segment_is == Written::Again {
            let index = self.indexes.entry(extent.key).or_default();
            let entry = match soundness {
                Soundness::Sound => entry,
                Soundness::Damaged => entry.damaged(),
            };
            if !index.fill(segment, entry) {
                return Err(segment.corrupt(at, "a batch stands outside its offsets"));
            }
            return Ok(());
        }
        let damage = self.damage.clone();
        let index = self.index_from(extent.key, extent.base);
        if extent.base < index.bounds().end {
            return Err(segment.corrupt(at, "a batch stands where another one stood before"));
        }
        index.lose(damage.as_ref().unwrap_or(&here), extent.base);
        match soundness {
            Soundness::Damaged => index.lose(&here, extent.end()),
            Soundness::Sound => index.push(segment, entry),
        }
        self.ends_known.insert(extent.key);
        Ok(())
    }

    /// A rewritten segment tells which offsets it stands for.
    fn begin_run(
        &mut self,
        key: PartitionKey,
        base: Offset,
        end: Offset,
        segment: &Arc<Segment>,
        at: usize,
    ) -> Result<(), Error> {
        let here = Damage {
            segment: Arc::clone(segment),
            position: at as u64,
        };
        let damage = self.damage.clone();
        let index = self.index_from(key, base);
        if base < index.bounds().end || end < base {
            let reason = "the segment stands for offsets that stand before it";
            return Err(segment.corrupt(at as u64, reason));
        }
        index.lose(damage.as_ref().unwrap_or(&here), base);
        index.begin_run(segment, base, end);
        self.ends_known.insert(key);
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
        let end_before = self.index_from(key, end).bounds().end;
        if end < end_before {
            return Err(segment.corrupt(at as u64, "the snapshot contradicts the frames before"));
        }
        if end > end_before {
            if self.damage.is_none() {
                // An earlier start has skipped offsets that were lost.
                let reason = "an earlier start has skipped offsets for damage before this";
                self.quarantine(segment, at, 0, reason);
            }
            if let (Some(index), Some(damage)) = (self.indexes.get_mut(&key), &self.damage) {
                index.lose(damage, end);
            }
        }
        Ok(())
    }

    /// Whether any damage was found in a segment.
    pub(super) fn is_damaged(&self, segment: u64) -> bool {
        self.damaged.contains(&segment)
    }

    /// Whether the segment can be written on.
    pub(super) fn damaged_in(&self, segment: u64) -> Condition {
        match &self.damage {
            Some(damage) if damage.segment.number == segment => Condition::Damaged,
            Some(_) | None => Condition::Sound,
        }
    }

    /// Ends the replay: skips offsets that frames lost since the last snapshot may have used, and
    /// forgets deleted records.
    pub(super) fn finish(&mut self) {
        self.skip_lost();
        for (key, index) in &mut self.indexes {
            index.drop_before(self.ledger.start(*key));
        }
    }

    fn skip_lost(&mut self) {
        let Some(damage) = self.damage.as_ref().filter(|_| self.lost > 0) else {
            return;
        };
        // A topic whose every append was lost has no index yet, and must not begin at zero again.
        for key in self.ledger.partitions_of(self.home) {
            if !self.ends_known.contains(&key) {
                let index = self.indexes.entry(key).or_default();
                // A record takes at least a byte.
                let end = index.bounds().end.plus(self.lost);
                index.lose(damage, end);
                self.ledger.skip_to(key, end);
                tracing::error!(
                    topic = %key.topic, partition = %key.partition, %end,
                    "offsets are skipped: damaged frames may have used them"
                );
            }
        }
    }
}

/// Whether the last segment can be written on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Sound,
    /// The next group begins a new segment, whose snapshot holds what has been recovered.
    Damaged,
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
