//! Groups of the consumer protocol (KIP-848): the server assigns, members reconcile one by one.
//!
//! A group has an *epoch* that grows with every change of members, subscriptions or topics; the
//! assignor then computes a *target assignment* of that epoch; and each member is led to its target
//! by its heartbeats: first it gives up what it must, then it moves to the target's epoch and gets
//! what others have given up. A partition never has two owners, and nobody waits for a member that
//! has nothing to do with a change.
//!
//! As in the classic protocol decisions are pure, and who is in a group lives in memory only: after
//! a restart members are told that they are unknown, give up what they had and join again.

mod assign;
mod catalog;
mod describe;
mod heartbeat;
mod member;
mod reconcile;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use uuid::Uuid;

pub(super) use catalog::{Catalog, Catalogs};
pub(super) use describe::describe;
pub(super) use heartbeat::heartbeat;

use assign::{Assignor, Subscriber};
pub(super) use member::{Beat, Beaten, Refused};
use member::{Member, Phase, Place};

/// The most members of one group.
const MAX_MEMBERS: usize = 1_000;
/// How often members of a settled group say that they are alive. Kafka's default is 5 s; changes
/// spread at this pace.
const INTERVAL: Duration = Duration::from_secs(3);
/// How often they do while some member has not reached its target.
const INTERVAL_WHILE_MOVING: Duration = Duration::from_millis(500);
/// In place of an epoch: the member joins.
const JOIN: i32 = 0;
/// In place of an epoch: the member leaves for good.
const LEAVE: i32 = -1;
/// In place of an epoch: a static member leaves and will be back.
const LEAVE_FOR_NOW: i32 = -2;

/// A group of the consumer protocol.
#[derive(Debug, Default)]
pub(super) struct Group {
    epoch: i32,
    /// The epoch of the target assignment.
    assignment_epoch: i32,
    members: BTreeMap<String, Member>,
    target: BTreeMap<String, BTreeSet<Place>>,
    /// Who has a partition, or has yet to give it up.
    owners: HashMap<Place, String>,
    /// The topics that some member wants, with their partitions, when they were last looked up.
    topics: BTreeMap<Uuid, u32>,
    /// The catalogue in which they were looked up.
    looked_up: Option<u64>,
    assignor: Assignor,
}

/// How far a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Assigning,
    Reconciling,
    Stable,
}

impl Group {
    /// Takes a sign of life with all that it changes, and answers what the member is to have.
    pub(super) fn beat(
        &mut self,
        now: Instant,
        session: Duration,
        beat: Beat,
        catalog: &Catalog,
    ) -> Result<Beaten, Refused> {
        match beat.epoch {
            LEAVE | LEAVE_FOR_NOW => return self.leave(&beat),
            JOIN => self.admit(&beat)?,
            1.. => self.check(&beat)?,
            other => {
                return Err(Refused::new(
                    ResponseError::InvalidRequest,
                    format!("no member has epoch {other}"),
                ));
            }
        }
        let id = beat.member.clone();
        let is_full = beat.is_full();
        let owned = beat.owned.clone();
        let mut changed = false;
        if let Some(member) = self.members.get_mut(&id) {
            changed = member.update(beat);
            member.alive_until = now + session;
        }
        self.look_up(changed, catalog);
        if self.epoch > self.assignment_epoch {
            self.assign();
        }
        let moved = self.reconcile(now, &id, owned.as_ref());
        let interval = self.interval();
        let member = self.members.get(&id);
        let member = member.ok_or_else(|| Refused::unknown(&id))?;
        Ok(Beaten {
            epoch: member.epoch,
            interval,
            assignment: (is_full || moved).then(|| member.assigned.clone()),
            member: id,
        })
    }

    /// Whether a member of that epoch may commit offsets, or read them. Without members anybody may
    /// who claims no membership.
    pub(super) fn check_epoch(&self, member: &str, epoch: i32) -> Result<(), ResponseError> {
        match self.members.get(member) {
            None => Err(ResponseError::UnknownMemberId),
            Some(found) if found.epoch != epoch => Err(ResponseError::StaleMemberEpoch),
            Some(_) => Ok(()),
        }
    }

    /// Drops members that have fallen silent or did not give up partitions in time.
    pub(super) fn expire(&mut self, now: Instant) {
        let due = self.members.iter();
        let due = due.filter(|(_, member)| member.deadline() <= now);
        let due: Vec<_> = due.map(|(id, _)| id.clone()).collect();
        for id in due {
            self.remove(&id);
        }
    }

