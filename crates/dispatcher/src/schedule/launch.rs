//! Which batches begin now.

use std::collections::BTreeSet;

use clock::Timestamp;

use super::batch::{Batch, Item, Reason};
use super::exchange::{Flight, FlightId, Step};
use super::{InFlight, Intake, Schedule, Started};

impl Schedule {
    /// Begins whatever may begin. Retries come first: they hold the checkpoint back.
    pub(super) fn launch(&mut self, now: Timestamp, step: &mut Step) {
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
        let mut blocked = BTreeSet::new();
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
}
