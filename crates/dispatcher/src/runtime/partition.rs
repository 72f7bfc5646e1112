//! The task that works off one partition for one feed.
//!
//! It feeds the schedule with what happens and does what the schedule decides. Reads, flights and
//! settlements run beside it in one set of tasks that ends with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use event_log::{Checkpoint, CheckpointUpdate, Error, Offset, Rule, Settlement, TopicPartition};
use function::StartingPosition;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::feed::Feed;
use super::flight::{Departure, Flown, error_text, instant_of};
use super::reading::{self, Fetched};
use super::settling::Outgoing;
use super::shelf::Shelf;
use crate::Tallies;
use crate::schedule::{Flight, FlightId, Input, Schedule, Settle, Step};

/// How the work on a partition ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// It was told to stop; everything that had ended is settled.
    Stopped,
    /// The topic was deleted.
    TopicGone,
    /// Another node works on it now; what had not been settled is for that node to find.
    Moved,
    /// It cannot go on.
    Failed(Failure),
}

/// Why a partition cannot be worked on.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) cure: Cure,
}

/// What may end a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cure {
    /// The log may be able to read and write again later.
    Time,
    /// Nothing but a change of the trigger or its topic.
    Change,
}

/// How the work on a partition is told to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    /// The server stops: what runs is waited for as long as the drain setting says.
    pub(super) shutdown: CancellationToken,
    /// The trigger has changed or is gone: what runs may end.
    pub(super) replace: CancellationToken,
    /// The node does not hold this work any more: nothing that still runs could be settled.
    pub(super) moved: CancellationToken,
}

/// Why the loop ends early.
enum Halt {
    TopicGone,
    Moved,
    Failed(Failure),
}

/// The work on one partition.
pub(super) struct PartitionTask {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    place: TopicPartition,
    schedule: Schedule,
    shelf: Shelf,
    tail: watch::Receiver<Offset>,
    tasks: JoinSet<Done>,
    fetching: bool,
    aloft: BTreeMap<FlightId, Aloft>,
    /// Flights that have ended and are not settled.
    flown: BTreeMap<FlightId, Flown>,
    /// What the settlement under way makes true.
    settling: Option<Settling>,
    revision: u64,
    settled: Tallies,
    settled_to: Offset,
    /// Cancelled when nothing more is to be begun.
    halt: CancellationToken,
    /// Cancelled when what still runs is cut off.
    last_call: CancellationToken,
}

struct Aloft {
    task: AbortHandle,
    started: Arc<AtomicBool>,
    /// Whether the schedule knows that the attempt has begun.
    told: bool,
}

struct Settling {
    next: Offset,
    tallies: Tallies,
}

enum Done {
    Fetched(Result<Fetched, Error>),
    Flown(Box<Flown>),
    Settled(Result<(), Error>),
}

impl PartitionTask {
    /// Works until `stop`, then drains.
    pub(super) async fn work(
        shared: Arc<Shared>,
        feed: Arc<Feed>,
        place: TopicPartition,
        stop: Stop,
    ) -> Ended {
        let key = (feed.id(), place.clone());
        let status = shared.status.clone();
        let ended = match Self::open(shared, feed, place).await {
            Ok(task) => task.run(stop).await,
            Err(halt) => halt.into(),
        };
        match &ended {
            Ended::Stopped | Ended::TopicGone | Ended::Moved => status.remove(&key),
            Ended::Failed(Failure { reason, .. }) => {
                tracing::error!(partition = %key.1, reason, "the work on a partition has stopped");
                status.set(&key, |entry| {
                    entry.last_result = super::status::problem(reason);
                });
            }
        }
        ended
    }