    /// The next moment at which [`expire`](Self::expire) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.members.values().map(Member::deadline).min()
    }

    /// Whether nothing would be lost by forgetting the group.
    pub(super) fn is_forgotten(&self) -> bool {
        self.members.is_empty()
    }

    /// Bytes that the group keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        let members: usize = self.members.values().map(Member::bytes).sum();
        members + self.owners.len() * 128 + self.topics.len() * 64
    }

    /// How far the group is.
    pub(super) fn state(&self) -> State {
        if self.members.is_empty() {
            State::Empty
        } else if self.epoch > self.assignment_epoch {
            State::Assigning
        } else if self.members.values().all(|member| self.is_settled(member)) {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    fn is_settled(&self, member: &Member) -> bool {
        member.phase == Phase::Stable && member.epoch == self.assignment_epoch
    }

    fn interval(&self) -> Duration {
        match self.state() {
            State::Stable | State::Empty => INTERVAL,
            State::Assigning | State::Reconciling => INTERVAL_WHILE_MOVING,
        }
    }

    /// Takes in whoever joins: a new member, one that begins anew, or a static one that is back.
    fn admit(&mut self, beat: &Beat) -> Result<(), Refused> {
        let holder = beat.instance.as_ref().and_then(|name| self.instance(name));
        if let Some(holder) = holder.filter(|holder| *holder != beat.member) {
            let left = |member: &Member| member.epoch == LEAVE_FOR_NOW;
            if !self.members.get(&holder).is_some_and(left) {
                return Err(Refused::new(
                    ResponseError::UnreleasedInstanceId,
                    format!("another member of that instance id has not left: {holder}"),
                ));
            }
            self.rename(&holder, &beat.member);
            return Ok(());
        }
        if self.members.contains_key(&beat.member) {
            return Ok(());
        }
        if self.members.len() >= MAX_MEMBERS {
            return Err(Refused::new(
                ResponseError::GroupMaxSizeReached,
                format!("a group has at most {MAX_MEMBERS} members"),
            ));
        }
        self.members.insert(beat.member.clone(), Member::of(beat));
        Ok(())
    }

    /// Checks that the caller is a member, and of this epoch or of the one before whose answer may
    /// have been lost.
    fn check(&self, beat: &Beat) -> Result<(), Refused> {
        let member = self.members.get(&beat.member);
        let member = member.ok_or_else(|| Refused::unknown(&beat.member))?;
        if let Some(name) = &beat.instance {
            match self.instance(name) {
                None => return Err(Refused::unknown(&beat.member)),
                Some(holder) if holder != beat.member => {
                    return Err(Refused::new(
                        ResponseError::FencedInstanceId,
                        "another member has taken the instance id over",
                    ));
                }
                Some(_) => {}
            }
        }
        let repeats = || {
            let owned = beat.owned.as_ref();
            beat.epoch == member.previous_epoch
                && owned.is_some_and(|owned| owned.is_subset(&member.assigned))
        };
        if beat.epoch == member.epoch || (beat.epoch < member.epoch && repeats()) {
            return Ok(());
        }
        Err(Refused::new(
            ResponseError::FencedMemberEpoch,
            format!(
                "the member is in epoch {}, not {}",
                member.epoch, beat.epoch
            ),
        ))
    }

    fn leave(&mut self, beat: &Beat) -> Result<Beaten, Refused> {
        let id = match &beat.instance {
            Some(name) => match self.instance(name) {
                Some(holder) if holder == beat.member => holder,
                Some(_) => {
                    return Err(Refused::new(
                        ResponseError::FencedInstanceId,
                        "another member has taken the instance id over",
                    ));
                }
                None => return Err(Refused::unknown(&beat.member)),
            },
            None => beat.member.clone(),
        };
        let member = self.members.get_mut(&id);
        let member = member.ok_or_else(|| Refused::unknown(&id))?;
        if beat.epoch == LEAVE_FOR_NOW && member.instance.is_some() {
            member.epoch = LEAVE_FOR_NOW;
            for place in std::mem::take(&mut member.revoking) {
                self.owners.remove(&place);
            }
            member.phase = Phase::Stable;
        } else {
            self.remove(&id);
        }
        Ok(Beaten {
            member: id,
            epoch: beat.epoch,
            interval: INTERVAL,
            assignment: None,
        })
    }

    fn remove(&mut self, id: &str) {
        if let Some(member) = self.members.remove(id) {
            for place in member.assigned.iter().chain(&member.revoking) {
                self.owners.remove(place);
            }
            self.target.remove(id);
            self.epoch += 1;
        }
    }

    /// A static member that is back under another id: it has what it had.
    fn rename(&mut self, old: &str, new: &str) {
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        member.epoch = JOIN;
        member.previous_epoch = JOIN;
        for place in &member.assigned {
            self.owners.insert(*place, new.to_owned());
        }
        if let Some(target) = self.target.remove(old) {
            self.target.insert(new.to_owned(), target);
        }
        self.members.insert(new.to_owned(), member);
    }

    /// Looks the wanted topics up again if members or topics have changed; a difference begins
    /// another epoch.
    fn look_up(&mut self, members_changed: bool, catalog: &Catalog) {
        if !members_changed && self.looked_up == Some(catalog.version) {
            return;
        }
        self.looked_up = Some(catalog.version);
        let mut topics = BTreeMap::new();
        for member in self.members.values_mut() {
            member.resolve(catalog);
            topics.extend(
                member
                    .topics
                    .iter()
                    .map(|(id, partitions)| (*id, *partitions)),
            );
        }
        if members_changed || topics != self.topics {
            self.topics = topics;
            self.epoch += 1;
        }
    }

    fn assign(&mut self) {
        let mut votes = BTreeMap::<Assignor, usize>::new();
        for member in self.members.values() {
            *votes
                .entry(member.assignor.unwrap_or_default())
                .or_default() += 1;
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        self.assignor = most.map(|(assignor, _)| assignor).unwrap_or_default();
        let subscribers = self.members.iter().map(|(id, member)| Subscriber {
            member: id.clone(),
            instance: member.instance.clone(),
            topics: member.topics.keys().copied().collect(),
        });
        let subscribers: Vec<_> = subscribers.collect();
        self.target = self
            .assignor
            .assign(&subscribers, &self.topics, &self.target);
        self.assignment_epoch = self.epoch;
    }

    /// The id of the static member of that name.
    fn instance(&self, name: &str) -> Option<String> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance.as_deref() == Some(name));
        found.map(|(id, _)| id.clone())
    }
}

#[cfg(test)]
mod tests;
