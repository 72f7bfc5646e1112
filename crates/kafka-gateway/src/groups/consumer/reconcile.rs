//! One member's way to its target, heartbeat by heartbeat.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Group;
use super::member::{Phase, Place};

impl Group {
    /// Leads a member on to its target; true when what it is to have has changed. `owned` is what it
    /// says it has, if it says so.
    pub(super) fn reconcile(
        &mut self,
        now: Instant,
        id: &str,
        owned: Option<&BTreeSet<Place>>,
    ) -> bool {
        let nothing = BTreeSet::new();
        let target = self.target.get(id).unwrap_or(&nothing);
        let Some(member) = self.members.get_mut(id) else {
            return false;
        };
        let still_has = |places: &BTreeSet<Place>| {
            owned.is_none_or(|owned| places.iter().any(|place| owned.contains(place)))
        };
        match member.phase {
            Phase::Stable if member.epoch == self.assignment_epoch => return false,
            Phase::Revoking { .. } if still_has(&member.revoking) => return false,
            Phase::Stable | Phase::Revoking { .. } | Phase::Awaiting => {}
        }
        let before = member.assigned.clone();
        let keeps: BTreeSet<_> = before.intersection(target).copied().collect();
        let revoked: BTreeSet<_> = before.difference(target).copied().collect();
        // What it has said, or now says by not naming it, that it has given up.
        for place in std::mem::take(&mut member.revoking) {
            self.owners.remove(&place);
        }
        if !revoked.is_empty() && still_has(&revoked) {
            let until = now + member.rebalance;
            member.assigned = keeps;
            member.revoking = revoked;
            member.phase = Phase::Revoking { until };
            return true;
        }
        for place in &revoked {
            self.owners.remove(place);
        }
        let missing = target.difference(&keeps).copied();
        let (free, taken): (Vec<_>, Vec<_>) =
            missing.partition(|place| self.owners.get(place).is_none_or(|owner| owner == id));
        for place in &free {
            self.owners.insert(*place, id.to_owned());
        }
        member.assigned = keeps;
        member.assigned.extend(free);
        member.phase = if taken.is_empty() {
            Phase::Stable
        } else {
            Phase::Awaiting
        };
        if member.epoch != self.assignment_epoch {
            member.previous_epoch = member.epoch;
            member.epoch = self.assignment_epoch;
        }
        member.assigned != before
    }
}
