//! What is in a log's folder, found out without changing it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use clock::{SharedClock, Timestamp};

use super::books::Books;
use super::catalog;
use super::journal::Journal;
use super::lock::FolderLock;
use super::read_only::{Catalogs, Cut, Progress, ReadOnly};
use super::reader::{self, Patience, Stop};
use super::recovery::{self, Recovered};
use super::replay::Finding;
use super::replay::trailing_zeros;
use super::segment::Segment;
use super::storage::{Disk, Storage};
use crate::ledger::Ledger;
use crate::{Checkpoint, ConsumerId, Error, Lifetime, Offset, StoredChunk, Topic, TopicPartition};

/// Bytes of one read of a verification.
const READ_BYTES: usize = 4 << 20;

/// How much of a folder is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What a start reads: the last segments, and the catalogs of the sealed ones.
    AsStarted,
    /// Every byte of every segment; catalogs are only compared with what is found.
    Everything,
}

/// A log's folder under inspection. Nothing in it changes, and no server starts on it meanwhile.
#[derive(Debug)]
pub struct Inspection {
    books: Books,
    segments: Vec<SegmentFound>,
    damage: Vec<Damage>,
    lost: Vec<Lost>,
    notes: Vec<String>,
    _lock: FolderLock,
}

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFound {
    /// Its path relative to the log's folder.
    pub file: String,
    /// Its length, with what is set aside and not written yet.
    pub bytes: u64,
    /// When it was begun.
    pub created: Timestamp,
}

/// A range of bytes that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, relative to the log's folder.
    pub file: String,
    /// The first byte of it.
    pub position: u64,
    /// How many bytes are given up; 0 where that cannot be told.
    pub bytes: u64,
    /// What is wrong.
    pub reason: String,
}

/// Offsets whose records damage has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The partition.
    pub partition: TopicPartition,
    /// The offsets.
    pub offsets: Range<Offset>,
    /// The damaged file.
    pub file: String,
    /// Where in it.
    pub position: u64,
}

impl Inspection {
    /// Looks into the folder of a log that no server has open. `progress` hears of bytes as they are
    /// read, by how many.
    ///
    /// # Errors
    /// [`Error::Locked`] when a server runs on the folder; [`Error::Io`] when it is no log's folder or
    /// cannot be read. Damage is no error: see [`damage`](Self::damage).
    pub fn open(
        dir: &Path,
        depth: Depth,
        clock: &SharedClock,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Self, Error> {
        let lock = FolderLock::share(dir)?;
        let mut found = Findings::default();
        // As a start does: each ledger drops what the other says is gone, so both must be whole.
        let mut ledger: Option<Ledger> = None;
        let mut indexes = HashMap::new();
        for home in [Lifetime::Events, Lifetime::LongLived] {
            if let Some(recovered) = found.journal(dir, home, depth, clock, &progress)? {
                match &mut ledger {
                    Some(ledger) => ledger.join(recovered.replay.ledger),
                    None => ledger = Some(recovered.replay.ledger),
                }
                indexes.extend(recovered.replay.indexes);
            }
        }
        let books = Books::new(ledger.unwrap_or_default(), indexes);
        let mut inspection = Self {
            books,
            segments: found.segments,
            damage: found.damage,
            lost: Vec::new(),
            notes: found.notes,
            _lock: lock,
        };
        inspection.find_lost();
        Ok(inspection)
    }

    /// Reads every batch as a reader would, and compares checksum, place and length: what the frames
    /// alone do not tell. Damage that is found goes to [`damage`](Self::damage).
    pub fn verify_batches(&mut self, progress: &dyn Fn(u64)) {
        for partition in self.topics().iter().flat_map(Topic::partitions) {
            let Ok(bounds) = self.bounds(&partition) else {
                continue;
            };
            let mut next = bounds.start;
            while next < bounds.end {
                match self.read(&partition, next, READ_BYTES) {
                    Ok(chunk) => {
                        let batches = chunk.batches.iter();
                        progress(batches.map(|batch| batch.as_bytes().len() as u64).sum());
                        next = chunk.next.max(next.next());
                    }
                    Err(error) => {
                        next = self.pass_over(&partition, next, error);
                    }
                }
            }
        }
    }

    /// Notes damage that a read has met, unless it is known, and returns where to read on.
    fn pass_over(&mut self, partition: &TopicPartition, at: Offset, error: Error) -> Offset {
        let known = self
            .lost
            .iter()
            .find(|lost| lost.partition == *partition && lost.offsets.contains(&at));
        if let Some(known) = known {
            return known.offsets.end;
        }
        let (file, position, reason) = match error {
            Error::Corrupt {
                file,
                position,
                reason,
            } => (file, position, reason),
            other => (partition.to_string(), 0, other.to_string()),
        };
        self.damage.push(Damage {
            file: file.clone(),
            position,
            bytes: 0,
            reason,
        });
        self.lost.push(Lost {
            partition: partition.clone(),
            offsets: at..at.next(),
            file,
            position,
        });
        at.next()
    }

    fn find_lost(&mut self) {
        for partition in self.topics().iter().flat_map(Topic::partitions) {
            let Ok(log) = self.books.partition(&partition) else {
                continue;
            };
            let lost = log.index.read().lost();
            self.lost
                .extend(lost.into_iter().map(|(segment, entry)| Lost {
                    partition: partition.clone(),
                    offsets: entry.base..entry.end(),
                    file: segment.name.clone(),
                    position: entry.position,
                }));
        }
    }

    /// Every topic, by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        self.books
            .published(|ledger| ledger.topics().cloned().collect())
    }

