//! One frame: what one settlement changes, and its batches. All or nothing by one checksum (L4).
//!
//! ```text
//! 0   magic "TMF1"
//! 4   kind u8, three zero bytes
//! 8   sequence u64      counts frames through the whole journal, without gaps
//! 16  synced u64        bytes of this segment that were durable when this frame was written
//! 24  payload len u32   manifest and batches
//! 28  manifest len u32
//! 32  manifest checksum over bytes 0..32 and the manifest
//! 36  frame checksum    over bytes 0..36 and the payload
//! 40  manifest          the changes, in the order of `wire`
//!     batches           Kafka record batches, one after the other as the manifest names them
//! ```
//!
//! Checksums are CRC32C and begin from the segment's salt, so that a frame left over from another
//! use of the same blocks is not mistaken for one of this segment. The manifest has a checksum of its
//! own so that damage inside a batch does not cost the offsets and checkpoints that go with it.

use crate::ledger::Change;
use crate::{Offset, RecordBatch};

use super::wire;

/// Bytes of a frame's header.
pub(super) const HEADER: usize = 40;
pub(super) const MAGIC: [u8; 4] = *b"TMF1";
const MANIFEST_CHECKED: usize = 32;
const FRAME_CHECKED: usize = 36;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Changes to what the frames before have built.
    Changes,
    /// The whole state of the journal at this place; stands first in each segment.
    Snapshot,
}

/// What a segment's frames are salted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Salt(pub(super) u64);

/// A frame whose manifest is sound.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    pub(super) sequence: u64,
    pub(super) synced: u64,
    /// Bytes of the whole frame.
    pub(super) len: usize,
    /// Where the batches begin, from the frame's first byte.
    pub(super) batches: usize,
    pub(super) manifest: &'a [u8],
    pub(super) batches_are: Soundness,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Soundness {
    Sound,
    Damaged,
}

/// What goes into a frame beside its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) kind: Kind,
    pub(super) sequence: u64,
    pub(super) synced: u64,
    pub(super) salt: Salt,
}

/// Writes a frame to the end of `out`. Returns where each batch begins, from the start of `out`.
pub(super) fn put<'a>(
    out: &mut Vec<u8>,
    stamp: Stamp,
    changes: &[Change],
    batches: impl Iterator<Item = (Offset, &'a RecordBatch)>,
) -> Vec<usize> {
    let start = out.len();
    out.resize(start + HEADER, 0);
    for change in changes {
        wire::put(out, change);
    }
    let manifest = out.len() - start - HEADER;
    let mut places = Vec::new();
    for (base, batch) in batches {
        let at = out.len();
        places.push(at);
        out.extend_from_slice(batch.as_bytes());
        RecordBatch::write_place(&mut out[at..], base);
    }
    let frame = &mut out[start..];
    let payload = frame.len() - HEADER;
    frame[..4].copy_from_slice(&MAGIC);
    frame[4] = match stamp.kind {
        Kind::Changes => 1,
        Kind::Snapshot => 2,
    };
    frame[8..16].copy_from_slice(&stamp.sequence.to_be_bytes());
    frame[16..24].copy_from_slice(&stamp.synced.to_be_bytes());
    frame[24..28].copy_from_slice(&length(payload));
    frame[28..32].copy_from_slice(&length(manifest));
    let checksum = stamp.salt.checksum(
        &frame[..MANIFEST_CHECKED],
        &frame[HEADER..HEADER + manifest],
    );
    frame[32..36].copy_from_slice(&checksum.to_be_bytes());
    let checksum = stamp
        .salt
        .checksum(&frame[..FRAME_CHECKED], &frame[HEADER..]);
    frame[36..40].copy_from_slice(&checksum.to_be_bytes());
    places
}

impl<'a> Frame<'a> {
    /// The frame that begins at the front of `bytes`, when there is one with a sound manifest.
    pub(super) fn parse(bytes: &'a [u8], salt: Salt) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        let kind = match (&header[..4] == MAGIC.as_slice()).then_some(header[4])? {
            1 => Kind::Changes,
            2 => Kind::Snapshot,
            _ => return None,
        };
        let payload = bytes.get(HEADER..HEADER.checked_add(u32_at(header, 24))?)?;
        let manifest = payload.get(..u32_at(header, 28))?;
        let checksum = salt.checksum(&header[..MANIFEST_CHECKED], manifest);
        if checksum.to_be_bytes() != header[32..36] {
            return None;
        }
        let checksum = salt.checksum(&header[..FRAME_CHECKED], payload);
        Some(Self {
            kind,
            sequence: u64_at(header, 8),
            synced: u64_at(header, 16),
            len: HEADER + payload.len(),
            batches: HEADER + manifest.len(),
            manifest,
            batches_are: if checksum.to_be_bytes() == header[36..40] {
                Soundness::Sound
            } else {
                Soundness::Damaged
            },
        })
    }
}

impl Salt {
    fn checksum(self, header: &[u8], rest: &[u8]) -> u32 {
        let seed = crc32c::crc32c(&self.0.to_be_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(seed, header), rest)
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len)
        .expect("a frame is held far below 4 GiB")
        .to_be_bytes()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    let number = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    usize::try_from(number).expect("a machine of 32 bits or more")
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
