//! How events come in: fresh ones, and those that the last checkpoint tells of.

use std::collections::BTreeMap;
use std::ops::Range;

use clock::Timestamp;
use event_log::Offset;

use super::batch::{Batch, Item, Lane, Reason};
use super::exchange::{Arrival, ArrivalKind, Voided};
use super::notes::{NotedBatch, NotedState};
use super::{End, Schedule};

/// Batches that the last checkpoint tells of and whose events have not arrived again yet.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    pub(super) batches: BTreeMap<u64, NotedBatch>,
    arrived: BTreeMap<u64, Vec<Item>>,
    /// Which batch an offset belongs to, by the batch's first offset.
    pub(super) offsets: BTreeMap<u64, u64>,
}

impl Schedule {
    pub(super) fn recall(&mut self, mut batch: NotedBatch, now: Timestamp) {
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

    pub(super) fn fetched(&mut self, end: Offset, arrivals: &[Arrival], now: Timestamp) {
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
            target: arrival.target,
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
}
