//! One group's decisions: state, input and now in; answers out. No clock, no runtime.
//!
//! `Empty` → (first member) → `Preparing` → (all have joined, or the deadline) → `Completing` →
//! (the leader's assignment) → `Stable`; whoever comes, goes or falls silent sends it back to
//! `Preparing`, and the last to go to `Empty`. After Kafka's `GroupCoordinator`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::member::{
    Assigned, Caller, Effect, Generation, Joined, Member, Peer, Sync, Synced, Ticket, Waiting,
};

/// How long the first generation waits for more members to come.
pub(super) const FIRST_DELAY: Duration = Duration::from_millis(200);

/// A group of consumers.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    pub(super) members: BTreeMap<String, Member>,
    /// Ids handed out and not used yet, and until when they hold.
    pub(super) named: BTreeMap<String, Instant>,
    /// Until when every member must have asked for its assignment; none when all have.
    pub(super) sync_by: Option<Instant>,
    pub(super) arrivals: u64,
}

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    /// Collecting members for the next generation.
    Preparing {
        /// When it goes on without those that are missing.
        deadline: Instant,
        /// For a group's first generation: each newcomer moves the deadline, up to here.
        first_until: Option<Instant>,
    },
    /// Waiting for the leader's assignment.
    Completing,
    Stable,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            state: State::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: String::new(),
            leader: String::new(),
            members: BTreeMap::new(),
            named: BTreeMap::new(),
            sync_by: None,
            arrivals: 0,
        }
    }
}

impl Group {
    /// Hands out assignments. The answer comes as an effect, now or later.
    pub(super) fn sync(&mut self, now: Instant, sync: Sync, ticket: Ticket) -> Vec<Effect> {
        if let Err(code) = self.check_sync(now, &sync) {
            return vec![Effect::Synced(ticket, Err(code))];
        }
        let id = sync.caller.member;
        let mut effects = Vec::new();
        let completing = self.state == State::Completing;
        if let Some(member) = self.members.get_mut(&id) {
            member.synced = Synced::Yes;
            if let Waiting::Sync(earlier) = member.waiting {
                effects.push(Effect::Synced(
                    earlier,
                    Err(ResponseError::RebalanceInProgress),
                ));
            }
            member.waiting = Waiting::Sync(ticket);
        }
        if completing && id == self.leader {
            for member in self.members.values_mut() {
                member.assignment = bytes::Bytes::new();
            }
            for (member, assignment) in sync.assignments {
                if let Some(member) = self.members.get_mut(&member) {
                    member.assignment = assignment;
                }
            }
            self.state = State::Stable;
        }
        if self.state == State::Stable {
            effects.extend(self.hand_out(now));
        }
        if self.members.values().all(|m| m.synced == Synced::Yes) {
            self.sync_by = None;
        }
        effects
    }

    /// Takes a sign of life.
    pub(super) fn heartbeat(&mut self, now: Instant, caller: &Caller) -> Result<(), ResponseError> {
        self.check(now, caller)?;
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Completing | State::Stable => Ok(()),
        }
    }

    /// Whether `caller` may commit offsets. Without members anybody may who claims no generation: some
    /// clients have an id of their own all the same.
    pub(super) fn may_commit(
        &mut self,
        now: Instant,
        caller: &Caller,
    ) -> Result<(), ResponseError> {
        if caller.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if caller.generation < 0 && caller.member.is_empty() && caller.instance.is_none() {
            return Err(ResponseError::UnknownMemberId);
        }
        self.check(now, caller)?;
        match self.state {
            State::Completing => Err(ResponseError::RebalanceInProgress),
            State::Empty | State::Preparing { .. } | State::Stable => Ok(()),
        }
    }

    /// Lets a member go: by id, or a static one by its name alone.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        member: &str,
        instance: Option<&str>,
    ) -> Result<Vec<Effect>, ResponseError> {
        let id = match instance.and_then(|name| self.instance(name)) {
            Some(id) if member.is_empty() || id == member => id,
            Some(_) => return Err(ResponseError::FencedInstanceId),
            None if instance.is_some() => return Err(ResponseError::UnknownMemberId),
            None => member.to_owned(),
        };
        if self.named.remove(&id).is_some() {
            return Ok(self.try_complete(now));
        }
        if !self.members.contains_key(&id) {
            return Err(ResponseError::UnknownMemberId);
        }
        Ok(self.remove(now, &id, ResponseError::UnknownMemberId))
    }

    /// Whether nothing would be lost by forgetting the group.
    pub(super) fn is_forgotten(&self) -> bool {
        self.members.is_empty() && self.named.is_empty()
    }

    /// Bytes that the group keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        let members: usize = self.members.values().map(Member::bytes).sum();
        let named: usize = self.named.keys().map(|id| id.len() + 128).sum();
        members + named + self.protocol_type.len() + self.protocol.len()
    }

    /// The current generation as member `id` sees it.
    pub(super) fn generation_for(&self, id: &str) -> Generation {
        let leads = self.leader == id;
        let peers = self.members.iter().filter(|_| leads);
        let mut peers: Vec<_> = peers.collect();
        peers.sort_by_key(|(_, member)| member.arrival);
        let members = peers.into_iter().map(|(id, member)| Peer {
            member: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(&self.protocol),
        });
        Generation {
            number: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: id.to_owned(),
            members: members.collect(),
        }
    }

    /// Gives every member that waits for it its assignment.
    fn hand_out(&mut self, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        for member in self.members.values_mut() {
            if let Waiting::Sync(ticket) = member.waiting {
                member.waiting = Waiting::Nothing;
                member.alive_until = now + member.session;
                let assigned = Assigned {
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                };
                effects.push(Effect::Synced(ticket, Ok(assigned)));
            }
        }
        effects
    }

    fn check_sync(&mut self, now: Instant, sync: &Sync) -> Result<(), ResponseError> {
        self.check(now, &sync.caller)?;
        let differs =
            |own: &String, said: &Option<String>| said.as_ref().is_some_and(|said| said != own);
        if differs(&self.protocol_type, &sync.protocol_type)
            || differs(&self.protocol, &sync.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            State::Completing | State::Stable => Ok(()),
        }
    }

    /// Checks that the caller is a member of this generation, and takes it as a sign of life.
    fn check(&mut self, now: Instant, caller: &Caller) -> Result<(), ResponseError> {
        if let Some(name) = &caller.instance {
            match self.instance(name) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(id) if id != caller.member => return Err(ResponseError::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get_mut(&caller.member);
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        if caller.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        member.alive_until = now + member.session;
        Ok(())
    }

    /// The id of the static member of that name.
    pub(super) fn instance(&self, name: &str) -> Option<String> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance.as_deref() == Some(name));
        found.map(|(id, _)| id.clone())
    }
}

/// Tells a client that its wait is over for nothing.
pub(super) fn abandon(id: &str, waiting: Waiting, code: ResponseError) -> Vec<Effect> {
    match waiting {
        Waiting::Nothing => Vec::new(),
        Waiting::Join(ticket) => vec![Effect::Joined(ticket, Joined::Out(code, id.to_owned()))],
        Waiting::Sync(ticket) => vec![Effect::Synced(ticket, Err(code))],
    }
}

#[cfg(test)]
mod tests;
