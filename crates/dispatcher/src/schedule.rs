//! The decisions for one partition of one trigger. Pure: state, input and the time go in, a
//! [`Step`] comes out; no clock, no I/O, no randomness.
//!
//! Events arrive by offset, wait in lanes until they fit into a batch, fly, and end in exactly one
//! state (D4): succeeded, filtered, failed or expired. A batch that failed waits and flies again.
//! What has ended is settled: one settlement at a time, and whatever ends meanwhile shares the
//! next one, so that nothing waits on a timer for it.
//!
//! Invariants: a settlement's `next` is at most the lowest offset that has not ended (D1). Events of
//! one lane fly in log order, one batch at a time (D3). Every attempt that has ended is in exactly
//! one settlement (M1). `received = total of the tallies + in flight` after every step.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use clock::Timestamp;
use event_log::{Checkpoint, Offset};

mod batch;
mod fresh;
mod notes;
mod policy;
mod progress;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use batch::{Reason, Verdict};
pub use notes::Tallies;
pub(crate) use notes::{NotesError, ranges};
pub(crate) use policy::{Limits, MAX_PAYLOAD_BYTES, Pauses, Policy};

use batch::{Batch, Item, Judged, Lane};
use fresh::Fresh;
use notes::{NotedBatch, NotedState, Notes};
use progress::Progress;

/// A payload is dropped from memory when its batch waits longer than this; it is read again.
const KEEP_PAYLOAD_MILLIS: u128 = 1_000;

/// The state of one partition of one trigger.
#[derive(Debug)]
pub(crate) struct Schedule {
    policy: Policy,
    progress: Progress,
    tallies: Tallies,
    /// Events taken in that have not ended.
    unfinished: u64,
    /// Everything below has been taken in.
    cursor: u64,
    fresh: Fresh,
    /// Batches between attempts, by first offset.
    waiting: BTreeMap<u64, Batch>,
    flights: BTreeMap<FlightId, InFlight>,
    /// Events in flight by lane.
    flying: BTreeMap<Lane, usize>,
    next_flight: u64,
    recalled: Recalled,
    intake: Intake,
    unsettled: Unsettled,
    settling: bool,
}

/// Batches that the last checkpoint tells of and whose events have not arrived again yet.
#[derive(Debug, Default)]
struct Recalled {
    batches: BTreeMap<u64, NotedBatch>,
    arrived: BTreeMap<u64, Vec<Item>>,
    /// Which batch an offset belongs to, by the batch's first offset.
    offsets: BTreeMap<u64, u64>,
}

#[derive(Debug)]
struct InFlight {
    batch: Batch,
    started: Started,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    /// It waits for concurrency.
    NotYet,
    Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    Open,
    /// Nothing is taken in or begun any more.
    Closed,
}

/// What has happened since the last settlement was begun.
#[derive(Debug, Default)]
struct Unsettled {
    dirty: bool,
    finished: Vec<FlightId>,
    voided: Vec<Voided>,
    given_up: Vec<GivenUp>,
}

/// Names one flight within the life of one schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FlightId(u64);

/// What has happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The log was read from the offset last asked for up to `end`, exclusive.
    Fetched {
        end: Offset,
        /// The events there, ascending. Offsets without one are no events.
        arrivals: Vec<Arrival>,
    },
    /// A flight has got its concurrency: the attempt begins.
    Started(FlightId),
    /// A flight has ended.
    Finished(FlightId, Verdict),
    /// The settlement under way is durable.
    Settled,
    /// The time asked for has come.
    TimeReached,
    /// Nothing more is to be begun.
    StopIntake,
    /// Whatever flies has been cut off.
    CutOff,
}

/// An event that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) offset: Offset,
    /// A hash of its key, if it has one.
    pub(crate) key: Option<u64>,
    /// What it adds to a payload, roughly.
    pub(crate) bytes: usize,
    pub(crate) time: Timestamp,
    pub(crate) limits: Limits,
    pub(crate) kind: ArrivalKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArrivalKind {
    /// It is to be run.
    Matched,
    /// No filter wants it.
    Filtered,
    /// Its record cannot be decoded.
    Unreadable,
}

