//! Gives back the room of records that are no longer needed: once for each log, on a thread of its
//! own.
//!
//! It wakes when a segment has been sealed, when a topic or its settings have changed, and at the
//! moment when records come of age; else it sleeps. Each time the committers drop what has passed its
//! retention, and then it rewrites the segments that hold little else than such remains, and those
//! with superseded records of a compacted topic when half of that topic has been written since it was
//! compacted last.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Weak};
use std::time::Duration;

use clock::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::books::{Books, PartitionLog};
use super::committer::{Command, Reply};
use super::compaction::{Bounds, Latest};
use super::index::Run;
use super::rewrite::{self, Job};
use super::segment::{FRAMES, Segment};
use super::storage::Storage;
use crate::ledger::{Ledger, PartitionKey};
use crate::{Error, Lifetime, Offset};

/// Segments below this share of the usual size are small: neighbours of them are joined.
const SMALL: u64 = 4;
/// So many small ones in a row are worth being joined.
const MANY: usize = 4;

/// Wakes the cleaner, and keeps it: it ends when nobody can wake it any more.
#[derive(Clone, Debug)]
pub(super) struct Wake(Arc<SyncSender<()>>);

/// Wakes the cleaner as long as somebody keeps it.
#[derive(Debug)]
pub(super) struct WeakWake(Weak<SyncSender<()>>);

/// A sealed segment as its committer knows it.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) segment: Arc<Segment>,
    pub(super) through: u64,
    pub(super) bytes: u64,
    pub(super) sealed_at: Timestamp,
}

/// What a committer answers when it has dropped what it could.
#[derive(Debug)]
pub(super) struct Tidied {
    pub(super) due: Option<Duration>,
    /// The sealed segments that may be rewritten, oldest first.
    pub(super) sealed: Vec<Sealed>,
    pub(super) now: Timestamp,
}

/// One journal, from here.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) home: Lifetime,
    pub(super) dir: PathBuf,
    pub(super) queue: mpsc::WeakSender<Command>,
    pub(super) segment_bytes: u64,
    /// How far each compacted partition has been compacted.
    pub(super) compacted: HashMap<PartitionKey, Offset>,
    /// Segments that could not be rewritten.
    pub(super) given_up: HashSet<u64>,
}

#[derive(Debug)]
pub(super) struct Cleaner {
    pub(super) books: Arc<Books>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) charges: Vec<Charge>,
    pub(super) tombstone_grace: Duration,
    pub(super) woken: Receiver<()>,
    pub(super) stop: Arc<AtomicBool>,
    /// Counts the looks that are finished.
    pub(super) looks: watch::Sender<u64>,
}

/// A segment with what is known of its content.
struct Candidate {
    sealed: Sealed,
    live: u64,
    /// Bytes of batches that compaction will touch.
    compacted: u64,
}

impl Wake {
    pub(super) fn new() -> (Self, Receiver<()>) {
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        (Self(Arc::new(wake)), woken)
    }

    pub(super) fn weak(&self) -> WeakWake {
        WeakWake(Arc::downgrade(&self.0))
    }

