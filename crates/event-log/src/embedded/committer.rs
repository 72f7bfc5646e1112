//! The thread that writes one journal.
//!
//! It takes whatever is queued as one group, judges each request in order, writes the accepted ones
//! as consecutive frames, syncs once, publishes, and then answers everybody. With nothing queued it
//! sleeps on the queue.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::books::Books;
use super::catalog::Identity;
use super::cleaner::{Sealed, Tidied, Wake};
use super::frame::{self, Kind, Salt, Stamp};
use super::index::{Batches, Run};
use super::journal::{Full, Journal};
use super::retention::{self, Age, Retention};
use super::rewrite::Rewritten;
use super::{sealing, wire};
use crate::ledger::{Change, Judged};
use crate::{
    Appended, ConsumerId, Epoch, Error, Offset, OwnerId, Permit, ProducerIdentity, RecordBatch,
    Settled, Settlement, Topic, TopicConfig, TopicName, TopicPartition, TopicSettings,
    TransactionStep, TransactionalId,
};

/// Bytes after which a group is closed: a sync costs about as much as writing this much.
const GROUP_BYTES: usize = 4 << 20;
/// Bytes of a frame beside what its request brings along; a topic's name is among them.
const FRAME_BYTES: usize = 1024;
/// Bytes that the end of a checkpoint takes beside its consumer's name.
const FORGOTTEN_BYTES: usize = 32;

pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A request to a committer.
#[derive(Debug)]
pub(super) enum Command {
    Settle(Settlement, Permit, Reply<Settled>),
    CreateTopic(TopicName, TopicConfig, Reply<Topic>),
    DeleteTopic(TopicName, Reply<()>),
    ConfigureTopic(TopicName, TopicSettings, Reply<Topic>),
    /// To so many partitions in all.
    GrowTopic(TopicName, u32, Reply<Topic>),
    DeleteRecords(TopicPartition, Offset, Reply<()>),
    ForgetConsumer(ConsumerId, Reply<()>),
    /// Those that are in the revisions named.
    ForgetCheckpoints(
        ConsumerId,
        Vec<(TopicPartition, u64)>,
        Reply<Vec<TopicPartition>>,
    ),
    OpenEpoch(OwnerId, Reply<Epoch>),
    ProducerId(Reply<i64>),
    Transact(TransactionalId, TransactionStep, Reply<ProducerIdentity>),
    /// Drop what has passed its retention.
    Tidy(Reply<Tidied>),
    /// Put a rewritten segment in its place.
    Install(Box<Rewritten>, Reply<()>),
    /// Answered when everything queued before it is finished.
    Barrier(Reply<()>),
}

/// Tells a caller how its request ended, or that the whole group found no room.
type Answer = Box<dyn FnOnce(Option<&Full>)>;

#[derive(Debug)]
pub(super) struct Committer {
    pub(super) books: Arc<Books>,
    pub(super) journal: Journal,
    pub(super) queue: mpsc::Receiver<Command>,
    pub(super) retention: Retention,
    pub(super) disk: DiskIs,
    pub(super) cleaner: Wake,
    pub(super) room: Room,
}

/// Whether a request may have left records behind that nobody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    AsBefore,
    MayBeWon,
}

/// Whether the last group found room; a change is logged, not each refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DiskIs {
    Roomy,
    Full,
}

/// A committer that panics leaves a log that answers nobody: the process ends instead.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a committer of the log panicked; the process ends");
            std::process::abort();
        }
    }
}

impl Command {
    /// Bytes that the request takes in the journal at most.
    fn weight(&self, books: &Books) -> usize {
        FRAME_BYTES
            + match self {
                Self::Settle(settlement, ..) => settlement.bytes() + wire::weight(settlement),
                Self::ForgetConsumer(consumer, _) => consumer.as_str().len(),
                Self::ForgetCheckpoints(consumer, revisions, _) => {
                    revisions.len() * (consumer.as_str().len() + FORGOTTEN_BYTES)
                }
                Self::OpenEpoch(owner, _) => owner.as_str().len(),
                Self::Transact(id, step, _) => {
                    books.accepted(|ledger| ledger.weight_of_step(id, step))
                }
                Self::CreateTopic(..)
                | Self::DeleteTopic(..)
                | Self::ConfigureTopic(..)
                | Self::GrowTopic(..)
                | Self::DeleteRecords(..)
                | Self::ProducerId(_)
                | Self::Tidy(_)
                | Self::Install(..)
                | Self::Barrier(_) => 0,
            }
    }

