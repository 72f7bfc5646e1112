//! What a sealed segment holds, in a file beside it, so that a start need not read the segment.
//!
//! ```text
//! 0   magic "TMIDX001"
//! 8   number u64         the segment's
//! 16  salt u64           the segment's
//! 24  end u64            where the segment's frames end
//! 32  partitions u32
//! 36  checksum u32       CRC32C over bytes 0..36 and the directory
//! 40  directory          for each partition: topic, partition u32, base u64, end u64,
//!                        max_timestamp i64, bytes u64, position u64, entries u32, checksum u32
//!     entries            base u64, offsets u32, len u32, position u64, latest i64
//! ```
//!
//! A cache: written without a sync when its segment is sealed, named by the segment's salt, and made
//! anew from the segment when it is missing or does not match. A segment with damage has none; it is
//! read through at every start, so that every start tells of the damage.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut};
use clock::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use super::frame::Salt;
use super::index::{Entry, Summary};
use super::storage::{Storage, StoredFile};
use crate::ledger::PartitionKey;
use crate::{Offset, Partition};

const MAGIC: &[u8; 8] = b"TMIDX001";
const HEAD: usize = 40;
const CHECKED: usize = 36;
const LINE: usize = 68;
const ENTRY: usize = 32;
/// Bytes of entries that are held in memory for readers of old records.
const CACHED: usize = 32 << 20;

/// What one catalog is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) number: u64,
    pub(super) salt: Salt,
    pub(super) end: u64,
}

/// The entries of one partition in one catalog.
#[derive(Clone, Debug)]
pub(super) struct Section {
    catalog: Arc<Catalog>,
    key: PartitionKey,
    position: u64,
    entries: u32,
    checksum: u32,
}

/// An open catalog.
#[derive(Debug)]
struct Catalog {
    identity: Identity,
    file: Arc<dyn StoredFile>,
    cache: Arc<Cache>,
}

/// Entries that readers have asked for, the least used of them let go first.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    /// By the segment's salt and the partition.
    sections: HashMap<(u64, PartitionKey), Held>,
    bytes: usize,
    uses: u64,
}

/// Entries, and when they were last asked for.
#[derive(Debug)]
struct Held {
    used: u64,
    entries: Arc<[Entry]>,
}

/// The partitions of a segment with their entries.
pub(super) type Contents = BTreeMap<PartitionKey, (Summary, Arc<[Entry]>)>;

/// The partitions of a segment with the places of their entries.
pub(super) type Sections = Vec<(PartitionKey, Summary, Section)>;

impl Salt {
    fn checksum_of(self, head: &[u8], rest: &[u8]) -> u32 {
        let seed = crc32c::crc32c(&self.0.to_be_bytes());
        crc32c::crc32c_append(crc32c::crc32c_append(seed, head), rest)
    }
}

/// Writes the catalog of a sealed segment. Its entries come from the file, or the cache, from now on.
pub(super) fn write(
    storage: &dyn Storage,
    path: &Path,
    identity: Identity,
    contents: &Contents,
    cache: &Arc<Cache>,
) -> io::Result<Sections> {
    let mut position = HEAD + contents.len() * LINE;
    let mut bytes = vec![0; HEAD];
    let mut lines = Vec::new();
    for (key, (summary, entries)) in contents {
        let mut section = Vec::with_capacity(entries.len() * ENTRY);
        entries.iter().for_each(|entry| put(&mut section, entry));
        let checksum = identity.salt.checksum_of(&[], &section);
        let count = u32::try_from(entries.len()).map_err(io::Error::other)?;
        bytes.put_slice(key.topic.as_bytes());
        bytes.put_u32(key.partition.index());
        bytes.put_u64(summary.base.get());
        bytes.put_u64(summary.end.get());
        bytes.put_i64(summary.max_timestamp.as_millis());
        bytes.put_u64(summary.bytes);
        bytes.put_u64(position as u64);
        bytes.put_u32(count);
        bytes.put_u32(checksum);
        lines.push((*key, *summary, position as u64, count, checksum));
        position += section.len();
    }
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&identity.number.to_be_bytes());
    bytes[16..24].copy_from_slice(&identity.salt.0.to_be_bytes());
    bytes[24..32].copy_from_slice(&identity.end.to_be_bytes());
    let count = u32::try_from(lines.len()).map_err(io::Error::other)?;
    bytes[32..36].copy_from_slice(&count.to_be_bytes());
    let checksum = identity.salt.checksum_of(&bytes[..CHECKED], &bytes[HEAD..]);
    bytes[CHECKED..HEAD].copy_from_slice(&checksum.to_be_bytes());
    for (_, entries) in contents.values() {
        entries.iter().for_each(|entry| put(&mut bytes, entry));
    }
    let file = storage.open(path)?;
    file.write_at(&bytes, 0)?;
    let catalog = Arc::new(Catalog {
        identity,
        file,
        cache: Arc::clone(cache),
    });
    let sections = lines.into_iter().zip(contents.values());
    Ok(sections
        .map(|((key, summary, position, entries, checksum), (_, held))| {
            let section = Section {
                catalog: Arc::clone(&catalog),
                key,
                position,
                entries,
                checksum,
            };
            cache.put((identity.salt.0, key), held);
            (key, summary, section)
        })
        .collect())
}