    async fn open(
        shared: Arc<Shared>,
        feed: Arc<Feed>,
        place: TopicPartition,
    ) -> Result<Self, Halt> {
        let parts = shared.parts();
        let tail = parts.log.tail(&place).map_err(Halt::from)?;
        let checkpoint = match parts.log.checkpoint(&feed.consumer(), &place) {
            Some(checkpoint) => checkpoint,
            None => first_checkpoint(&shared, &feed, &place)
                .await
                .map_err(Halt::from)?,
        };
        let policy = feed.policy(&parts.settings);
        let schedule = Schedule::resume(policy, &checkpoint, parts.clock.now())
            .map_err(|error| Halt::Failed(Failure::until_changed(&error)))?;
        let settled = schedule.tallies();
        shared.status.set(&(feed.id(), place.clone()), |entry| {
            entry.next = checkpoint.next;
            entry.tallies = settled;
        });
        Ok(Self {
            shelf: Shelf::new(Arc::clone(&shared)),
            shared,
            feed,
            place,
            schedule,
            tail,
            tasks: JoinSet::new(),
            fetching: false,
            aloft: BTreeMap::new(),
            flown: BTreeMap::new(),
            settling: None,
            revision: checkpoint.revision,
            settled,
            settled_to: checkpoint.next,
            halt: CancellationToken::new(),
            last_call: CancellationToken::new(),
        })
    }