    /// Whether it is done between groups.
    fn is_upkeep(&self) -> bool {
        matches!(self, Self::Tidy(_) | Self::Install(..))
    }

    /// Whether records may be without need after it.
    fn frees(&self) -> bool {
        matches!(
            self,
            Self::DeleteTopic(..)
                | Self::ConfigureTopic(..)
                | Self::DeleteRecords(..)
                | Self::ForgetConsumer(..)
                | Self::ForgetCheckpoints(..)
        )
    }

    fn refuse(self, full: &Full) {
        match self {
            Self::Settle(_, permit, reply) => {
                drop(permit);
                drop(reply.send(Err(full.error())));
            }
            Self::CreateTopic(_, _, reply)
            | Self::ConfigureTopic(_, _, reply)
            | Self::GrowTopic(_, _, reply) => drop(reply.send(Err(full.error()))),
            Self::DeleteTopic(_, reply)
            | Self::DeleteRecords(_, _, reply)
            | Self::ForgetConsumer(_, reply) => drop(reply.send(Err(full.error()))),
            Self::ForgetCheckpoints(_, _, reply) => drop(reply.send(Err(full.error()))),
            Self::OpenEpoch(_, reply) => drop(reply.send(Err(full.error()))),
            Self::ProducerId(reply) => drop(reply.send(Err(full.error()))),
            Self::Transact(_, _, reply) => drop(reply.send(Err(full.error()))),
            Self::Tidy(reply) => drop(reply.send(Err(full.error()))),
            Self::Install(_, reply) => drop(reply.send(Err(full.error()))),
            Self::Barrier(reply) => drop(reply.send(Ok(()))),
        }
    }
}

impl Full {
    fn error(&self) -> Error {
        let code = self.0.raw_os_error();
        Error::Full {
            source: code.map_or_else(|| self.0.kind().into(), io::Error::from_raw_os_error),
        }
    }
}

/// The frames of a group, in one buffer.
struct Draft {
    bytes: Vec<u8>,
    places: Vec<u64>,
    frames: u64,
    /// Where the buffer goes in its segment.
    position: u64,
    first_frame: u64,
    salt: Salt,
    answers: Vec<Answer>,
}

impl Draft {
    fn frame<'a>(
        &mut self,
        changes: &[Change],
        batches: impl Iterator<Item = (Offset, &'a RecordBatch)>,
    ) {
        if changes.is_empty() {
            return;
        }
        let stamp = Stamp {
            kind: Kind::Changes,
            sequence: self.first_frame + self.frames,
            synced: self.position,
            salt: self.salt,
        };
        let places = frame::put(&mut self.bytes, stamp, changes, batches);
        let position = self.position;
        self.places
            .extend(places.into_iter().map(|at| position + at as u64));
        self.frames += 1;
    }

    /// Frames a request without batches.
    fn note<T: 'static>(&mut self, judged: Result<Judged<T>, Error>, reply: Reply<T>) -> Answer {
        if let Ok(judged) = &judged {
            self.frame(&judged.changes, std::iter::empty());
        }
        answer(
            reply,
            judged.map(|judged| judged.answer),
            Permit::unbounded(),
        )
    }
}

fn answer<T: 'static>(reply: Reply<T>, result: Result<T, Error>, permit: Permit) -> Answer {
    Box::new(move |full| {
        let result = match full {
            None => result,
            Some(full) => result.and_then(|_| Err(full.error())),
        };
        drop(permit);
        // A caller that has gone does not want to know.
        let _ = reply.send(result);
    })
}

impl Committer {
    /// Works until every sender is gone and the queue is empty.
    pub(super) fn run(mut self) {
        let _guard = EndOnPanic;
        let mut next = None;
        while let Some(first) = next.take().or_else(|| self.queue.blocking_recv()) {
            let Some(first) = self.keep_up(first) else {
                continue;
            };
            let mut weight = first.weight(&self.books);
            let mut group = vec![first];
            while weight < GROUP_BYTES
                && let Ok(command) = self.queue.try_recv()
            {
                if command.is_upkeep() {
                    next = Some(command);
                    break;
                }
                weight += command.weight(&self.books);
                group.push(command);
            }
            metrics::histogram!("tidemill_log_group_size").record(group.len() as f64);
            self.commit(group, weight as u64);
        }
        self.journal.finish();
    }

