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

use clock::Timestamp;
use event_log::{Checkpoint, Offset};

mod policy;

mod batch;
mod exchange;
mod load;

mod fresh;
mod intake;
mod launch;
mod notes;
mod progress;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use batch::{Reason, Target, Verdict};
pub(crate) use exchange::{
    Arrival, ArrivalKind, Flight, FlightId, GivenUp, Input, Settle, Step, Voided,
};
pub use notes::Tallies;
pub(crate) use notes::{NotedState, Notes, NotesError, ranges};
pub(crate) use policy::{Limits, MAX_PAYLOAD_BYTES, Pauses, Policy};

use batch::{Batch, Item, Judged, Lane};
use fresh::Fresh;
use intake::Recalled;
use load::Load;
use notes::NotedBatch;
use progress::Progress;

/// A payload is dropped from memory when its batch waits longer than this; it is read again.
const KEEP_PAYLOAD_MILLIS: u128 = 1_000;

/// Letters of one settlement must fit into it. Beyond so many events, or so many bytes of them,
/// nothing more is given up for its age, nor read, until a settlement has taken them.
const MAX_EXPIRED: usize = 1_000;
const MAX_EXPIRED_BYTES: usize = 8 << 20;
/// All that flies may be given up at once. So many of the smallest letters, of some 700 bytes,
/// are still within the 16 MiB that a log takes.
const MAX_AT_STAKE: usize = 20_000;

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
    /// Events in flight.
    aloft: usize,
    load: Load,
    next_flight: u64,
    recalled: Recalled,
    intake: Intake,
    unsettled: Unsettled,
    settling: bool,
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
    /// Bytes of the events given up.
    given_up_bytes: usize,
}

impl Unsettled {
    fn takes_more(&self) -> bool {
        self.given_up.len() < MAX_EXPIRED && self.given_up_bytes < MAX_EXPIRED_BYTES
    }
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
            aloft: 0,
            load: Load::default(),
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
        let room =
            room && self.fresh.parked_len() < self.policy.max_parked && self.unsettled.takes_more();
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

    /// The batch no longer flies; its events still hold their lanes.
    fn land(&mut self, batch: &Batch) {
        self.aloft -= batch.items.len();
        self.load.landed(batch.target());
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
        self.load.waits(batch.target());
        self.waiting.insert(batch.first().get(), batch);
    }

    fn release(&mut self, item: &Item) {
        if let Some(lane) = item.lane {
            self.fresh.release(lane);
        }
    }

    fn give_up(&mut self, item: &Item, attempts: u32, reason: Reason, flight: Option<FlightId>) {
        self.unsettled.given_up_bytes += item.bytes;
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
