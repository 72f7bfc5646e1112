//! One file of a journal: a header, then frames, the first of them a snapshot.
//!
//! The header stands twice in the first two sectors; either copy is enough. A segment is written
//! under a temporary name and renamed once header and snapshot are durable, so that a file with a
//! segment's name has always been whole.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use clock::Timestamp;
use uuid::Uuid;

use super::frame::Salt;
use super::storage::{Storage, StoredFile};
use crate::Error;

/// Where the first frame begins.
pub(super) const FRAMES: usize = 2 * COPY;
/// One copy of the header: a sector.
const COPY: usize = 512;
const CHECKED: usize = COPY - 4;
/// The last digits are the version of the format. Fields may follow: they read as zero in segments
/// that were written before.
const MAGIC: &[u8; 8] = b"TMSEG001";
const SUFFIX: &str = ".seg";
const CATALOG: &str = ".idx";
const SPARE: &str = ".spare";
const UNFINISHED: &str = ".new";

/// An open segment. Readers share it; its file outlives its removal from the folder.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Its path relative to the log's folder, for messages.
    pub(super) name: String,
    pub(super) file: Arc<dyn StoredFile>,
}

/// A segment and its catalog, if there is a file of that name.
pub(super) type OpenSegment = (Arc<Segment>, Option<Arc<dyn StoredFile>>);

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) salt: Salt,
    pub(super) created: Timestamp,
    /// Where the frames of the segment before this one end.
    pub(super) previous_end: u64,
    /// The sequence number of the first frame.
    pub(super) first_frame: u64,
    /// Where the snapshot ends: everything before was durable from the start.
    pub(super) snapshot_end: u64,
    /// Where the frames end, in a segment that was rewritten; zero in one as it was first written.
    pub(super) sealed_end: u64,
    /// The last of the segments that a rewritten one stands for; zero in one as it was first written.
    pub(super) through: u64,
    /// Bytes of the file that an earlier use of it has written: what stands behind the frames, up to
    /// there, means nothing.
    pub(super) used: u64,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; FRAMES] {
        let mut copy = [0; COPY];
        copy[..8].copy_from_slice(MAGIC);
        let numbers = [
            self.number,
            self.salt.0,
            self.created.as_millis().cast_unsigned(),
            self.previous_end,
            self.first_frame,
            self.snapshot_end,
            self.sealed_end,
            self.through,
            self.used,
        ];
        for (slot, number) in copy[8..].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        let checksum = crc32c::crc32c(&copy[..CHECKED]);
        copy[CHECKED..].copy_from_slice(&checksum.to_be_bytes());
        let mut both = [0; FRAMES];
        both[..COPY].copy_from_slice(&copy);
        both[COPY..].copy_from_slice(&copy);
        both
    }

    /// Reads the copies at the front of `bytes`, the first sound one with how many are.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, Copies)> {
        let copies = bytes.get(..FRAMES)?.chunks_exact(COPY);
        let sound: Vec<Self> = copies.filter_map(Self::decode_copy).collect();
        let copies = if sound.len() * COPY == FRAMES {
            Copies::Both
        } else {
            Copies::One
        };
        Some((*sound.first()?, copies))
    }

    fn decode_copy(copy: &[u8]) -> Option<Self> {
        let checksum = crc32c::crc32c(&copy[..CHECKED]);
        if copy[..8] != *MAGIC || copy[CHECKED..] != checksum.to_be_bytes() {
            return None;
        }
        let number = |index: usize| {
            let at = 8 + index * 8;
            u64::from_be_bytes(copy[at..at + 8].try_into().expect("eight bytes"))
        };
        Some(Self {
            number: number(0),
            salt: Salt(number(1)),
            created: Timestamp::from_millis(number(2).cast_signed()),
            previous_end: number(3),
            first_frame: number(4),
            snapshot_end: number(5),
            sealed_end: number(6),
            through: number(7),
            used: number(8),
        })
    }
}

impl Header {
    /// Whether the segment is as it was first written.
    pub(super) fn written(&self) -> Written {
        if self.sealed_end > 0 {
            Written::Again
        } else {
            Written::Once
        }
    }

    /// The last number that the segment stands for.
    pub(super) fn through(&self) -> u64 {
        self.through.max(self.number)
    }
}

/// Whether a segment is as it was first written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Once,
    /// Without what was no longer needed: its entries leave holes.
    Again,
}

/// How many copies of a header are sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    One,
    Both,
}

impl Salt {
    pub(super) fn random() -> Self {
        Self(Uuid::new_v4().as_u64_pair().1)
    }
}

impl Segment {
    pub(super) fn file_name(number: u64) -> String {
        format!("{number:020}{SUFFIX}")
    }

    pub(super) fn unfinished_name(number: u64) -> String {
        format!("{number:020}{SUFFIX}{UNFINISHED}")
    }

    pub(super) fn catalog_name(number: u64) -> String {
        format!("{number:020}{CATALOG}")
    }

    pub(super) fn spare_name(number: u64) -> String {
        format!("{number:020}{SPARE}")
    }

    pub(super) fn corrupt(&self, position: u64, reason: impl Into<String>) -> Error {
        Error::Corrupt {
            file: self.name.clone(),
            position,
            reason: reason.into(),
        }
    }
}

/// Whether a file of that name is the catalog of a segment.
pub(super) fn is_catalog(file_name: &str) -> bool {
    file_name.ends_with(CATALOG)
}

/// Opens the segments in `dir` in order, with their catalogs, and removes what was left half done.
pub(super) fn open_all(
    storage: &dyn Storage,
    dir: &Path,
    journal: &str,
) -> std::io::Result<Vec<OpenSegment>> {
    let mut segments: Vec<Arc<Segment>> = Vec::new();
    let mut catalogs = BTreeMap::new();
    for file_name in storage.list(dir)? {
        if file_name.ends_with(UNFINISHED) || file_name.ends_with(SPARE) {
            storage.remove(&dir.join(file_name))?;
            continue;
        }
        if let Some(number) = file_name.strip_suffix(CATALOG)
            && let Ok(number) = number.parse::<u64>()
        {
            catalogs.insert(number, dir.join(file_name));
            continue;
        }
        let number = file_name.strip_suffix(SUFFIX).map(str::parse);
        let Some(Ok(number)) = number else {
            continue;
        };
        segments.push(Arc::new(Segment {
            number,
            name: format!("{journal}/{file_name}"),
            file: storage.open(&dir.join(&file_name))?,
        }));
    }
    segments.sort_by_key(|segment| segment.number);
    let mut opened = Vec::with_capacity(segments.len());
    for segment in segments {
        let catalog = catalogs.remove(&segment.number);
        let catalog = catalog.map(|path| storage.open(&path)).transpose()?;
        opened.push((segment, catalog));
    }
    for orphan in catalogs.values() {
        storage.remove(orphan)?;
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_in_a_header_goes_unnoticed_or_costs_the_segment() {
        let header = Header {
            number: 3,
            salt: Salt(0xfeed),
            created: Timestamp::from_millis(1_795_000_000_000),
            previous_end: 70_000,
            first_frame: 12,
            snapshot_end: 2_000,
            sealed_end: 60_000,
            through: 5,
            used: 80_000,
        };
        let sound = header.encode();
        assert_eq!(Header::decode(&sound), Some((header, Copies::Both)));
        for bit in 0..FRAMES * 8 {
            let mut flipped = sound;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Some((header, Copies::One)));
        }
    }
}
