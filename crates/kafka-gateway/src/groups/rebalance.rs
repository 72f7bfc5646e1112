//! From one generation to the next, and what silence does.

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::group::{FIRST_DELAY, Group, State, abandon};
use super::member::{Effect, Joined, Member, Synced, Waiting};

impl Group {
    /// Begins the next generation, or goes on with it: members that wait for an assignment hear
    /// that there will be another.
    pub(super) fn prepare(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.state {
            State::Empty => {
                let until = now + self.patience();
                self.state = State::Preparing {
                    deadline: until.min(now + FIRST_DELAY),
                    first_until: Some(until),
                };
            }
            State::Preparing {
                first_until: Some(until),
                ..
            } => {
                self.state = State::Preparing {
                    deadline: until.min(now + FIRST_DELAY),
                    first_until: Some(until),
                };
            }
            State::Preparing {
                first_until: None, ..
            } => {}
            State::Completing | State::Stable => {
                for (id, member) in &mut self.members {
                    if let Waiting::Sync(_) = member.waiting {
                        let code = ResponseError::RebalanceInProgress;
                        effects.extend(abandon(id, member.waiting, code));
                        member.waiting = Waiting::Nothing;
                        member.alive_until = now + member.session;
                    }
                }
                self.sync_by = None;
                self.state = State::Preparing {
                    deadline: now + self.patience(),
                    first_until: None,
                };
            }
        }
        effects.extend(self.try_complete(now));
        effects
    }

    /// Completes the next generation if all have joined, those that were only named included. The
    /// first one of a group always waits for its deadline.
    pub(super) fn try_complete(&mut self, now: Instant) -> Vec<Effect> {
        let State::Preparing {
            first_until: None, ..
        } = self.state
        else {
            return Vec::new();
        };
        if self.named.is_empty() && self.members.values().all(has_joined) {
            return self.complete(now);
        }
        Vec::new()
    }

    /// Drops a member. Clients that wait for it hear `code`.
    pub(super) fn remove(&mut self, now: Instant, id: &str, code: ResponseError) -> Vec<Effect> {
        let Some(member) = self.members.remove(id) else {
            return Vec::new();
        };
        let mut effects = abandon(id, member.waiting, code);
        if self.members.is_empty() {
            self.empty();
            return effects;
        }
        match self.state {
            State::Preparing { .. } => effects.extend(self.try_complete(now)),
            State::Completing | State::Stable => effects.extend(self.prepare(now)),
            State::Empty => {}
        }
        effects
    }

    /// Does what has become due.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.named.retain(|_, until| *until > now);
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|deadline| deadline <= now);
        let mut silent = self.ids(|member| is_due(member.deadline()));
        if is_due(self.sync_by) {
            self.sync_by = None;
            silent.extend(self.ids(|member| member.synced == Synced::NotYet));
        }
        for id in silent {
            effects.extend(self.remove(now, &id, ResponseError::UnknownMemberId));
        }
        match self.state {
            State::Preparing { deadline, .. } if deadline <= now => {
                effects.extend(self.complete(now));
            }
            State::Preparing { .. } => effects.extend(self.try_complete(now)),
            State::Empty | State::Completing | State::Stable => {}
        }
        effects
    }

    /// The next moment at which [`expire`](Self::expire) has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let preparing = match self.state {
            State::Preparing { deadline, .. } => Some(deadline),
            State::Empty | State::Completing | State::Stable => None,
        };
        let members = self.members.values().filter_map(Member::deadline);
        let named = self.named.values().copied();
        let rest = preparing.into_iter().chain(self.sync_by);
        members.chain(named).chain(rest).min()
    }

    /// The next generation with those that have joined; static members stay when they have not.
    fn complete(&mut self, now: Instant) -> Vec<Effect> {
        self.members
            .retain(|_, member| has_joined(member) || member.instance.is_some());
        if self.members.is_empty() {
            self.empty();
            return Vec::new();
        }
        if !self.members.values().any(has_joined) {
            // Only static members, all away: their sessions decide.
            self.state = State::Preparing {
                deadline: now + self.patience(),
                first_until: None,
            };
            return Vec::new();
        }
        self.generation += 1;
        self.protocol = self.elect_protocol();
        let leads = self.members.get(&self.leader).is_some_and(has_joined);
        if !leads {
            let joined = self.members.iter().filter(|(_, member)| has_joined(member));
            let first = joined.min_by_key(|(_, member)| member.arrival);
            self.leader = first.map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.state = State::Completing;
        self.sync_by = Some(now + self.patience());
        let ids = self.ids(|_| true);
        let mut effects = Vec::new();
        for id in ids {
            let generation = self.generation_for(&id);
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            member.synced = Synced::NotYet;
            if let Waiting::Join(ticket) = member.waiting {
                member.waiting = Waiting::Nothing;
                member.alive_until = now + member.session;
                effects.push(Effect::Joined(ticket, Joined::In(generation)));
            }
        }
        effects
    }

    /// The protocol that all follow and most prefer; the first by name among equals.
    fn elect_protocol(&self) -> String {
        let mut votes = std::collections::BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let all_follow =
                |protocol: &str| self.members.values().all(|other| other.supports(protocol));
            let mut preferred = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(vote) = preferred.find(|protocol| all_follow(protocol)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let most = votes.into_iter().rev().max_by_key(|(_, votes)| *votes);
        most.map(|(protocol, _)| protocol.to_owned())
            .unwrap_or_default()
    }

    fn empty(&mut self) {
        self.state = State::Empty;
        self.generation += 1;
        self.leader = String::new();
        self.protocol = String::new();
        self.sync_by = None;
    }

    /// How long the slowest member may take to join again.
    fn patience(&self) -> Duration {
        let patience = self.members.values().map(|member| member.rebalance);
        patience.max().unwrap_or_default()
    }

    fn ids(&self, which: impl Fn(&Member) -> bool) -> Vec<String> {
        let which = self.members.iter().filter(|(_, member)| which(member));
        which.map(|(id, _)| id.clone()).collect()
    }
}

fn has_joined(member: &Member) -> bool {
    matches!(member.waiting, Waiting::Join(_))
}
