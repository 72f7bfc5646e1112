//! The synced-up-to mark: how far the journal is known to be durable.
//!
//! Written after each sync and before anybody is told, without a sync of its own: whatever value is
//! found later was true, and after a mere crash of the process it is the latest one. Below the mark
//! damage is damage; only above it may a broken frame be a torn tail.
//!
//! Two slots are written in turn, so that a torn write leaves the value before.

use std::io;
use std::sync::Arc;

use super::storage::StoredFile;

/// One slot: a sector.
const SLOT: usize = 512;
const MAGIC: &[u8; 8] = b"TMSYNC01";
const CHECKED: usize = 32;

/// A place in a journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// The segment's number.
    pub(super) segment: u64,
    /// Bytes of it that are durable.
    pub(super) position: u64,
}

/// The file that holds the mark.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: Arc<dyn StoredFile>,
    writes: u64,
}

impl MarkFile {
    /// Reads the latest mark; the default one when the file is new or broken.
    pub(super) fn open(file: Arc<dyn StoredFile>) -> io::Result<(Self, Mark)> {
        let bytes = file.read_all()?;
        let latest = bytes.chunks_exact(SLOT).filter_map(decode).max();
        let (writes, mark) = latest.unwrap_or_default();
        Ok((Self { file, writes }, mark))
    }

    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        self.writes += 1;
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..16].copy_from_slice(&self.writes.to_be_bytes());
        slot[16..24].copy_from_slice(&mark.segment.to_be_bytes());
        slot[24..32].copy_from_slice(&mark.position.to_be_bytes());
        let checksum = crc32c::crc32c(&slot[..CHECKED]);
        slot[32..36].copy_from_slice(&checksum.to_be_bytes());
        let at = (self.writes % 2) * SLOT as u64;
        self.file.write_at(&slot, at)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn decode(slot: &[u8]) -> Option<(u64, Mark)> {
    let checksum = crc32c::crc32c(&slot[..CHECKED]);
    if slot[..8] != *MAGIC || slot[32..36] != checksum.to_be_bytes() {
        return None;
    }
    let number = |at: usize| u64::from_be_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
    let mark = Mark {
        segment: number(16),
        position: number(24),
    };
    Some((number(8), mark))
}
