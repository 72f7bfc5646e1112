//! The one writer of the node: takes what is queued, judges it, and commits it in one transaction.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset as At, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{Clients, Names, PATIENCE, TICK};
use super::draft::{Answer, Draft, Of, Touched};
use super::fact::Fact;
use super::member::{Membership, Standing};
use super::places::{Places, offset};
use super::transaction::{Outcome, Scribe};
use crate::{
    Appended, ConsumerId, Epoch, Error, OwnerId, Permit, Settled, Settlement, TopicConfig,
    TopicName,
};

/// Requests that may wait. Bytes are bounded by the write budget.
const QUEUED: usize = 4096;
/// Records of one transaction at most, roughly: more would hold those up that come after.
const RECORDS: usize = 20_000;
/// Pauses of a cluster that cannot be written to double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the committer is asked for.
pub(super) enum Command {
    Settle(Settlement, Permit, Reply<Settled>),
    OpenEpoch(OwnerId, Reply<Epoch>),
    Forget(ConsumerId, Reply<()>),
    ConfigureTopic(TopicName, Option<TopicConfig>, Reply<()>),
    /// The topic's incarnation of that number is no more, or soon will be.
    EndTopic(TopicName, u64, Reply<()>),
    /// Writes the node's run down.
    Enter(Reply<()>),
    /// Nothing: there may be shards to take.
    Wake,
}

/// The way to the committer.
#[derive(Clone, Debug)]
pub(super) struct Queue(mpsc::Sender<Command>);

pub(super) struct Committer {
    clients: Clients,
    names: Names,
    membership: Arc<Membership>,
    places: Arc<Places>,
    timeout: Duration,
    clock: SharedClock,
    queue: mpsc::Receiver<Command>,
    scribe: Option<Scribe>,
    /// Requests that wait for an earlier one, or for the cluster.
    deferred: VecDeque<Command>,
    pause: Duration,
    /// The term whose shards have been taken.
    taken: u64,
}

pub(super) fn queue() -> (Queue, mpsc::Receiver<Command>) {
    let (sender, receiver) = mpsc::channel(QUEUED);
    (Queue(sender), receiver)
}

impl Queue {
    pub(super) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(command(reply)).await;
        sent.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Asks for something whose answer nobody waits for; a full queue drops it.
    pub(super) fn put(&self, command: Command) {
        let _ = self.0.try_send(command);
    }

    /// Has the committer look whether there is something to take. A full queue keeps it awake.
    pub(super) fn wake(&self) {
        let _ = self.0.try_send(Command::Wake);
    }
}

impl Committer {
    pub(super) fn new(
        clients: Clients,
        names: Names,
        membership: Arc<Membership>,
        places: Arc<Places>,
        timeout: Duration,
        clock: SharedClock,
        queue: mpsc::Receiver<Command>,
    ) -> Result<Self, KafkaError> {
        let scribe = Scribe::open(&clients, Arc::clone(&names.shards), timeout)?;
        Ok(Self {
            clients,
            names,
            membership,
            places,
            timeout,
            clock,
            queue,
            scribe: Some(scribe),
            deferred: VecDeque::new(),
            pause: FIRST_PAUSE,
            taken: 0,
        })
    }

