//! One group's decisions: state, input and now in; answers out. No clock, no runtime.
//!
//! `Empty` → (first member) → `Preparing` → (all have joined, or the deadline) → `Completing` →
//! (the leader's assignment) → `Stable`; whoever comes, goes or falls silent sends it back to
//! `Preparing`, and the last to go to `Empty`. After Kafka's `GroupCoordinator`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use super::member::{
    Assigned, Caller, Effect, Generation, Join, Joined, Member, Newcomers, Peer, Sync, Synced,
    Ticket, Waiting,
};

/// The most members of one group, those that were only named included.
const MAX_MEMBERS: usize = 1_000;
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
    /// Takes a member in, or back in. The answer comes as an effect, now or later.
    pub(super) fn join(&mut self, now: Instant, join: Join, ticket: Ticket) -> Vec<Effect> {
        match self.admit(now, &join) {
            Err(code) => {
                let member = match code {
                    ResponseError::MemberIdRequired => join.fresh_id,
                    _ => join.member,
                };
                vec![Effect::Joined(ticket, Joined::Out(code, member))]
            }
            Ok(Admission::New(id)) => self.enter(now, id, join, ticket),
            Ok(Admission::Again(id)) => self.rejoin(now, id, join, ticket),
            Ok(Admission::InPlaceOf(old)) => self.replace(now, &old, join, ticket),
        }
    }

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

    /// Whether `caller` may commit offsets. Without members anybody may who claims no membership.
    pub(super) fn may_commit(
        &mut self,
        now: Instant,
        caller: &Caller,
    ) -> Result<(), ResponseError> {
        if caller.generation < 0 && caller.member.is_empty() && caller.instance.is_none() {
            return match self.state {
                State::Empty => Ok(()),
                State::Preparing { .. } | State::Completing | State::Stable => {
                    Err(ResponseError::UnknownMemberId)
                }
            };
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
        members + self.named.len() * 128
    }

    /// How a member that wants to join is to be received.
    fn admit(&mut self, now: Instant, join: &Join) -> Result<Admission, ResponseError> {
        if join.protocols.is_empty() || join.protocol_type.is_empty() {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let type_differs = self.protocol_type != join.protocol_type;
        if !self.members.is_empty() && (type_differs || !self.shares_protocol(join)) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if let Some(name) = &join.instance {
            return match self.instance(name) {
                Some(id) if join.member.is_empty() => Ok(Admission::InPlaceOf(id)),
                Some(id) if id == join.member => Ok(Admission::Again(id)),
                Some(_) => Err(ResponseError::FencedInstanceId),
                None if join.member.is_empty() => self.new_member(join.fresh_id.clone()),
                None => Err(ResponseError::UnknownMemberId),
            };
        }
        if join.member.is_empty() {
            return match join.newcomers {
                Newcomers::JoinAtOnce => self.new_member(join.fresh_id.clone()),
                Newcomers::AreNamedFirst => {
                    self.new_member(join.fresh_id.clone())?;
                    let until = now + join.session;
                    self.named.insert(join.fresh_id.clone(), until);
                    Err(ResponseError::MemberIdRequired)
                }
            };
        }
        if self.named.remove(&join.member).is_some() {
            return Ok(Admission::New(join.member.clone()));
        }
        if self.members.contains_key(&join.member) {
            return Ok(Admission::Again(join.member.clone()));
        }
        Err(ResponseError::UnknownMemberId)
    }

    fn new_member(&self, id: String) -> Result<Admission, ResponseError> {
        if self.members.len() + self.named.len() >= MAX_MEMBERS {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        Ok(Admission::New(id))
    }

    /// Whether some protocol would be left that all follow.
    fn shares_protocol(&self, join: &Join) -> bool {
        let others = || {
            let replaced =
                |member: &Member| member.instance.is_some() && member.instance == join.instance;
            let others = self.members.iter();
            others.filter(move |(id, member)| **id != join.member && !replaced(member))
        };
        let mut own = join.protocols.iter();
        own.any(|(protocol, _)| others().all(|(_, member)| member.supports(protocol)))
    }

    /// A new member: there is always another generation.
    fn enter(&mut self, now: Instant, id: String, join: Join, ticket: Ticket) -> Vec<Effect> {
        self.protocol_type.clone_from(&join.protocol_type);
        let arrival = self.arrivals;
        self.arrivals += 1;
        let member = Member {
            arrival,
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            protocols: join.protocols,
            session: join.session,
            rebalance: join.rebalance,
            alive_until: now + join.session,
            waiting: Waiting::Join(ticket),
            synced: Synced::NotYet,
            assignment: bytes::Bytes::new(),
        };
        self.members.insert(id, member);
        self.prepare(now)
    }

    /// A member that is known: another generation when it is the leader or has changed its mind,
    /// else the current one again.
    fn rejoin(&mut self, now: Instant, id: String, join: Join, ticket: Ticket) -> Vec<Effect> {
        let Some(member) = self.members.get_mut(&id) else {
            let out = Joined::Out(ResponseError::UnknownMemberId, id);
            return vec![Effect::Joined(ticket, out)];
        };
        let mut effects = abandon(&id, member.waiting, ResponseError::RebalanceInProgress);
        member.waiting = Waiting::Nothing;
        let unchanged = member.protocols == join.protocols;
        member.protocols = join.protocols;
        member.session = join.session;
        member.rebalance = join.rebalance;
        member.alive_until = now + join.session;
        let stays = match self.state {
            State::Completing => unchanged,
            State::Stable => unchanged && id != self.leader,
            State::Preparing { .. } | State::Empty => false,
        };
        if stays {
            let generation = Joined::In(self.generation_for(&id));
            effects.push(Effect::Joined(ticket, generation));
            return effects;
        }
        member.waiting = Waiting::Join(ticket);
        effects.extend(self.prepare(now));
        effects
    }

    /// A static member that comes back without its id gets a new one; the old one is fenced. If it
    /// follows the same protocols, a stable group goes on as it was (KIP-345).
    fn replace(&mut self, now: Instant, old: &str, join: Join, ticket: Ticket) -> Vec<Effect> {
        let Some(mut member) = self.members.remove(old) else {
            let out = Joined::Out(ResponseError::UnknownMemberId, join.member);
            return vec![Effect::Joined(ticket, out)];
        };
        let mut effects = abandon(old, member.waiting, ResponseError::FencedInstanceId);
        let id = join.fresh_id;
        let unchanged = member.protocols == join.protocols;
        let leader_before = self.leader.clone();
        member.protocols = join.protocols;
        member.session = join.session;
        member.rebalance = join.rebalance;
        member.alive_until = now + join.session;
        member.client_id = join.client_id;
        member.client_host = join.client_host;
        member.waiting = Waiting::Nothing;
        if self.leader == old {
            self.leader.clone_from(&id);
        }
        let stays = unchanged && self.state == State::Stable;
        if !stays {
            member.waiting = Waiting::Join(ticket);
        }
        self.members.insert(id.clone(), member);
        if stays {
            // Under the old leader's name, so that a leader does not assign anew.
            let generation = Generation {
                leader: leader_before,
                members: Vec::new(),
                ..self.generation_for(&id)
            };
            effects.push(Effect::Joined(ticket, Joined::In(generation)));
        } else {
            effects.extend(self.prepare(now));
        }
        effects
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
    fn instance(&self, name: &str) -> Option<String> {
        let mut members = self.members.iter();
        let found = members.find(|(_, member)| member.instance.as_deref() == Some(name));
        found.map(|(id, _)| id.clone())
    }
}

/// How a member that wants to join is received.
enum Admission {
    New(String),
    Again(String),
    InPlaceOf(String),
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
