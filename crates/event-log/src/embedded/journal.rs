//! The writing end of one journal: the active segment, and the change to a new one.
//!
//! Space is set aside before anything is accepted, so a full disk shows here, before a group is
//! written. A failed sync, or any other error of a write, leaves the file in a state nobody knows:
//! the process ends and recovery finds out (retrying a failed fsync loses data silently).

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clock::{SharedClock, Timestamp};

use super::catalog::{Cache, Identity};
use super::frame::{self, Kind, Salt, Stamp};
use super::mark::{Mark, MarkFile};
use super::segment::{self, FRAMES, Header, OpenSegment, Segment, Written};
use super::storage::{Storage, StoredFile, is_full};
use crate::ledger::Change;
use crate::{Error, Lifetime};

/// Small groups write zeros ahead of themselves up to the next multiple of this. The first write to
/// a block that was only set aside costs the file system a transaction of its own, many times the
/// price of the sync; so a stretch of blocks pays once, with a group, and the groups after it do not.
const WRITE_AHEAD: u64 = 256 << 10;
/// Groups from this size on pay for themselves.
const SMALL_GROUP: u64 = WRITE_AHEAD / 8;

/// Files of dropped segments that are kept beside the journal: one to write on while another is still
/// being dropped.
const SPARES: usize = 2;

/// There is no room on the disk; nothing was written.
#[derive(Debug)]
pub(super) struct Full(pub(super) io::Error);

/// One journal's files, as the committer writes them.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) lifetime: Lifetime,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) dir: PathBuf,
    pub(super) segment_bytes: u64,
    pub(super) clock: SharedClock,
    /// Oldest first; the last one is active.
    pub(super) segments: VecDeque<Held>,
    /// Where the next frame goes in the active segment.
    pub(super) position: u64,
    /// Bytes set aside for the active segment.
    pub(super) capacity: u64,
    /// Bytes of the active segment whose blocks have been written before.
    pub(super) written: u64,
    pub(super) next_frame: u64,
    pub(super) mark: MarkFile,
    /// Files of dropped segments, to be written again.
    pub(super) spares: Vec<Spare>,
    /// What readers have asked for in the catalogs of sealed segments.
    pub(super) cache: Arc<Cache>,
}

/// The file of a dropped segment. Its blocks have been written before, which makes writing them again
/// half as dear. Frames of its earlier uses are told by their sequence numbers, all below those of the
/// segment that the file becomes, and by its salt.
#[derive(Debug)]
pub(super) struct Spare {
    path: PathBuf,
    file: Arc<dyn StoredFile>,
    len: u64,
}

/// A segment and what retention wants to know of it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) segment: Arc<Segment>,
    pub(super) salt: Salt,
    pub(super) created: Timestamp,
    pub(super) bytes: u64,
    /// The last of the segments that it stands for: its own number unless it has been rewritten.
    pub(super) through: u64,
    pub(super) written: Written,
}