    fn commit(&mut self, group: Vec<Command>, weight: u64) {
        if let Err(full) = self.make_room(weight) {
            self.note_room(Some(&full));
            return group.into_iter().for_each(|command| command.refuse(&full));
        }
        let active = self.journal.with_room(weight).expect("room was just made");
        let segment = Arc::clone(&active.segment);
        let mut draft = Draft {
            bytes: Vec::with_capacity(usize::try_from(weight).unwrap_or_default()),
            places: Vec::new(),
            frames: 0,
            position: self.journal.position,
            first_frame: self.journal.next_frame,
            salt: active.salt,
            answers: Vec::with_capacity(group.len()),
        };
        for command in group {
            self.accept(command, &mut draft);
        }
        let home = self.journal.lifetime;
        let bytes = draft.bytes.len() as u64;
        debug_assert!(bytes <= weight, "requests weigh at least what they take");
        let written = match draft.frames {
            0 => Ok(()),
            frames => self.journal.append(&mut draft.bytes, frames),
        };
        self.note_room(written.as_ref().err());
        if written.is_err() {
            self.books.roll_back(home);
        } else {
            self.books.publish(home, &segment, &draft.places);
            metrics::counter!("tidemill_log_appends_total").increment(draft.places.len() as u64);
            metrics::counter!("tidemill_log_bytes_total").increment(bytes);
        }
        for answer in draft.answers {
            answer(written.as_ref().err());
        }
        if std::mem::replace(&mut self.room, Room::AsBefore) == Room::MayBeWon {
            self.cleaner.wake();
        }
    }

    fn note_room(&mut self, full: Option<&Full>) {
        let before = self.disk;
        self.disk = if full.is_some() {
            DiskIs::Full
        } else {
            DiskIs::Roomy
        };
        match (before, full) {
            (DiskIs::Roomy, Some(Full(error))) => {
                tracing::error!(%error, "the disk has no room for the log; writes are refused");
            }
            (DiskIs::Full, None) => tracing::info!("the disk has room for the log again"),
            (DiskIs::Roomy, None) | (DiskIs::Full, Some(_)) => {}
        }
    }

    /// Sees to it that the active segment has room for `weight` bytes.
    fn make_room(&mut self, weight: u64) -> Result<(), Full> {
        if self.journal.with_room(weight).is_some() {
            return Ok(());
        }
        let home = self.journal.lifetime;
        let snapshot = self.books.published(|ledger| ledger.snapshot(home));
        let mut rolled = self.roll(&snapshot, weight);
        let applied = retention::apply(&mut self.journal, &self.books, self.retention);
        if rolled.is_err() && applied.dropped > 0 {
            rolled = self.roll(&snapshot, weight);
        }
        rolled
    }

    fn roll(&mut self, snapshot: &[Change], weight: u64) -> Result<(), Full> {
        if let Some(sealed) = self.journal.roll(snapshot, weight)? {
            sealing::catalogue(&self.journal, &self.books, sealed);
            self.cleaner.wake();
        }
        Ok(())
    }