    /// The offsets from the first kept to the end, exclusive.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    pub fn bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error> {
        Ok(self.books.partition(partition)?.index.read().bounds())
    }

    /// Bytes of a partition's batches.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::UnknownPartition`].
    pub fn bytes(&self, partition: &TopicPartition) -> Result<u64, Error> {
        Ok(self.books.partition(partition)?.index.read().bytes())
    }

    /// Batches as they are stored, transactions that are undecided or aborted among them, from the
    /// one that holds `from` on: as many as fit `max_bytes` and at least one.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] outside [`bounds`](Self::bounds); [`Error::Corrupt`] where they
    /// are damaged.
    pub fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<StoredChunk, Error> {
        let log = self.books.partition(partition)?;
        let end = log.index.read().bounds().end;
        reader::read(&log, partition, from, max_bytes, end, Patience::Blocking).map_err(|stop| {
            match stop {
                Stop::Failed(error) => error,
                Stop::Cold => unreachable!("a patient read waits for the disk"),
            }
        })
    }

    /// Every checkpoint, by consumer and partition.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<(ConsumerId, TopicPartition, Checkpoint)> {
        self.books.published(|ledger| {
            let of = |consumer: &ConsumerId| {
                let consumer = consumer.clone();
                let checkpoints = ledger.checkpoints(&consumer).into_iter();
                checkpoints.map(move |(place, checkpoint)| (consumer.clone(), place, checkpoint))
            };
            ledger.consumers().flat_map(of).collect()
        })
    }

    /// Every segment, journal by journal and oldest first.
    #[must_use]
    pub fn segments(&self) -> &[SegmentFound] {
        &self.segments
    }

    /// What is not as it was written. With [`Depth::AsStarted`] only as far as a start notices.
    #[must_use]
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// The records that damage has taken.
    #[must_use]
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// What is worth knowing and costs nothing: torn tails, catalogs that will be made anew.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// What the journals say, one after the other.
#[derive(Default)]
struct Findings {
    segments: Vec<SegmentFound>,
    damage: Vec<Damage>,
    notes: Vec<String>,
}

