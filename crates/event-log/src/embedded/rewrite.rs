//! Segments written again without what is no longer needed of them.
//!
//! Neighbours become one segment, which stands for all their numbers. It begins with the snapshot of
//! the first of them, so that it can be recovered on its own, and then holds what is left of each
//! partition. The changes between its batches are not kept: a later snapshot holds what they came to,
//! and the last two segments are never rewritten.
//!
//! The new file is durable before it takes the place of the old ones; until then nothing has happened.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::catalog::Contents;
use super::compaction::Latest;
use super::frame::{self, Frame, Kind, Salt, Stamp};
use super::index::{Batches, Entry, Run, Summary};
use super::journal::Journal;
use super::reader;
use super::segment::{FRAMES, Header, Segment, Written};
use super::storage::{Storage, StoredFile};
use super::wire;
use crate::ledger::{Change, Extent, Part, PartitionKey};
use crate::{Error, RecordBatch};

/// Bytes of batches in one frame.
const FRAME_BYTES: u64 = 1 << 20;

/// What is to be rewritten.
pub(super) struct Job<'a> {
    pub(super) dir: &'a Path,
    pub(super) storage: &'a dyn Storage,
    /// Neighbours, oldest first.
    pub(super) segments: Vec<Arc<Segment>>,
    /// The last number that the last of them stands for.
    pub(super) through: u64,
    /// What each partition has in them.
    pub(super) runs: BTreeMap<PartitionKey, Vec<Run>>,
    pub(super) latest: &'a HashMap<PartitionKey, Latest>,
    pub(super) stop: &'a AtomicBool,
}

/// A segment that can take the place of others.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) segment: Segment,
    pub(super) header: Header,
    pub(super) unfinished: PathBuf,
    /// The numbers of the segments that it replaces.
    pub(super) replaces: Vec<u64>,
    pub(super) contents: Contents,
}

/// The file as it grows.
struct Output {
    file: Arc<dyn StoredFile>,
    salt: Salt,
    sequence: u64,
    position: u64,
    changes: Vec<Change>,
    batches: Vec<RecordBatch>,
    bytes: u64,
    open: Option<(PartitionKey, Run)>,
    contents: Contents,
}

/// Writes the new segment. `None` when it was told to stop.
///
/// # Errors
/// [`Error::Corrupt`] when the old ones are damaged, [`Error::Io`] when there is no room; nothing is
/// left behind.
pub(super) fn rewrite(job: &Job<'_>) -> Result<Option<Rewritten>, Error> {
    let number = job.segments.first().map_or(0, |first| first.number);
    let unfinished = job.dir.join(Segment::unfinished_name(number));
    let done = write(job, number, &unfinished);
    if !matches!(done, Ok(Some(_)))
        && let Err(error) = job.storage.remove(&unfinished)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, file = %unfinished.display(), "an unfinished segment stays behind");
    }
    done
}