/// What to do.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Begin these, in this order.
    pub(crate) invoke: Vec<Flight>,
    /// Write this, then answer with [`Input::Settled`].
    pub(crate) settle: Option<Settle>,
    /// The payloads of these events may be dropped from memory.
    pub(crate) released: Vec<Offset>,
}

/// A batch to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flight {
    pub(crate) id: FlightId,
    pub(crate) offsets: Vec<Offset>,
    /// Which attempt, from 1.
    pub(crate) attempt: u32,
    /// While it waits for concurrency: from here on it is refused.
    pub(crate) expires_at: Option<Timestamp>,
}

/// One settlement: a checkpoint and what belongs to it.
#[derive(Debug)]
pub(crate) struct Settle {
    pub(crate) next: Offset,
    pub(crate) finished_above: Vec<Range<Offset>>,
    pub(crate) metadata: Bytes,
    pub(crate) tallies: Tallies,
    /// Attempts that have ended: their usage is due.
    pub(crate) finished: Vec<FlightId>,
    /// Attempts that were cut off: their usage is void.
    pub(crate) voided: Vec<Voided>,
    pub(crate) given_up: Vec<GivenUp>,
}

/// An attempt that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voided {
    /// Half-open, ascending.
    pub(crate) offsets: Vec<Range<Offset>>,
    pub(crate) attempt: u32,
}

/// An event that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenUp {
    pub(crate) offset: Offset,
    /// How often it was tried.
    pub(crate) attempts: u32,
    pub(crate) reason: Reason,
    /// The flight whose end decided it, if one did. If it was an attempt, it is among those that
    /// the same settlement finishes.
    pub(crate) flight: Option<FlightId>,
}

impl Schedule {
    /// A schedule that goes on where a checkpoint stopped. Attempts that it shows in flight were cut
    /// off: they are void, and their events are tried under the next number.
    ///
    /// # Errors
    /// [`NotesError`] when the checkpoint's metadata cannot be read.
    pub(crate) fn resume(
        policy: Policy,
        checkpoint: &Checkpoint,
        now: Timestamp,
    ) -> Result<Self, NotesError> {
        let notes = Notes::decode(checkpoint.metadata.clone())?;
        let mut schedule = Self {
            policy,
            progress: Progress::resume(checkpoint.next, &checkpoint.finished_above),
            tallies: notes.tallies,
            unfinished: 0,
            cursor: checkpoint.next.get(),
            fresh: Fresh::default(),
            waiting: BTreeMap::new(),
            flights: BTreeMap::new(),
            flying: BTreeMap::new(),
            next_flight: 0,
            recalled: Recalled::default(),
            intake: Intake::Open,
            unsettled: Unsettled::default(),
            settling: false,
        };
        for batch in notes.batches {
            schedule.recall(batch, now);
        }
        Ok(schedule)
    }

    /// Takes in what has happened and decides what to do.
    pub(crate) fn step(&mut self, input: Input, now: Timestamp) -> Step {
        let mut step = Step::default();
        match input {
            Input::Fetched { end, arrivals } => self.fetched(end, &arrivals, now),
            Input::Started(id) => {
                if let Some(flight) = self.flights.get_mut(&id) {
                    flight.started = Started::Yes;
                }
            }
            Input::Finished(id, verdict) => self.finished(id, verdict, now, &mut step),
            Input::Settled => self.settling = false,
            Input::TimeReached => {}
            Input::StopIntake => self.intake = Intake::Closed,
            Input::CutOff => self.cut_off(now),
        }
        self.launch(now, &mut step);
        self.settle(&mut step);
        step
    }

    /// From where to read on, unless enough is at hand.
    pub(crate) fn wants(&self) -> Option<Offset> {
        let waiting = self.waiting.len() + self.recalled.batches.len();
        // What was recalled has to arrive before it can go on.
        let room = waiting < self.policy.max_waiting || !self.recalled.batches.is_empty();
        (self.intake == Intake::Open && room).then(|| Offset::new(self.cursor))
    }