    /// Does what the cleaner asks for, between groups; gives any other request back.
    fn keep_up(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Tidy(reply) => {
                // A cleaner that has gone does not want to know.
                let _ = reply.send(Ok(self.tidy()));
                None
            }
            Command::Install(rewritten, reply) => {
                let _ = reply.send(self.install(&rewritten));
                None
            }
            other => Some(other),
        }
    }

    fn tidy(&mut self) -> Tidied {
        let mut applied = retention::apply(&mut self.journal, &self.books, self.retention);
        let home = self.journal.lifetime;
        let snapshot = || self.books.published(|ledger| ledger.snapshot(home));
        if applied.active == Age::Old {
            let snapshot = snapshot();
            match self.roll(&snapshot, 0) {
                Ok(()) => {
                    applied = retention::apply(&mut self.journal, &self.books, self.retention);
                }
                Err(full) => self.note_room(Some(&full)),
            }
        }
        let segments = &self.journal.segments;
        let pairs = segments.iter().zip(segments.iter().skip(1));
        let sealed = pairs.map(|(held, next)| Sealed {
            segment: Arc::clone(&held.segment),
            through: held.through,
            bytes: held.bytes,
            sealed_at: next.created,
        });
        Tidied {
            due: applied.due,
            // The last one may have to tell what the snapshot after it says.
            sealed: sealed.take(segments.len().saturating_sub(2)).collect(),
            now: self.journal.clock.now(),
        }
    }

    fn install(&mut self, rewritten: &Rewritten) -> Result<(), Error> {
        let installed = self.journal.install(rewritten);
        let installed = installed.map_err(|source| Error::Io {
            act: format!("put the rewritten {} in its place", rewritten.segment.name),
            source,
        })?;
        let (Some(segment), Some(first), Some(last)) = (
            installed,
            rewritten.replaces.first(),
            rewritten.replaces.last(),
        ) else {
            return Ok(());
        };
        let home = self.journal.lifetime;
        for (key, partition) in self.books.partitions(home) {
            let Some((summary, entries)) = rewritten.contents.get(&key) else {
                continue;
            };
            let run = Run {
                segment: Arc::clone(&segment),
                summary: *summary,
                batches: Batches::Kept(Arc::clone(entries)),
            };
            partition.index.write().replace(*first, *last, run);
        }
        let identity = Identity {
            number: segment.number,
            salt: rewritten.header.salt,
            end: rewritten.header.sealed_end,
        };
        sealing::catalogue(&self.journal, &self.books, identity);
        Ok(())
    }

    fn accept(&mut self, command: Command, draft: &mut Draft) {
        let home = self.journal.lifetime;
        if command.frees() {
            self.room = Room::MayBeWon;
        }
        let answer = match command {
            Command::Settle(settlement, permit, reply) => {
                let judged = self.books.accept(home, |ledger| {
                    if ledger.home_of(&settlement)? != home {
                        return Err(Error::InvalidSettlement {
                            reason: "what it refers to has just moved to the other journal"
                                .to_owned(),
                        });
                    }
                    ledger.judge_settlement(&settlement)
                });
                if let Ok(judged) = &judged {
                    let appends = settlement.appends.iter().zip(&judged.answer.appended);
                    let written = appends.filter_map(|(append, appended)| match appended {
                        Appended::At(base) => Some((*base, &append.batch)),
                        Appended::Duplicate(_) => None,
                    });
                    draft.frame(&judged.changes, written);
                }
                answer(reply, judged.map(|judged| judged.answer), permit)
            }
            Command::CreateTopic(name, config, reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| ledger.judge_creation(&name, config));
                draft.note(judged, reply)
            }
            Command::DeleteTopic(name, reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| ledger.judge_deletion(&name, home));
                draft.note(judged, reply)
            }
            Command::ConfigureTopic(name, settings, reply) => {
                let judged = self.books.accept(home, |ledger| {
                    ledger.judge_configuration(&name, settings, home)
                });
                draft.note(judged, reply)
            }
            Command::GrowTopic(name, partitions, reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| ledger.judge_growth(&name, partitions, home));
                draft.note(judged, reply)
            }
            Command::DeleteRecords(place, before, reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| ledger.judge_trimming(&place, before, home));
                draft.note(judged, reply)
            }
            Command::ForgetConsumer(consumer, reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| Ok(ledger.judge_forgetting(&consumer, home)));
                draft.note(judged, reply)
            }
            Command::ForgetCheckpoints(consumer, revisions, reply) => {
                let judged = self.books.accept(home, |ledger| {
                    Ok(ledger.judge_forgetting_some(&consumer, &revisions, home))
                });
                draft.note(judged, reply)
            }
            Command::OpenEpoch(owner, reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| Ok(ledger.judge_epoch(&owner)));
                draft.note(judged, reply)
            }
            Command::ProducerId(reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| Ok(ledger.judge_producer_id()));
                draft.note(judged, reply)
            }
            Command::Transact(id, step, reply) => {
                let judged = self
                    .books
                    .accept(home, |ledger| ledger.judge_step(&id, &step));
                if let Ok(judged) = &judged {
                    let markers = judged.answer.markers.iter();
                    let markers = markers.map(|(_, base, batch)| (*base, batch));
                    draft.frame(&judged.changes, markers);
                }
                let producer = judged.map(|judged| judged.answer.producer);
                answer(reply, producer, Permit::unbounded())
            }
            Command::Barrier(reply) => answer(reply, Ok(()), Permit::unbounded()),
            Command::Tidy(_) | Command::Install(..) => {
                unreachable!("upkeep is done between groups")
            }
        };
        draft.answers.push(answer);
    }
}