    async fn run(mut self, stop: Stop) -> Ended {
        // What the checkpoint shows as cut off is settled before anything else.
        self.step(Input::TimeReached);
        let mut drain_until: Option<Instant> = None;
        let mut shutting_down = false;
        loop {
            let at_end = self.read_on();
            if drain_until.is_some() && self.schedule.is_at_rest() {
                return Ended::Stopped;
            }
            let wake = self.schedule.wake_at(self.now());
            let timer = wake.map(|at| instant_of(at, self.now()));
            let happened = tokio::select! {
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.done(done)
                }
                changed = self.tail.changed(), if at_end => {
                    changed.map_err(|_| Halt::TopicGone)
                }
                () = until(timer) => {
                    // The wall clock may have been set back: the time has been waited for all the same.
                    self.step_at(Input::TimeReached, wake.unwrap_or_default().max(self.now()));
                    Ok(())
                }
                () = stop.moved.cancelled() => Err(Halt::Moved),
                () = stop.shutdown.cancelled(), if !shutting_down => {
                    shutting_down = true;
                    let within = Instant::now() + self.shared.parts().settings.drain;
                    drain_until = Some(drain_until.map_or(within, |until| within.min(until)));
                    self.begin_nothing_more();
                    Ok(())
                }
                () = stop.replace.cancelled(), if drain_until.is_none() => {
                    drain_until = Some(Instant::now() + self.longest_run());
                    self.begin_nothing_more();
                    Ok(())
                }
                () = until(drain_until), if !self.last_call.is_cancelled() => {
                    self.cut_off();
                    Ok(())
                }
            };
            if let Err(halt) = happened {
                return halt.into();
            }
        }
    }

    fn begin_nothing_more(&mut self) {
        self.halt.cancel();
        self.step(Input::StopIntake);
    }

    /// How long what runs may take to its end: the longest timeout of the function's
    /// versions, and the drain setting for
    /// what comes before and after.
    fn longest_run(&self) -> Duration {
        let parts = self.shared.parts();
        let target = self.feed.function_of(&[]);
        // Whichever version an alias has chosen, or pointed at when the run began.
        let versions = target.into_iter().flat_map(|target| {
            let latest = parts.functions.function(&target.name);
            let published = parts.functions.versions().into_iter();
            latest
                .into_iter()
                .chain(published.filter(move |version| version.name == target.name))
        });
        let timeouts = versions.map(|version| version.timeout());
        timeouts.max().unwrap_or_default() + parts.settings.drain
    }

    /// Begins to read if the schedule wants more and there is room. Says whether the end of the
    /// partition is what it waits for.
    fn read_on(&mut self) -> bool {
        if self.fetching {
            return false;
        }
        let (Some(from), Some(room)) = (self.schedule.wants(), self.shelf.room()) else {
            return false;
        };
        let end = *self.tail.borrow_and_update();
        if from >= end {
            return true;
        }
        self.fetching = true;
        let (shared, feed) = (Arc::clone(&self.shared), Arc::clone(&self.feed));
        let place = self.place.clone();
        self.tasks.spawn(async move {
            Done::Fetched(reading::fetch(shared, feed, place, from, room).await)
        });
        false
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) -> Result<(), Halt> {
        match done {
            Ok(Done::Fetched(fetched)) => {
                self.fetching = false;
                let Fetched {
                    end,
                    arrivals,
                    records,
                    unreadable,
                } = fetched?;
                for record in records {
                    self.shelf.put(record);
                }
                for (offset, reason) in unreadable {
                    self.shelf.put_unreadable(offset, reason);
                }
                self.step(Input::Fetched { end, arrivals });
            }
            Ok(Done::Flown(flown)) => self.landed(*flown),
            Ok(Done::Settled(settled)) => {
                settled?;
                self.settled();
            }
            Err(ended) if ended.is_cancelled() => {}
            Err(panicked) => return Err(Halt::Failed(Failure::until_changed(&panicked))),
        }
        Ok(())
    }

    fn landed(&mut self, flown: Flown) {
        // After it was cut off its attempt is void, whatever it says.
        if self.aloft.remove(&flown.id).is_none() {
            return;
        }
        let (id, verdict) = (flown.id, flown.verdict.clone());
        let result = flown.result.clone();
        self.shared
            .status
            .set(&self.key(), |entry| entry.last_result = result);
        self.flown.insert(id, flown);
        self.step(Input::Finished(id, verdict));
    }

    fn settled(&mut self) {
        self.revision += 1;
        if let Some(settling) = self.settling.take() {
            self.count(settling.tallies);
            self.settled = settling.tallies;
            self.settled_to = settling.next;
            self.shared.status.set(&self.key(), |entry| {
                entry.next = settling.next;
                entry.tallies = settling.tallies;
            });
        }
        self.step(Input::Settled);
        self.gauge();
    }

    /// What dashboards show of this partition; as fresh as its last settlement.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    fn gauge(&self) {
        let labels = [
            ("trigger", self.feed.label()),
            ("partition", self.place.to_string()),
        ];
        let settled = self.settled_to.get();
        let lag = self.tail.borrow().get().saturating_sub(settled);
        metrics::gauge!("tidemill_trigger_lag_events", &labels).set(lag as f64);
        let in_flight = self.schedule.in_flight();
        metrics::gauge!("tidemill_trigger_in_flight_events", &labels).set(in_flight as f64);
    }

    fn cut_off(&mut self) {
        self.last_call.cancel();
        self.tell_what_started();
        for (_, aloft) in std::mem::take(&mut self.aloft) {
            aloft.task.abort();
        }
        self.step(Input::CutOff);
    }

    fn step(&mut self, input: Input) {
        self.step_at(input, self.now());
    }

    fn step_at(&mut self, input: Input, now: Timestamp) {
        self.tell_what_started();
        let step = self.schedule.step(input, now);
        self.carry_out(step);
        let in_flight = self.schedule.in_flight();
        self.shared
            .status
            .set(&self.key(), |entry| entry.in_flight = in_flight);
        self.forget_refused();
    }

    /// Attempts begin in tasks of their own; a settlement must know which have.
    fn tell_what_started(&mut self) {
        let mut begun = Vec::new();
        for (id, aloft) in &mut self.aloft {
            if !aloft.told && aloft.started.load(Ordering::Acquire) {
                aloft.told = true;
                begun.push(*id);
            }
        }
        for id in begun {
            let step = self.schedule.step(Input::Started(id), self.now());
            self.carry_out(step);
        }
    }

    fn carry_out(&mut self, step: Step) {
        for flight in step.invoke {
            self.depart(flight);
        }
        if let Some(settle) = step.settle {
            self.settle(settle);
        }
        self.shelf.drop_all(&step.released);
    }

    fn depart(&mut self, flight: Flight) {
        let id = flight.id;
        let started = Arc::new(AtomicBool::new(false));
        let departure = Departure {
            shared: Arc::clone(&self.shared),
            feed: Arc::clone(&self.feed),
            place: self.place.clone(),
            records: self.shelf.get(flight.offsets.iter().copied()),
            flight,
            started: Arc::clone(&started),
            halt: self.halt.clone(),
        };
        let task = self
            .tasks
            .spawn(async move { Done::Flown(Box::new(departure.fly().await)) });
        let told = false;
        self.aloft.insert(
            id,
            Aloft {
                task,
                started,
                told,
            },
        );
    }

    fn settle(&mut self, settle: Settle) {
        self.settling = Some(Settling {
            next: settle.next,
            tallies: settle.tallies,
        });
        let decided = settle
            .given_up
            .iter()
            .filter_map(|given_up| given_up.flight);
        let flown = settle.finished.iter().copied().chain(decided);
        let flown = flown
            .filter_map(|id| Some((id, self.flown.remove(&id)?)))
            .collect();
        let mut given_up: Vec<_> = settle.given_up.iter().map(|it| it.offset).collect();
        given_up.sort_unstable();
        let unreadable = given_up
            .iter()
            .filter_map(|offset| Some((*offset, self.shelf.reason(*offset)?.clone())))
            .collect();
        let outgoing = Outgoing {
            shared: Arc::clone(&self.shared),
            feed: Arc::clone(&self.feed),
            place: self.place.clone(),
            flown,
            records: self.shelf.get(given_up),
            unreadable,
            settle,
            expected_revision: self.revision,
            last_call: self.last_call.clone(),
        };
        self.tasks
            .spawn(async move { Done::Settled(outgoing.write().await) });
    }

    /// A refusal leaves nothing to settle.
    fn forget_refused(&mut self) {
        self.flown
            .retain(|_, flown| flown.verdict != crate::schedule::Verdict::Refused);
    }

    fn count(&self, now: Tallies) {
        let before = self.settled;
        for (state, count) in [
            ("succeeded", now.succeeded - before.succeeded),
            ("filtered", now.filtered - before.filtered),
            ("failed", now.failed - before.failed),
            ("expired", now.expired - before.expired),
        ] {
            if count > 0 {
                metrics::counter!(
                    "tidemill_events_total", "trigger" => self.feed.label(), "state" => state
                )
                .increment(count);
            }
        }
    }

    fn key(&self) -> (Option<function::TriggerId>, TopicPartition) {
        (self.feed.id(), self.place.clone())
    }

    fn now(&self) -> Timestamp {
        self.shared.parts().clock.now()
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownTopic { .. } | Error::UnknownPartition { .. } => Self::TopicGone,
            Error::NotHeld { .. } => Self::Moved,
            Error::Io { .. } | Error::Full { .. } | Error::Unavailable { .. } => {
                Self::Failed(Failure {
                    reason: error_text(&error),
                    cure: Cure::Time,
                })
            }
            other => Self::Failed(Failure::until_changed(&other)),
        }
    }
}