    pub(super) fn wake(&self) {
        match self.0.try_send(()) {
            // One call that waits is as good as many.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }
}

impl WeakWake {
    pub(super) fn wake(&self) {
        if let Some(wake) = self.0.upgrade() {
            Wake(wake).wake();
        }
    }
}

impl Cleaner {
    /// Works until the committers are gone.
    pub(super) fn run(mut self) {
        let mut charges = std::mem::take(&mut self.charges);
        let mut due: Option<Duration> = None;
        loop {
            let woken = match due {
                Some(due) => self.woken.recv_timeout(due),
                None => self
                    .woken
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected),
            };
            if woken == Err(RecvTimeoutError::Disconnected) || self.is_stopped() {
                return;
            }
            due = None;
            for charge in &mut charges {
                match self.clean(charge) {
                    Ok(next) => due = due.into_iter().chain(next).min(),
                    Err(Error::Closed) => return,
                    Err(error) => {
                        tracing::warn!(%error, "old records could not be cleaned up; they stay for now");
                    }
                }
            }
            self.looks.send_modify(|looks| *looks += 1);
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn clean(&self, charge: &mut Charge) -> Result<Option<Duration>, Error> {
        let tidied = charge.ask(Command::Tidy)?;
        let partitions = self.books.partitions(charge.home);
        let latest = self.compactions(charge, &tidied, &partitions);
        let candidates = candidates(charge, &tidied, &partitions, &latest);
        for group in groups(candidates, charge.segment_bytes) {
            if self.is_stopped() {
                return Err(Error::Closed);
            }
            self.rewrite(charge, &group, &partitions, &latest)?;
        }
        let end = tidied.sealed.last().map(|sealed| sealed.segment.number);
        for (key, log) in &partitions {
            if let (true, Some(end)) = (latest.contains_key(key), end)
                && let Some(end) = log.index.read().end_within(end)
            {
                charge.compacted.insert(*key, end);
            }
        }
        Ok(tidied.due)
    }

    /// The latest offsets of the keys of every partition that is worth compacting.
    fn compactions(
        &self,
        charge: &Charge,
        tidied: &Tidied,
        partitions: &[(PartitionKey, Arc<PartitionLog>)],
    ) -> HashMap<PartitionKey, Latest> {
        let (lowest, settings) = self.books.published(|ledger| {
            let topics = ledger.topics();
            let settings: HashMap<_, _> = topics.map(|it| (it.id, it.config.settings)).collect();
            (Ledger::lowest_checkpoints(ledger), settings)
        });
        let sealed_at: HashMap<u64, Timestamp> = tidied
            .sealed
            .iter()
            .map(|sealed| (sealed.segment.number, sealed.sealed_at))
            .collect();
        let mut latest = HashMap::new();
        for (key, log) in partitions {
            let settings = settings.get(&key.topic).copied().unwrap_or_default();
            if !settings.cleanup.compacts() || self.is_stopped() {
                continue;
            }
            let bounds = log.bounds();
            let needed = lowest.get(key).copied().unwrap_or(bounds.end);
            let grace = settings.tombstone_grace.unwrap_or(self.tombstone_grace);
            let done = charge.compacted.get(key).copied().unwrap_or(Offset::ZERO);
            let (mut all, mut dirty, mut tombstones_before) = (0, 0, Offset::ZERO);
            // What a tombstone stands for must be gone before it: a segment that is never rewritten
            // keeps what it has, and the tombstones after it with that.
            let mut rewritable = true;
            for run in log.index.read().runs() {
                let Some(sealed_at) = sealed_at.get(&run.segment.number) else {
                    break;
                };
                if run.summary.end > needed.min(bounds.end) {
                    break;
                }
                all += run.summary.bytes;
                if run.summary.end > done {
                    dirty += run.summary.bytes;
                }
                rewritable &= !charge.given_up.contains(&run.segment.number);
                if rewritable && tidied.now.since(*sealed_at) > grace {
                    tombstones_before = run.summary.end;
                }
            }
            if dirty == 0 || dirty * 2 < all {
                continue;
            }
            let horizon = needed.min(bounds.end);
            let aborted = self
                .books
                .published(|ledger| ledger.aborted_within(*key, bounds.start, horizon));
            let bounds = Bounds {
                horizon,
                tombstones_before,
                aborted,
            };
            match Latest::of(log, bounds) {
                Ok(found) => drop(latest.insert(*key, found)),
                Err(error) => {
                    tracing::warn!(%error, topic = %key.topic, partition = %key.partition, "a partition is not compacted");
                }
            }
        }
        latest
    }

    fn rewrite(
        &self,
        charge: &mut Charge,
        group: &[Sealed],
        partitions: &[(PartitionKey, Arc<PartitionLog>)],
        latest: &HashMap<PartitionKey, Latest>,
    ) -> Result<(), Error> {
        let numbers: HashSet<u64> = group.iter().map(|it| it.segment.number).collect();
        let mut runs = BTreeMap::new();
        for (key, log) in partitions {
            let index = log.index.read();
            let within = |run: &&Run| numbers.contains(&run.segment.number);
            let held: Vec<Run> = index.runs().filter(within).cloned().collect();
            if !held.is_empty() {
                runs.insert(*key, held);
            }
        }
        let job = Job {
            dir: &charge.dir,
            storage: &*self.storage,
            segments: group.iter().map(|it| Arc::clone(&it.segment)).collect(),
            through: group.last().map_or(0, |last| last.through),
            runs,
            latest,
            stop: &self.stop,
        };
        match rewrite::rewrite(&job) {
            Ok(Some(rewritten)) => charge.ask(|reply| Command::Install(Box::new(rewritten), reply)),
            Ok(None) => Err(Error::Closed),
            Err(error @ Error::Corrupt { .. }) => {
                charge.given_up.extend(numbers);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

impl Charge {
    fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        {
            let queue = self.queue.upgrade().ok_or(Error::Closed)?;
            let sent = queue.blocking_send(command(reply));
            sent.map_err(|_| Error::Closed)?;
        }
        answer.blocking_recv().map_err(|_| Error::Closed)?
    }
}

fn candidates(
    charge: &Charge,
    tidied: &Tidied,
    partitions: &[(PartitionKey, Arc<PartitionLog>)],
    latest: &HashMap<PartitionKey, Latest>,
) -> Vec<Candidate> {
    let mut bytes: HashMap<u64, (u64, u64)> = HashMap::new();
    for (key, log) in partitions {
        for run in log.index.read().runs() {
            let (live, compacted) = bytes.entry(run.segment.number).or_default();
            *live += run.summary.bytes;
            if latest.get(key).is_some_and(|latest| latest.shrinks(run)) {
                *compacted += run.summary.bytes;
            }
        }
    }
    let known = |sealed: &Sealed| bytes.get(&sealed.segment.number).copied();
    let sealed = tidied.sealed.iter();
    sealed
        .map(|sealed| {
            let (live, compacted) = known(sealed).unwrap_or_default();
            let given_up = charge.given_up.contains(&sealed.segment.number);
            Candidate {
                sealed: sealed.clone(),
                live: if given_up { u64::MAX } else { live },
                compacted: if given_up { 0 } else { compacted },
            }
        })
        .collect()
}

/// Neighbours that are worth becoming one segment.
fn groups(candidates: Vec<Candidate>, segment_bytes: u64) -> Vec<Vec<Sealed>> {
    let mut groups = Vec::new();
    let mut group: Vec<Candidate> = Vec::new();
    let mut close = |group: &mut Vec<Candidate>| {
        if is_worth_it(group) {
            groups.push(group.iter().map(|it| it.sealed.clone()).collect());
        }
        group.clear();
    };
    for candidate in candidates {
        let takes_part = candidate.compacted > 0
            || candidate.live.saturating_mul(2) <= candidate.sealed.bytes
            || candidate.sealed.bytes.saturating_mul(SMALL) <= segment_bytes
                && candidate.live < u64::MAX;
        if !takes_part {
            close(&mut group);
            continue;
        }
        let together: u64 = group.iter().map(|it| it.live).sum();
        if !group.is_empty() && together.saturating_add(candidate.live) > segment_bytes {
            close(&mut group);
        }
        group.push(candidate);
    }
    close(&mut group);
    groups
}

fn is_worth_it(group: &[Candidate]) -> bool {
    let Some(first) = group.first() else {
        return false;
    };
    if group.iter().any(|it| it.compacted > 0) || group.len() >= MANY {
        return true;
    }
    // What is kept beside the batches: the header, a snapshot, and a manifest for each frame.
    let snapshot = snapshot_end(&first.sealed.segment).unwrap_or(FRAMES as u64);
    let live: u64 = group.iter().map(|it| it.live).sum();
    let bytes: u64 = group.iter().map(|it| it.sealed.bytes).sum();
    (snapshot + live + live / 8).saturating_mul(2) <= bytes
}

fn snapshot_end(segment: &Segment) -> Option<u64> {
    let mut bytes = [0; FRAMES];
    segment.file.read_at(&mut bytes, 0).ok()?;
    let (header, _) = super::segment::Header::decode(&bytes)?;
    Some(header.snapshot_end)
}