fn write(job: &Job<'_>, number: u64, unfinished: &Path) -> Result<Option<Rewritten>, Error> {
    let failed = |source| Error::Io {
        act: format!("rewrite segment {number} of {}", job.dir.display()),
        source,
    };
    let (first, header, snapshot) = first_snapshot(job)?;
    let mut header = Header {
        salt: Salt::random(),
        through: job.through,
        used: 0,
        ..header
    };
    let file = job.storage.open(unfinished).map_err(failed)?;
    let mut output = Output {
        file: Arc::clone(&file),
        salt: header.salt,
        sequence: header.first_frame,
        position: FRAMES as u64,
        changes: snapshot,
        batches: Vec::new(),
        bytes: 0,
        open: None,
        contents: Contents::new(),
    };
    let segment = Segment {
        number,
        name: first.name.clone(),
        file,
    };
    output.flush(Kind::Snapshot).map_err(failed)?;
    header.snapshot_end = output.position;
    for (key, runs) in &job.runs {
        let latest = job.latest.get(key);
        output.begin(*key, runs);
        for run in runs {
            let mut result = Ok(());
            reader::each_batch(run, |batch| {
                let left = match latest {
                    Some(latest) => latest.left_of(&batch),
                    None => Some(batch),
                };
                if let Some(batch) = left {
                    result = output.add(*key, batch);
                }
                match result {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })?;
            result.map_err(failed)?;
            if job.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
        }
        output.end().map_err(failed)?;
    }
    output.flush(Kind::Changes).map_err(failed)?;
    header.sealed_end = output.position;
    segment.file.write_at(&header.encode(), 0).map_err(failed)?;
    super::journal::sync(&*segment.file);
    Ok(Some(Rewritten {
        segment,
        header,
        unfinished: unfinished.to_owned(),
        replaces: job.segments.iter().map(|old| old.number).collect(),
        contents: output.contents,
    }))
}

/// The header and the snapshot of the first segment.
fn first_snapshot<'a>(job: &'a Job<'_>) -> Result<(&'a Segment, Header, Vec<Change>), Error> {
    let first = job.segments.first().ok_or(Error::Closed)?;
    let failed = |source| Error::Io {
        act: format!("read the snapshot of {}", first.name),
        source,
    };
    let mut bytes = vec![0; FRAMES];
    first.file.read_at(&mut bytes, 0).map_err(failed)?;
    let header = Header::decode(&bytes);
    let (header, _) = header.ok_or_else(|| first.corrupt(0, "the header is damaged"))?;
    let len = header.snapshot_end.saturating_sub(FRAMES as u64);
    if len == 0 {
        // Rewritten by a version that left an empty snapshot out.
        return Ok((first, header, Vec::new()));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    first
        .file
        .read_at(&mut bytes, FRAMES as u64)
        .map_err(failed)?;
    let snapshot = Frame::parse(&bytes, header.salt)
        .filter(|frame| frame.kind == Kind::Snapshot)
        .and_then(|frame| wire::take_all(frame.manifest));
    let snapshot =
        snapshot.ok_or_else(|| first.corrupt(FRAMES as u64, "the snapshot is damaged"))?;
    Ok((first, header, snapshot))
}

impl Output {
    fn begin(&mut self, key: PartitionKey, runs: &[Run]) {
        let (Some(first), Some(last)) = (runs.first(), runs.last()) else {
            return;
        };
        let summary = Summary {
            base: first.summary.base,
            end: last.summary.end,
            max_timestamp: clock::Timestamp::from_millis(i64::MIN),
            bytes: 0,
        };
        self.changes.push(Change::Cleaned {
            key,
            base: summary.base,
            end: summary.end,
        });
        let run = Run {
            segment: Arc::clone(&first.segment),
            summary,
            batches: Batches::Growing(Vec::new()),
        };
        self.open = Some((key, run));
    }

    fn add(&mut self, key: PartitionKey, batch: RecordBatch) -> io::Result<()> {
        let extent = Extent::of(key, batch.base_offset(), &batch, Part::None);
        self.changes.push(Change::Appended(Extent {
            producer: None,
            ..extent
        }));
        self.bytes += u64::from(extent.len);
        self.batches.push(batch);
        if self.bytes >= FRAME_BYTES {
            self.flush(Kind::Changes)?;
        }
        Ok(())
    }

    /// Ends a partition: its entries are complete.
    fn end(&mut self) -> io::Result<()> {
        self.flush(Kind::Changes)?;
        if let Some((key, run)) = self.open.take()
            && let Batches::Growing(entries) = run.batches
        {
            self.contents.insert(key, (run.summary, entries.into()));
        }
        Ok(())
    }

    /// A snapshot is written though nothing is in it: a segment begins with one.
    fn flush(&mut self, kind: Kind) -> io::Result<()> {
        if self.changes.is_empty() && kind != Kind::Snapshot {
            return Ok(());
        }
        let stamp = Stamp {
            kind,
            sequence: self.sequence,
            synced: 0,
            salt: self.salt,
        };
        let mut bytes = Vec::new();
        let batches = self.batches.iter();
        let placed = batches.map(|batch| (batch.base_offset(), batch));
        let places = frame::put(&mut bytes, stamp, &self.changes, placed);
        for (batch, at) in self.batches.iter().zip(places) {
            let offsets = u32::try_from(batch.header().offsets()).unwrap_or(u32::MAX);
            let entry = Entry::stored(
                batch.base_offset(),
                offsets,
                u32::try_from(batch.as_bytes().len()).unwrap_or(u32::MAX),
                self.position + at as u64,
                batch.max_timestamp(),
            );
            if let Some((_, run)) = &mut self.open {
                run.push(entry);
            }
        }
        self.file.write_at(&bytes, self.position)?;
        self.position += bytes.len() as u64;
        self.sequence += 1;
        self.changes.clear();
        self.batches.clear();
        self.bytes = 0;
        Ok(())
    }
}

impl Journal {
    /// Puts a rewritten segment in the place of those that it stands for. `None` when they are no
    /// longer all there: it is removed then.
    pub(super) fn install(&mut self, rewritten: &Rewritten) -> io::Result<Option<Arc<Segment>>> {
        let numbers = self.segments.iter().map(|held| held.segment.number);
        let at = numbers
            .collect::<Vec<_>>()
            .windows(rewritten.replaces.len())
            .position(|held| held == rewritten.replaces);
        let Some(at) = at else {
            self.storage.remove(&rewritten.unfinished)?;
            return Ok(None);
        };
        let number = rewritten.segment.number;
        let name = Segment::file_name(number);
        self.remove_catalog(number)?;
        self.storage
            .rename(&rewritten.unfinished, &self.dir.join(name))?;
        super::journal::sync_dir(&*self.storage, &self.dir);
        let segment = Arc::new(Segment {
            number,
            name: rewritten.segment.name.clone(),
            file: Arc::clone(&rewritten.segment.file),
        });
        let replaced: Vec<_> = self
            .segments
            .drain(at..at + rewritten.replaces.len())
            .collect();
        let created = replaced
            .first()
            .map_or(rewritten.header.created, |old| old.created);
        self.segments.insert(
            at,
            super::journal::Held {
                segment: Arc::clone(&segment),
                salt: rewritten.header.salt,
                created,
                bytes: rewritten.header.sealed_end,
                through: rewritten.header.through(),
                written: Written::Again,
            },
        );
        for old in replaced.iter().skip(1) {
            self.remove_files(old.segment.number);
        }
        Ok(Some(segment))
    }
}
