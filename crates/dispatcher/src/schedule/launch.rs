//! Which batches begin now.

use std::collections::{BTreeMap, BTreeSet};

use clock::Timestamp;

use super::batch::{Batch, Item, Reason};
use super::exchange::{Flight, FlightId, Step};
use super::{InFlight, Intake, MAX_AT_STAKE, Schedule, Started};

impl Schedule {
    /// Begins whatever may begin. Retries come first: they hold the checkpoint back.
    pub(super) fn launch(&mut self, now: Timestamp, step: &mut Step) {
        if self.intake == Intake::Closed {
            return;
        }
        self.launch_waiting(now, step);
        self.unpark();
        // What has ended and is not settled is bounded like what flies: a log that takes nothing
        // stops the work.
        while self.flights.len() < self.policy.max_flights
            && self.unsettled.finished.len() < self.policy.max_flights
            && self.waiting.len() < self.policy.max_waiting
            && self.may_risk(self.aloft)
        {
            let Some(received) = self.fresh.next_received() else {
                return;
            };
            let target = self.fresh.next_target();
            if self.load.room_for_fresh(target, &self.policy) == 0
                && let Some(parked) = self.fresh.park()
            {
                step.released.push(parked);
                continue;
            }
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

    /// Events of a target that has room come next, the oldest first.
    fn unpark(&mut self) {
        let targets: Vec<_> = self.fresh.parked_targets().collect();
        for target in targets {
            let room = self.load.room_for_fresh(Some(target), &self.policy);
            self.fresh.unpark(target, room);
        }
    }

    /// Whether one more batch may begin beside so many events: what is given up before the next
    /// settlement has to fit into it.
    fn may_risk(&self, aloft: usize) -> bool {
        let batch = self.policy.batch_size.min(MAX_AT_STAKE / 2);
        let at_stake = aloft + self.unsettled.given_up.len() + batch;
        self.unsettled.takes_more() && at_stake <= MAX_AT_STAKE
    }

    /// Whether the bytes at hand could fill a batch, so that looking is worth it.
    fn may_be_full(&self) -> bool {
        self.fresh.bytes() >= self.policy.batch_bytes
    }

    fn launch_waiting(&mut self, now: Timestamp, step: &mut Step) {
        let mut blocked = BTreeSet::new();
        let mut chosen = Vec::new();
        let mut chosen_of = BTreeMap::new();
        let mut aloft = self.aloft;
        for (first, batch) in &self.waiting {
            let full = self.flights.len() + chosen.len() >= self.policy.max_flights;
            if full || !self.may_risk(aloft) {
                break;
            }
            let mut lanes = batch.items.iter().filter_map(|item| item.lane);
            let free =
                lanes.all(|lane| !blocked.contains(&lane) && !self.flying.contains_key(&lane));
            let target = batch.target();
            let of_target: &mut usize = chosen_of.entry(target).or_default();
            let room = *of_target < self.load.room(target, &self.policy);
            if free && room && batch.due <= now {
                *of_target += 1;
                aloft += batch.items.len();
                chosen.push(*first);
            }
            blocked.extend(batch.items.iter().filter_map(|item| item.lane));
        }
        for first in chosen {
            // Those before it may have expired.
            if !self.may_risk(self.aloft) {
                return;
            }
            if let Some(batch) = self.waiting.remove(&first) {
                self.load.waits_no_more(batch.target());
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
        self.aloft += batch.items.len();
        self.load.departed(batch.target());
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