impl Findings {
    /// Reads one journal; `None` when nothing can be made of it.
    fn journal(
        &mut self,
        dir: &Path,
        home: Lifetime,
        depth: Depth,
        clock: &SharedClock,
        progress: &Progress,
    ) -> Result<Option<Recovered>, Error> {
        let catalogs = match depth {
            Depth::AsStarted => Catalogs::Shown,
            Depth::Everything => Catalogs::Hidden,
        };
        let disk = Arc::new(ReadOnly::new(catalogs, Arc::clone(progress)));
        let cuts = Arc::clone(&disk.cuts);
        let dir = dir.join(Journal::name(home));
        let recovered = recovery::recover(disk, dir.clone(), home, 0, Arc::clone(clock));
        let mut recovered = match recovered {
            Ok(recovered) => recovered,
            Err(Error::Corrupt {
                file,
                position,
                reason,
            }) => {
                self.damage.push(Damage {
                    file,
                    position,
                    bytes: 0,
                    reason: format!("{reason}; a server does not start on this journal"),
                });
                return Ok(None);
            }
            Err(other) => return Err(other),
        };
        let segments = recovered.journal.segments.iter();
        self.segments.extend(segments.map(|held| SegmentFound {
            file: held.segment.name.clone(),
            bytes: held.bytes,
            created: held.created,
        }));
        let findings = std::mem::take(&mut recovered.replay.findings);
        self.damage.extend(findings.into_iter().map(Damage::from));
        let cuts = std::mem::take(&mut *cuts.lock());
        self.notes.extend(cuts.into_iter().map(|Cut { file, position }| {
            format!("{file} ends in a torn write at byte {position}, which nobody was told of: the next start cuts it off")
        }));
        if depth == Depth::Everything {
            self.leftovers(&recovered)?;
            self.catalogs(&dir, &mut recovered)?;
        }
        Ok(Some(recovered))
    }

    /// Looks for bytes after the ends of sealed segments: nothing but zeros may stand there, where a
    /// crash came before the room that was set aside had been given back.
    fn leftovers(&mut self, recovered: &Recovered) -> Result<(), Error> {
        for sealed in &recovered.scanned {
            let mut held = recovered.journal.segments.iter();
            let held = held.find(|held| held.segment.number == sealed.number);
            let Some(held) = held.filter(|held| held.bytes > sealed.end) else {
                continue;
            };
            let bytes = held.segment.file.read_all().map_err(|source| Error::Io {
                act: format!("read {}", held.segment.name),
                source,
            })?;
            let after = bytes.get(sealed.end as usize..).unwrap_or_default();
            if trailing_zeros(after) < after.len() {
                self.damage.push(Damage {
                    file: held.segment.name.clone(),
                    position: sealed.end,
                    bytes: after.len() as u64,
                    reason: "bytes follow the end of the segment; nobody reads them".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Compares the catalogs of sealed segments with what the segments hold.
    fn catalogs(&mut self, dir: &Path, recovered: &mut Recovered) -> Result<(), Error> {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let present = Disk.list(dir).unwrap_or_default();
        let look = ReadOnly::new(Catalogs::Shown, Arc::new(|_| {}));
        let mut anew = 0;
        for sealed in &recovered.scanned {
            let file_name = Segment::catalog_name(sealed.number);
            let file = format!("{name}/{file_name}");
            let failed = |source| Error::Io {
                act: format!("read {file}"),
                source,
            };
            if !present.contains(&file_name) {
                anew += 1;
                continue;
            }
            let opened = look.open(&dir.join(&file_name)).map_err(failed)?;
            let sections = catalog::open(opened, *sealed, &Arc::default()).map_err(failed)?;
            let Some(sections) = sections else {
                anew += 1;
                continue;
            };
            for (key, _, section) in sections {
                let index = recovered.replay.indexes.get_mut(&key);
                let held = index.and_then(|index| index.seal(sealed.number));
                // What has been deleted since is in the catalog still, and of no account.
                let Some((_, held)) = held else { continue };
                let Some(stored) = section.load().map_err(failed)? else {
                    self.damage.push(Damage {
                        file: file.clone(),
                        position: 0,
                        bytes: 0,
                        reason: "entries fail their checksum; readers take them from the segment"
                            .to_owned(),
                    });
                    continue;
                };
                if stored != held {
                    self.damage.push(Damage {
                        file: file.clone(),
                        position: 0,
                        bytes: 0,
                        reason: "it contradicts its segment: delete it, and the next start makes it anew"
                            .to_owned(),
                    });
                }
            }
        }
        if anew > 0 {
            self.notes.push(format!(
                "{anew} of {} catalogs in {name} are missing or stale: the next start makes them anew",
                recovered.scanned.len()
            ));
        }
        Ok(())
    }
}

impl From<Finding> for Damage {
    fn from(finding: Finding) -> Self {
        Self {
            file: finding.file,
            position: finding.position,
            bytes: finding.bytes,
            reason: finding.reason.to_owned(),
        }
    }
}