    /// Works until `stop`; what is queued then is answered with [`Error::Closed`].
    pub(super) fn run(mut self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if self.deferred.is_empty() {
                match self.queue.blocking_recv() {
                    Some(command) => self.deferred.push_back(command),
                    None => return,
                }
            }
            while self.deferred.len() < QUEUED
                && let Ok(command) = self.queue.try_recv()
            {
                self.deferred.push_back(command);
            }
            self.round(stop);
        }
    }

    /// Commits as much of what waits as one transaction can hold.
    fn round(&mut self, stop: &CancellationToken) {
        if self.membership.is_superseded() {
            for command in self.deferred.drain(..) {
                let node = self.membership.node.clone();
                command.refuse(Error::Superseded { node });
            }
            return;
        }
        let standing = self.membership.standing();
        let drafts = self.drafts(&standing);
        if drafts.is_empty() {
            return;
        }
        let Some(scribe) = self.scribe() else {
            self.later(drafts, stop);
            return;
        };
        match scribe.write(&drafts, &standing, stop) {
            Outcome::Committed(offsets) => self.committed(drafts, &offsets, &standing),
            Outcome::Refused(mut refused) => {
                let mut kept = Vec::new();
                for (at, draft) in drafts.into_iter().enumerate() {
                    match refused.remove(&at) {
                        Some(reason) => draft.command.refuse(reason),
                        None => kept.push(draft),
                    }
                }
                self.again(kept);
            }
            Outcome::Stale => {
                self.again(drafts);
                self.membership.wait_beyond(standing.term, LONGEST_PAUSE);
            }
            Outcome::Later(error) => {
                tracing::warn!(%error, "the log waits for the Kafka cluster");
                self.later(drafts, stop);
            }
            Outcome::Broken(error, offsets) => {
                tracing::warn!(%error, "the log's producer is made anew");
                self.scribe = None;
                self.find_out(drafts, offsets, &standing, stop);
            }
        }
    }

    /// What may be committed together, and was found to be allowed.
    fn drafts(&mut self, standing: &Standing) -> Vec<Draft> {
        let mut drafts = Vec::new();
        if standing.term > self.taken && standing.assigned != standing.held {
            let holder = self.membership.holder(standing.term);
            drafts.push(Draft::take(standing, &holder, &self.names));
        }
        let (mut touched, mut records) = (Touched::default(), 0);
        let mut waiting = VecDeque::new();
        while let Some(command) = self.deferred.pop_front() {
            match command {
                Command::Wake => {}
                Command::Settle(settlement, permit, reply) => {
                    let drafted = self.membership.with(|view| {
                        if touched.by(&settlement, view) || records > RECORDS {
                            return None;
                        }
                        Some(Draft::settlement(
                            &settlement,
                            view,
                            standing,
                            &self.names,
                            self.clock.now(),
                        ))
                    });
                    match drafted {
                        None => waiting.push_back(Command::Settle(settlement, permit, reply)),
                        Some(Err(error)) => drop(reply.send(Err(error))),
                        Some(Ok((outputs, ..))) if outputs.is_empty() => {
                            drop(reply.send(Ok(Settled::default())));
                        }
                        Some(Ok((outputs, needs, answer))) => {
                            records += outputs.len();
                            drafts.push(Draft {
                                command: Command::Settle(settlement, permit, reply),
                                outputs,
                                needs,
                                answer,
                            });
                        }
                    }
                }
                // On its own: what comes after it is judged by what it has changed.
                other if drafts.is_empty() && waiting.is_empty() => {
                    drafts.extend(self.draft(other, standing));
                    break;
                }
                other => {
                    waiting.push_back(other);
                    break;
                }
            }
        }
        waiting.append(&mut self.deferred);
        self.deferred = waiting;
        drafts
    }

    fn draft(&self, command: Command, standing: &Standing) -> Option<Draft> {
        let names = &self.names;
        let node = &self.membership.node;
        let (outputs, needs, answer) = self.membership.with(|view| match &command {
            Command::OpenEpoch(owner, _) => Draft::epoch(owner, view, node, names),
            Command::Forget(consumer, _) => Draft::forgetting(consumer, view, standing, names),
            Command::ConfigureTopic(name, config, _) => {
                Draft::configuration(name, *config, view, names)
            }
            Command::EndTopic(name, incarnation, _) => {
                Draft::ending(name, *incarnation, view, standing, names)
            }
            Command::Enter(_) => {
                let (node, run) = (node.clone(), self.membership.run);
                Draft::entry(Fact::Node { node, run }, names)
            }
            Command::Settle(..) | Command::Wake => (Vec::new(), Default::default(), Answer::Done),
        });
        if outputs.is_empty() {
            command.done(None, Vec::new());
            return None;
        }
        Some(Draft {
            command,
            outputs,
            needs,
            answer,
        })
    }

    fn committed(&mut self, drafts: Vec<Draft>, offsets: &[i64], standing: &Standing) {
        self.pause = FIRST_PAUSE;
        let mut offsets = offsets.iter().copied();
        for draft in drafts {
            let at: Vec<i64> = offsets.by_ref().take(draft.outputs.len()).collect();
            for (output, at) in draft.outputs.iter().zip(&at) {
                match &output.of {
                    // These say that everything before them has been read: the follower's to learn.
                    Of::Fact(Fact::Holder { .. }) => self.taken = standing.term,
                    Of::Fact(Fact::Node { .. }) => {}
                    Of::Fact(fact) => self.membership.learn(fact, *at),
                    Of::Place(place) => {
                        if let Some(place) = self.places.get(place) {
                            place.reaches(offset(*at).next());
                        }
                    }
                }
            }
            let appended = match &draft.answer {
                Answer::Settled(firsts) => firsts
                    .iter()
                    .map(|first| Appended::At(offset(at[*first])))
                    .collect(),
                Answer::Epoch(_) | Answer::Done => Vec::new(),
            };
            let epoch = match draft.answer {
                Answer::Epoch(epoch) => Some(epoch),
                Answer::Settled(_) | Answer::Done => None,
            };
            draft.command.done(epoch, appended);
        }
    }

    /// Puts requests back to the front, to be judged again.
    fn again(&mut self, drafts: Vec<Draft>) {
        for draft in drafts.into_iter().rev() {
            self.deferred.push_front(draft.command);
        }
    }

    fn later(&mut self, drafts: Vec<Draft>, stop: &CancellationToken) {
        self.again(drafts);
        self.rest(stop);
    }

    /// Leaves the cluster alone for a while.
    fn rest(&mut self, stop: &CancellationToken) {
        let until = Instant::now() + self.pause;
        while Instant::now() < until && !stop.is_cancelled() {
            let term = self.membership.standing().term;
            self.membership.wait_beyond(term, TICK.min(self.pause));
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn scribe(&mut self) -> Option<&Scribe> {
        if self.scribe.is_none() {
            let shards = Arc::clone(&self.names.shards);
            match Scribe::open(&self.clients, shards, self.timeout) {
                Ok(scribe) => self.scribe = Some(scribe),
                Err(error) => {
                    tracing::warn!(%error, "the log waits for the Kafka cluster");
                }
            }
        }
        self.scribe.as_ref()
    }

    /// After a commit whose answer is not known: a new producer has every transaction of the old
    /// one decided, and then the log itself tells which way.
    fn find_out(
        &mut self,
        drafts: Vec<Draft>,
        offsets: Option<Vec<i64>>,
        standing: &Standing,
        stop: &CancellationToken,
    ) {
        let Some(offsets) = offsets else {
            self.later(drafts, stop);
            return;
        };
        let first = drafts.iter().flat_map(|draft| &draft.outputs).next();
        let Some((topic, partition)) = first.map(|it| (Arc::clone(&it.topic), it.partition)) else {
            return;
        };
        while !stop.is_cancelled() && !self.membership.is_superseded() {
            if self.scribe().is_none() {
                self.rest(stop);
                continue;
            }
            match self.stands(&topic, partition, offsets[0]) {
                Ok(true) => {
                    self.committed(drafts, &offsets, standing);
                    return;
                }
                Ok(false) => {
                    self.again(drafts);
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "the log asks the Kafka cluster what was committed");
                    self.rest(stop);
                }
            }
        }
        self.again(drafts);
    }

    /// Whether a committed record stands at that offset, once no transaction is open below it.
    fn stands(&self, topic: &str, partition: i32, at: i64) -> Result<bool, KafkaError> {
        let reader: BaseConsumer = self.clients.reader(TICK).create()?;
        let (first, end) = reader.fetch_watermarks(topic, partition, PATIENCE)?;
        if end <= at {
            return Err(KafkaError::NoMessageReceived);
        }
        if first > at {
            // Retention was quicker than we were; it takes nothing that is not decided.
            return Ok(true);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, At::Offset(at))?;
        reader.assign(&list)?;
        match reader.poll(PATIENCE) {
            Some(Ok(message)) => Ok(message.offset() == at),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(false),
            Some(Err(error)) => Err(error),
            None => Err(KafkaError::NoMessageReceived),
        }
    }
}

impl Command {
    fn refuse(self, error: Error) {
        match self {
            Self::Settle(_, _, reply) => drop(reply.send(Err(error))),
            Self::OpenEpoch(_, reply) => drop(reply.send(Err(error))),
            Self::Forget(_, reply)
            | Self::ConfigureTopic(_, _, reply)
            | Self::EndTopic(_, _, reply)
            | Self::Enter(reply) => drop(reply.send(Err(error))),
            Self::Wake => {}
        }
    }

    fn done(self, epoch: Option<Epoch>, appended: Vec<Appended>) {
        match self {
            Self::Settle(_, _, reply) => drop(reply.send(Ok(Settled { appended }))),
            Self::OpenEpoch(_, reply) => {
                drop(reply.send(epoch.ok_or(Error::Closed)));
            }
            Self::Forget(_, reply)
            | Self::ConfigureTopic(_, _, reply)
            | Self::EndTopic(_, _, reply)
            | Self::Enter(reply) => drop(reply.send(Ok(()))),
            Self::Wake => {}
        }
    }
}