    /// When to come back with [`Input::TimeReached`], if nothing else happens before.
    pub(crate) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        if self.intake == Intake::Closed {
            return None;
        }
        let retries = self.waiting.values().map(|batch| batch.due);
        let window = self.fresh.next_received();
        let window = window.map(|received| received.plus(self.policy.window));
        retries.chain(window).filter(|at| *at > now).min()
    }

    /// Whether nothing flies and everything that has ended is settled.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.flights.is_empty() && !self.settling && !self.unsettled.dirty
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.unfinished
    }

    pub(crate) fn tallies(&self) -> Tallies {
        self.tallies
    }

    fn recall(&mut self, mut batch: NotedBatch, now: Timestamp) {
        if batch.state == NotedState::InFlight {
            self.unsettled.dirty = true;
            self.unsettled.voided.push(Voided {
                offsets: batch.offsets.clone(),
                attempt: batch.attempt,
            });
            batch.attempt = batch.attempt.saturating_add(1);
            batch.state = NotedState::WaitsUntil(now);
        }
        let Some(first) = batch.offsets.first().map(|range| range.start.get()) else {
            return;
        };
        for range in &batch.offsets {
            for offset in range.start.get()..range.end.get() {
                if !self.progress.is_finished(Offset::new(offset)) {
                    self.recalled.offsets.insert(offset, first);
                }
            }
        }
        self.recalled.batches.insert(first, batch);
    }

    fn fetched(&mut self, end: Offset, arrivals: &[Arrival], now: Timestamp) {
        let from = self.cursor;
        let mut at = from;
        for arrival in arrivals {
            let offset = arrival.offset.get();
            if offset < at || offset >= end.get() {
                continue;
            }
            self.gap(at..offset, now);
            at = offset + 1;
            if !self.progress.is_finished(arrival.offset) {
                self.arrive(arrival, now);
            }
        }
        self.gap(at..end.get(), now);
        self.cursor = self.cursor.max(end.get());
    }

    /// Offsets without an event. What was waited for among them is gone from the log for good.
    fn gap(&mut self, range: Range<u64>, now: Timestamp) {
        let mut at = range.start;
        while let Some(offset) = self.progress.first_unfinished(at..range.end) {
            at = offset + 1;
            if let Some(first) = self.recalled.offsets.remove(&offset) {
                self.unfinished += 1;
                self.end(Offset::new(offset), End::Expired);
                self.complete_recalled(first, now);
            } else {
                // No event: finished without a tally. Long gaps are marked in one go.
                let to = self.recalled.offsets.range(at..range.end).next();
                let to = to.map_or(range.end, |(offset, _)| *offset);
                self.progress.finish(offset..to);
                self.unsettled.dirty = true;
                at = to;
            }
        }
    }

    fn arrive(&mut self, arrival: &Arrival, now: Timestamp) {
        self.unfinished += 1;
        let item = Item {
            offset: arrival.offset,
            lane: Lane::of(self.policy.ordering, arrival.key),
            bytes: arrival.bytes,
            time: arrival.time,
            received: now,
            limits: arrival.limits,
        };
        let recalled = self.recalled.offsets.remove(&arrival.offset.get());
        match arrival.kind {
            ArrivalKind::Filtered => self.end(item.offset, End::Filtered),
            ArrivalKind::Unreadable => self.give_up(&item, 0, Reason::Unreadable, None),
            ArrivalKind::Matched => match recalled {
                None => self.fresh.push(item),
                Some(first) => {
                    if let Some(lane) = item.lane {
                        self.fresh.hold(lane);
                    }
                    self.recalled.arrived.entry(first).or_default().push(item);
                }
            },
        }
        if let Some(first) = recalled {
            self.complete_recalled(first, now);
        }
    }

    /// Lets a recalled batch wait with the others once its last event has been seen.
    fn complete_recalled(&mut self, first: u64, now: Timestamp) {
        let Some(batch) = self.recalled.batches.get(&first) else {
            return;
        };
        let last = batch
            .offsets
            .last()
            .map_or(first, |range| range.end.get() - 1);
        let missing = self.recalled.offsets.range(first..=last);
        if missing.into_iter().any(|(_, batch)| *batch == first) {
            return;
        }
        let Some(noted) = self.recalled.batches.remove(&first) else {
            return;
        };
        let items = self.recalled.arrived.remove(&first).unwrap_or_default();
        if items.is_empty() {
            return;
        }
        self.wait(Batch {
            items,
            attempt: noted.attempt,
            failures: noted.failures,
            refusals: noted.refusals,
            due: match noted.state {
                NotedState::WaitsUntil(due) => due,
                NotedState::InFlight => now,
            },
        });
    }

    /// An answer to a flight that is not known any more (a second one, or one after it was cut off)
    /// changes nothing.
    fn finished(&mut self, id: FlightId, verdict: Verdict, now: Timestamp, step: &mut Step) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        self.land(&flight.batch);
        let mut attempts = flight.batch.attempt - 1;
        let mut decided_by = None;
        match verdict {
            Verdict::Refused => {}
            Verdict::Rejected => decided_by = Some(id),
            Verdict::Succeeded | Verdict::ItemsFailed(_) | Verdict::Failed => {
                self.unsettled.dirty = true;
                self.unsettled.finished.push(id);
                attempts += 1;
                decided_by = Some(id);
            }
        }
        let Judged {
            succeeded,
            given_up,
            again,
        } = flight.batch.judge(verdict, &self.policy, now);
        for item in succeeded {
            self.release(&item);
            self.end(item.offset, End::Succeeded);
            step.released.push(item.offset);
        }
        for (item, reason) in given_up {
            self.release(&item);
            self.give_up(&item, attempts, reason, decided_by);
        }
        for batch in again {
            if batch.due.since(now).as_millis() > KEEP_PAYLOAD_MILLIS {
                step.released.extend(batch.offsets());
            }
            self.wait(batch);
        }
    }

    fn cut_off(&mut self, now: Timestamp) {
        self.intake = Intake::Closed;
        for (_, flight) in std::mem::take(&mut self.flights) {
            let batch = match flight.started {
                Started::NotYet => flight.batch,
                Started::Yes => {
                    self.unsettled.dirty = true;
                    self.unsettled.voided.push(Voided {
                        offsets: ranges(flight.batch.offsets()),
                        attempt: flight.batch.attempt,
                    });
                    flight.batch.next_attempt(now)
                }
            };
            self.land(&batch);
            self.wait(batch);
        }
    }

    /// Begins whatever may begin. Retries come first: they hold the checkpoint back.
    fn launch(&mut self, now: Timestamp, step: &mut Step) {
        if self.intake == Intake::Closed {
            return;
        }
        self.launch_waiting(now, step);
        // What has ended and is not settled is bounded like what flies: a log that takes nothing
        // stops the work.
        while self.flights.len() < self.policy.max_flights
            && self.unsettled.finished.len() < self.policy.max_flights
            && self.waiting.len() < self.policy.max_waiting
        {
            let Some(received) = self.fresh.next_received() else {
                return;
            };
            let waited_enough = received.plus(self.policy.window) <= now;
            if !waited_enough && self.fresh.len() < self.policy.batch_size && !self.may_be_full() {
                return;
            }
            let taken = self
                .fresh
                .take(self.policy.batch_size, self.policy.batch_bytes);
            if !taken.full && !waited_enough {
                self.fresh.put_back(taken.items);
                return;
            }
            self.fly(Batch::fresh(taken.items, now), now, step);
        }
    }

    /// Whether the bytes at hand could fill a batch, so that looking is worth it.
    fn may_be_full(&self) -> bool {
        self.fresh.bytes() >= self.policy.batch_bytes
    }

    fn launch_waiting(&mut self, now: Timestamp, step: &mut Step) {
        let mut blocked = std::collections::BTreeSet::new();
        let mut chosen = Vec::new();
        for (first, batch) in &self.waiting {
            if self.flights.len() + chosen.len() >= self.policy.max_flights {
                break;
            }
            let mut lanes = batch.items.iter().filter_map(|item| item.lane);
            let free =
                lanes.all(|lane| !blocked.contains(&lane) && !self.flying.contains_key(&lane));
            if free && batch.due <= now {
                chosen.push(*first);
            }
            blocked.extend(batch.items.iter().filter_map(|item| item.lane));
        }
        for first in chosen {
            if let Some(batch) = self.waiting.remove(&first) {
                self.fly(batch, now, step);
            }
        }
    }

    /// Begins a batch, but for events that are too old.
    fn fly(&mut self, mut batch: Batch, now: Timestamp, step: &mut Step) {
        let (expired, items) = batch.items.iter().partition(|item| item.is_expired(now));
        batch.items = items;
        let expired: Vec<Item> = expired;
        for item in &expired {
            self.release(item);
            self.give_up(item, batch.attempt - 1, Reason::EventAgeExceeded, None);
        }
        if batch.items.is_empty() {
            return;
        }
        for lane in batch.items.iter().filter_map(|item| item.lane) {
            *self.flying.entry(lane).or_default() += 1;
        }
        let id = FlightId(self.next_flight);
        self.next_flight += 1;
        step.invoke.push(Flight {
            id,
            offsets: batch.offsets().collect(),
            attempt: batch.attempt,
            expires_at: batch.items.iter().filter_map(Item::expires_at).min(),
        });
        let started = Started::NotYet;
        self.flights.insert(id, InFlight { batch, started });
    }

    /// The batch no longer flies; its events still hold their lanes.
    fn land(&mut self, batch: &Batch) {
        for lane in batch.items.iter().filter_map(|item| item.lane) {
            if let Some(flying) = self.flying.get_mut(&lane) {
                *flying -= 1;
                if *flying == 0 {
                    self.flying.remove(&lane);
                }
            }
        }
    }

    fn wait(&mut self, batch: Batch) {
        self.waiting.insert(batch.first().get(), batch);
    }

    fn release(&mut self, item: &Item) {
        if let Some(lane) = item.lane {
            self.fresh.release(lane);
        }
    }

    fn give_up(&mut self, item: &Item, attempts: u32, reason: Reason, flight: Option<FlightId>) {
        self.unsettled.given_up.push(GivenUp {
            offset: item.offset,
            attempts,
            reason,
            flight,
        });
        let end = match reason {
            Reason::EventAgeExceeded => End::Expired,
            Reason::RetriesExhausted | Reason::Rejected | Reason::Unreadable => End::Failed,
        };
        self.end(item.offset, end);
    }

    /// The one place where an event ends.
    fn end(&mut self, offset: Offset, end: End) {
        let tally = match end {
            End::Succeeded => &mut self.tallies.succeeded,
            End::Filtered => &mut self.tallies.filtered,
            End::Failed => &mut self.tallies.failed,
            End::Expired => &mut self.tallies.expired,
        };
        *tally += 1;
        self.unfinished -= 1;
        self.progress.finish(offset.get()..offset.get() + 1);
        self.unsettled.dirty = true;
    }

    fn settle(&mut self, step: &mut Step) {
        if self.settling || !self.unsettled.dirty {
            return;
        }
        self.settling = true;
        let unsettled = std::mem::take(&mut self.unsettled);
        step.released
            .extend(unsettled.given_up.iter().map(|given_up| given_up.offset));
        step.settle = Some(Settle {
            next: self.progress.next(),
            finished_above: self.progress.finished_above(),
            metadata: self.notes().encode(),
            tallies: self.tallies,
            finished: unsettled.finished,
            voided: unsettled.voided,
            given_up: unsettled.given_up,
        });
    }

    fn notes(&self) -> Notes {
        let noted = |batch: &Batch, state| NotedBatch {
            offsets: ranges(batch.offsets()),
            attempt: batch.attempt,
            failures: batch.failures,
            refusals: batch.refusals,
            state,
        };
        let mut batches: Vec<_> = self.recalled.batches.values().cloned().collect();
        for batch in self.waiting.values() {
            batches.push(noted(batch, NotedState::WaitsUntil(batch.due)));
        }
        for flight in self.flights.values() {
            let batch = &flight.batch;
            let untouched = batch.attempt == 1 && batch.refusals == 0;
            match flight.started {
                Started::Yes => batches.push(noted(batch, NotedState::InFlight)),
                Started::NotYet if untouched => {}
                Started::NotYet => {
                    batches.push(noted(batch, NotedState::WaitsUntil(batch.due)));
                }
            }
        }
        batches.sort_by_key(|batch| batch.offsets.first().map(|range| range.start));
        Notes {
            tallies: self.tallies,
            batches,
        }
    }
}

/// The states in which an event ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Succeeded,
    Filtered,
    Failed,
    Expired,
}