impl Journal {
    pub(super) fn name(lifetime: Lifetime) -> &'static str {
        match lifetime {
            Lifetime::Events => "events",
            Lifetime::LongLived => "long-lived",
        }
    }

    /// The active segment, when it has room for `bytes`.
    pub(super) fn with_room(&self, bytes: u64) -> Option<&Held> {
        let active = self.segments.back()?;
        (self.position.checked_add(bytes)? <= self.capacity).then_some(active)
    }

    /// Seals the active segment, if there is one, and begins a new one with `snapshot` and room for
    /// `bytes`. Returns which segment was sealed.
    pub(super) fn roll(
        &mut self,
        snapshot: &[Change],
        bytes: u64,
    ) -> Result<Option<Identity>, Full> {
        let number = self.segments.back().map_or(1, |held| held.through + 1);
        let mut header = Header {
            number,
            salt: Salt::random(),
            created: self.clock.now(),
            previous_end: self.position,
            first_frame: self.next_frame,
            snapshot_end: 0,
            sealed_end: 0,
            through: 0,
            used: 0,
        };
        let stamp = Stamp {
            kind: Kind::Snapshot,
            sequence: self.next_frame,
            synced: 0,
            salt: header.salt,
        };
        let mut content = vec![0; FRAMES];
        frame::put(&mut content, stamp, snapshot, std::iter::empty());
        header.snapshot_end = content.len() as u64;
        let capacity = self.segment_bytes.max(header.snapshot_end + bytes);
        let spare = self.spares.pop();
        header.used = spare.as_ref().map_or(0, |spare| spare.len.min(capacity));
        content[..FRAMES].copy_from_slice(&header.encode());
        let unfinished = self.dir.join(Segment::unfinished_name(number));
        let segment = match self.create(spare, &unfinished, number, &content, capacity) {
            Ok(segment) => Arc::new(segment),
            Err(error) if is_full(&error) => {
                if let Err(error) = self.storage.remove(&unfinished) {
                    tracing::warn!(%error, file = %unfinished.display(), "an unfinished segment stays behind");
                }
                return Err(Full(error));
            }
            Err(error) => end_process("create a segment of the log", &error),
        };
        let sealed = self.seal();
        self.segments.push_back(Held {
            segment,
            salt: header.salt,
            created: header.created,
            bytes: capacity,
            through: number,
            written: Written::Once,
        });
        self.position = header.snapshot_end;
        self.capacity = capacity;
        self.written = header.snapshot_end.max(header.used);
        self.next_frame += 1;
        self.write_mark();
        Ok(sealed)
    }

    fn create(
        &self,
        spare: Option<Spare>,
        unfinished: &Path,
        number: u64,
        content: &[u8],
        capacity: u64,
    ) -> io::Result<Segment> {
        let file = match spare {
            Some(spare) => {
                self.storage.rename(&spare.path, unfinished)?;
                if spare.len > capacity {
                    spare.file.truncate(capacity)?;
                }
                spare.file
            }
            None => self.storage.open(unfinished)?,
        };
        file.allocate(capacity)?;
        file.write_at(content, 0)?;
        sync(&*file);
        let file_name = Segment::file_name(number);
        self.storage
            .rename(unfinished, &self.dir.join(&file_name))?;
        sync_dir(&*self.storage, &self.dir);
        Ok(Segment {
            number,
            name: format!("{}/{file_name}", Self::name(self.lifetime)),
            file,
        })
    }

    /// Gives back the room that the active segment did not use.
    fn seal(&mut self) -> Option<Identity> {
        let held = self.segments.back_mut()?;
        if let Err(error) = held.segment.file.truncate(self.position) {
            end_process("seal a segment of the log", &error);
        }
        held.bytes = self.position;
        Some(Identity {
            number: held.segment.number,
            salt: held.salt,
            end: self.position,
        })
    }

    /// Writes `frames` frames to the active segment, durably. They must fit. `bytes` may come back
    /// longer: what was written ahead.
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>, frames: u64) -> Result<(), Full> {
        let len = bytes.len() as u64;
        let end = self.position + len;
        if end > self.written && len < SMALL_GROUP {
            let ahead = end.next_multiple_of(WRITE_AHEAD).min(self.capacity) - self.position;
            bytes.resize(usize::try_from(ahead).unwrap_or(bytes.len()), 0);
        }
        let active = self.segments.back().expect("room was found in it before");
        let file = &active.segment.file;
        if let Err(error) = file.write_at(&bytes[..], self.position) {
            if !is_full(&error) {
                end_process("write to the log", &error);
            }
            // What was written of the group must not come back to life: it has been refused.
            if let Err(error) = file.truncate(self.position) {
                end_process("take back a write to the log", &error);
            }
            self.capacity = self.position;
            return Err(Full(error));
        }
        let before = self.clock.monotonic();
        sync(&**file);
        let took = self.clock.monotonic().since(before);
        metrics::histogram!("tidemill_log_sync_seconds").record(took.as_secs_f64());
        self.written = self.written.max(self.position + bytes.len() as u64);
        self.position = end;
        self.next_frame += frames;
        self.write_mark();
        Ok(())
    }

    pub(super) fn write_mark(&mut self) {
        let mark = Mark {
            segment: self.segments.back().map_or(0, |held| held.segment.number),
            position: self.position,
        };
        if let Err(error) = self.mark.write(mark) {
            // The mark only sharpens what recovery can tell; frames prove their predecessors too.
            tracing::warn!(%error, "the synced-up-to mark of the log could not be written");
        }
    }

    /// Bytes of the journal on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|held| held.bytes).sum()
    }

    /// Removes the oldest segment. Not the active one.
    pub(super) fn drop_oldest(&mut self) -> Result<(), Error> {
        let Some(held) = self.segments.pop_front() else {
            return Ok(());
        };
        let number = held.segment.number;
        if let Err(error) = self.remove_catalog(number) {
            tracing::warn!(%error, number, "the catalog of a removed segment stays behind");
        }
        let path = self.dir.join(Segment::file_name(number));
        let removed = if self.is_spare(&held) {
            self.keep_spare(&held, &path)
        } else {
            self.storage.remove(&path)
        };
        let removed = removed.and_then(|()| self.storage.sync_dir(&self.dir));
        removed.map_err(|source| Error::Io {
            act: format!("remove {}", held.segment.name),
            source,
        })
    }

    /// Whether the file of a dropped segment is worth keeping. One that a reader still has open is not
    /// to be written on; nobody can open it any more.
    fn is_spare(&self, held: &Held) -> bool {
        self.spares.len() < SPARES
            && held.written == Written::Once
            && held.bytes >= self.segment_bytes / 4 * 3
            && Arc::strong_count(&held.segment) == 1
    }

    fn keep_spare(&mut self, held: &Held, from: &Path) -> io::Result<()> {
        let path = self.dir.join(Segment::spare_name(held.segment.number));
        self.storage.rename(from, &path)?;
        self.spares.push(Spare {
            path,
            file: Arc::clone(&held.segment.file),
            len: held.bytes,
        });
        Ok(())
    }

    /// Removes a segment that another one stands for, and its catalog.
    pub(super) fn remove_files(&self, number: u64) {
        let path = self.dir.join(Segment::file_name(number));
        let removed = self.remove_catalog(number);
        if let Err(error) = removed.and_then(|()| self.storage.remove(&path)) {
            tracing::warn!(%error, file = %path.display(), "a segment that was rewritten stays behind");
        }
    }

    pub(super) fn remove_catalog(&self, number: u64) -> io::Result<()> {
        let path = self.dir.join(Segment::catalog_name(number));
        match self.storage.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Makes the mark durable when the log closes.
    pub(super) fn finish(&mut self) {
        if let Err(error) = self.mark.sync() {
            tracing::warn!(%error, "the synced-up-to mark of the log could not be synced");
        }
    }
}

/// Opens the segments of a journal and its mark.
pub(super) fn open_files(
    storage: &dyn Storage,
    dir: &Path,
    lifetime: Lifetime,
) -> io::Result<(Vec<OpenSegment>, MarkFile, Mark)> {
    storage.create_dir(dir)?;
    let segments = segment::open_all(storage, dir, Journal::name(lifetime))?;
    let (file, mark) = MarkFile::open(storage.open(&dir.join("synced"))?)?;
    storage.sync_dir(dir)?;
    Ok((segments, file, mark))
}

pub(super) fn sync(file: &dyn super::storage::StoredFile) {
    if let Err(error) = file.sync() {
        end_process("sync the log", &error);
    }
}

pub(super) fn sync_dir(storage: &dyn Storage, dir: &Path) {
    if let Err(error) = storage.sync_dir(dir) {
        end_process("sync the folder of the log", &error);
    }
}

fn end_process(act: &str, error: &io::Error) -> ! {
    tracing::error!(%error, "cannot {act}; the process ends, the next start recovers");
    std::process::abort();
}
