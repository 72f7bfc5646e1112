//! How much each target has in hand. Pure.

use std::collections::BTreeMap;

use super::batch::Target;
use super::policy::Policy;

/// Batches in flight and between attempts, by target. Batches without one are not counted.
#[derive(Debug, Default)]
pub(super) struct Load {
    targets: BTreeMap<Target, InHand>,
}

#[derive(Clone, Copy, Debug, Default)]
struct InHand {
    flights: usize,
    waiting: usize,
}

impl Load {
    pub(super) fn departed(&mut self, target: Option<Target>) {
        self.change(target, |in_hand| in_hand.flights += 1);
    }

    pub(super) fn landed(&mut self, target: Option<Target>) {
        self.change(target, |in_hand| in_hand.flights -= 1);
    }

    pub(super) fn waits(&mut self, target: Option<Target>) {
        self.change(target, |in_hand| in_hand.waiting += 1);
    }

    pub(super) fn waits_no_more(&mut self, target: Option<Target>) {
        self.change(target, |in_hand| in_hand.waiting -= 1);
    }

    /// How many more of its batches may fly, whether fresh or again.
    pub(super) fn room(&self, target: Option<Target>, policy: &Policy) -> usize {
        let Some(target) = target else {
            return usize::MAX;
        };
        let flights = self.of(target).flights;
        policy.max_flights_of_target.saturating_sub(flights)
    }

    /// How many more fresh ones may: none while too many wait for a retry.
    pub(super) fn room_for_fresh(&self, target: Option<Target>, policy: &Policy) -> usize {
        let waiting = target.map_or(0, |target| self.of(target).waiting);
        if waiting < policy.max_waiting_of_target {
            self.room(target, policy)
        } else {
            0
        }
    }

    fn of(&self, target: Target) -> InHand {
        self.targets.get(&target).copied().unwrap_or_default()
    }

    fn change(&mut self, target: Option<Target>, change: impl FnOnce(&mut InHand)) {
        let Some(target) = target else {
            return;
        };
        let in_hand = self.targets.entry(target).or_default();
        change(in_hand);
        if in_hand.flights == 0 && in_hand.waiting == 0 {
            self.targets.remove(&target);
        }
    }
}