/// Reads the directory of a catalog; `None` when it is not the one of that segment, or is damaged.
pub(super) fn open(
    file: Arc<dyn StoredFile>,
    identity: Identity,
    cache: &Arc<Cache>,
) -> io::Result<Option<Sections>> {
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    if len < HEAD {
        return Ok(None);
    }
    let mut head = [0; HEAD];
    file.read_at(&mut head, 0)?;
    let number = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let found = (number(8), Salt(number(16)), number(24));
    let expected = (identity.number, identity.salt, identity.end);
    let partitions = u32::from_be_bytes(head[32..36].try_into().expect("four bytes")) as usize;
    let directory = partitions.saturating_mul(LINE);
    if head[..8] != *MAGIC || found != expected || directory > len - HEAD {
        return Ok(None);
    }
    let mut lines = vec![0; directory];
    file.read_at(&mut lines, HEAD as u64)?;
    let checksum = identity.salt.checksum_of(&head[..CHECKED], &lines);
    if head[CHECKED..] != checksum.to_be_bytes() {
        return Ok(None);
    }
    let catalog = Arc::new(Catalog {
        identity,
        file,
        cache: Arc::clone(cache),
    });
    let sections = lines.chunks_exact(LINE).map(|mut line| {
        let mut topic = [0; 16];
        line.copy_to_slice(&mut topic);
        let key = PartitionKey {
            topic: Uuid::from_bytes(topic),
            partition: Partition::new(line.get_u32()),
        };
        let summary = Summary {
            base: Offset::new(line.get_u64()),
            end: Offset::new(line.get_u64()),
            max_timestamp: Timestamp::from_millis(line.get_i64()),
            bytes: line.get_u64(),
        };
        let section = Section {
            catalog: Arc::clone(&catalog),
            key,
            position: line.get_u64(),
            entries: line.get_u32(),
            checksum: line.get_u32(),
        };
        (key, summary, section)
    });
    Ok(Some(sections.collect()))
}

fn put(out: &mut Vec<u8>, entry: &Entry) {
    out.put_u64(entry.base.get());
    out.put_u32(entry.offsets);
    out.put_u32(entry.len);
    out.put_u64(entry.position);
    out.put_i64(entry.latest.as_millis());
}

fn take(mut bytes: &[u8]) -> Entry {
    Entry {
        base: Offset::new(bytes.get_u64()),
        offsets: bytes.get_u32(),
        len: bytes.get_u32(),
        position: bytes.get_u64(),
        latest: Timestamp::from_millis(bytes.get_i64()),
    }
}

impl Section {
    pub(super) fn key(&self) -> PartitionKey {
        self.key
    }

    /// Where the frames of the segment end.
    pub(super) fn identity(&self) -> Identity {
        self.catalog.identity
    }

    /// The entries, when somebody has asked for them not long ago.
    pub(super) fn cached(&self) -> Option<Arc<[Entry]>> {
        let place = (self.catalog.identity.salt.0, self.key);
        self.catalog.cache.get(place)
    }

    /// The entries from the file; `None` when it has been damaged since it was opened.
    pub(super) fn load(&self) -> io::Result<Option<Arc<[Entry]>>> {
        let mut bytes = vec![0; self.entries as usize * ENTRY];
        match self.catalog.file.read_at(&mut bytes, self.position) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        if self.catalog.identity.salt.checksum_of(&[], &bytes) != self.checksum {
            return Ok(None);
        }
        let entries: Arc<[Entry]> = bytes.chunks_exact(ENTRY).map(take).collect();
        self.remember(&entries);
        Ok(Some(entries))
    }

    /// Puts entries in the cache that were found another way.
    pub(super) fn remember(&self, entries: &Arc<[Entry]>) {
        let place = (self.catalog.identity.salt.0, self.key);
        self.catalog.cache.put(place, entries);
    }
}

impl Cache {
    fn get(&self, place: (u64, PartitionKey)) -> Option<Arc<[Entry]>> {
        let mut cached = self.0.lock();
        cached.uses += 1;
        let now = cached.uses;
        let held = cached.sections.get_mut(&place)?;
        held.used = now;
        Some(Arc::clone(&held.entries))
    }

    fn put(&self, place: (u64, PartitionKey), entries: &Arc<[Entry]>) {
        let mut cached = self.0.lock();
        cached.uses += 1;
        let held = Held {
            used: cached.uses,
            entries: Arc::clone(entries),
        };
        cached.bytes += size_of_val::<[Entry]>(entries);
        if let Some(old) = cached.sections.insert(place, held) {
            cached.bytes -= size_of_val::<[Entry]>(&old.entries);
        }
        while cached.bytes > CACHED && cached.sections.len() > 1 {
            let sections = cached.sections.iter();
            let least = sections.min_by_key(|(_, held)| held.used);
            let Some(least) = least.map(|(place, _)| *place) else {
                break;
            };
            if let Some(old) = cached.sections.remove(&least) {
                cached.bytes -= size_of_val::<[Entry]>(&old.entries);
            }
        }
    }
}
