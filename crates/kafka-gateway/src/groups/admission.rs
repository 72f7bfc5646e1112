//! How members come in: new, again, or in place of their past.

use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::group::{Group, State, abandon};
use super::member::{Effect, Generation, Join, Joined, Member, Newcomers, Synced, Ticket, Waiting};

/// The most members of one group, those that were only named included.
pub(super) const MAX_MEMBERS: usize = 1_000;

/// How a member that wants to join is received.
enum Admission {
    New(String),
    Again(String),
    InPlaceOf(String),
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
            assignment: Bytes::new(),
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
}