impl From<Halt> for Ended {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::TopicGone => Self::TopicGone,
            Halt::Moved => Self::Moved,
            Halt::Failed(failure) => Self::Failed(failure),
        }
    }
}

impl Failure {
    fn until_changed(error: &dyn std::error::Error) -> Self {
        Self {
            reason: error_text(error),
            cure: Cure::Change,
        }
    }
}

/// Writes down where a feed without a checkpoint begins: from then on retention keeps what it has
/// to read.
async fn first_checkpoint(
    shared: &Shared,
    feed: &Feed,
    place: &TopicPartition,
) -> Result<Checkpoint, Error> {
    let log = &shared.parts().log;
    let consumer = feed.consumer();
    let settlement = Settlement {
        checkpoints: vec![CheckpointUpdate {
            consumer: consumer.clone(),
            partition: place.clone(),
            next: start(shared, feed, place).await?,
            finished_above: Vec::new(),
            metadata: Bytes::new(),
            rule: Rule::Advance {
                expected_revision: 0,
            },
        }],
        writer: Some(shared.writer.clone()),
        ..Settlement::default()
    };
    log.commit(settlement).await?;
    // The topic may have been deleted since, and its checkpoints with it.
    let written = log.checkpoint(&consumer, place);
    written.ok_or_else(|| Error::UnknownTopic {
        topic: place.topic.clone(),
    })
}

/// Where a feed without a checkpoint begins.
async fn start(shared: &Shared, feed: &Feed, place: &TopicPartition) -> Result<Offset, Error> {
    let log = &shared.parts().log;
    let bounds = log.bounds(place)?;
    let position = feed.trigger().map(|trigger| &trigger.starting_position);
    let start = match position {
        None | Some(StartingPosition::TrimHorizon) => bounds.start,
        Some(StartingPosition::Latest { ends }) => ends
            .get(&place.partition.index())
            .copied()
            .unwrap_or_default(),
        Some(StartingPosition::AtTimestamp { time }) => {
            let found = log.offset_at(place, *time).await?;
            found.map_or(bounds.end, |(offset, _)| offset)
        }
    };
    Ok(start.clamp(bounds.start, bounds.end))
}

pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
