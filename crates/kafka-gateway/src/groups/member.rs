//! Members of a group, and what goes in and out of its decisions.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::subscription;

/// A protocol that a member could follow, and what it tells its leader under it.
pub(super) type Protocol = (String, Bytes);

/// Names a client that waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// A member of a group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The order in which members came: the first is the leader.
    pub(super) arrival: u64,
    /// Its own name, when it is static.
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    /// In the order of its preference.
    pub(super) protocols: Vec<Protocol>,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    /// Without a sign of life until then it is dropped, unless it waits for us.
    pub(super) alive_until: Instant,
    pub(super) waiting: Waiting,
    /// Whether it has asked for its assignment in this generation.
    pub(super) synced: Synced,
    pub(super) assignment: Bytes,
}

/// What a member waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Nothing,
    /// The next generation.
    Join(Ticket),
    /// Its assignment.
    Sync(Ticket),
}

/// Whether a member has asked for its assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synced {
    Yes,
    NotYet,
}

/// A wish to join.
#[derive(Clone, Debug)]
pub(super) struct Join {
    /// The member's id; empty when it has none yet.
    pub(super) member: String,
    /// The id it gets if it needs one.
    pub(super) fresh_id: String,
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) protocol_type: String,
    pub(super) protocols: Vec<Protocol>,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    pub(super) newcomers: Newcomers,
}

/// How a member without an id is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newcomers {
    /// It joins and hears its id with the generation.
    JoinAtOnce,
    /// It hears its id first and joins again with it, so that a lost answer leaves no ghost
    /// (KIP-394).
    AreNamedFirst,
}

/// A wish for an assignment; from the leader, with everybody's.
#[derive(Clone, Debug)]
pub(super) struct Sync {
    pub(super) caller: Caller,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) assignments: Vec<(String, Bytes)>,
}

/// Who a member says it is.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) generation: i32,
}

/// What a member hears when it joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Joined {
    In(Generation),
    /// Refused, with the member's id as far as it has one.
    Out(ResponseError, String),
}

/// A generation as one member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) number: i32,
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) leader: String,
    pub(super) member: String,
    /// Everybody, for the leader; nobody, for the others.
    pub(super) members: Vec<Peer>,
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) metadata: Bytes,
}

/// What a member hears when it asked for its assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) protocol_type: String,
    pub(super) protocol: String,
    pub(super) assignment: Bytes,
}

/// An answer to a client that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Joined(Ticket, Joined),
    Synced(Ticket, Result<Assigned, ResponseError>),
}

impl Member {
    /// What it tells its leader under `protocol`.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let own = self.protocols.iter().find(|(name, _)| name == protocol);
        own.map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// The topics that it reads, as far as it is a consumer that says so.
    pub(super) fn subscription(&self) -> Option<BTreeSet<String>> {
        let mut said = self
            .protocols
            .iter()
            .map(|(_, own)| subscription::topics(own));
        said.try_fold(BTreeSet::new(), |mut all, topics| {
            all.extend(topics?);
            Some(all)
        })
    }

    /// Bytes that the member keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        let protocols = self.protocols.iter();
        let protocols: usize = protocols.map(|(name, own)| name.len() + own.len()).sum();
        let instance = self.instance.as_ref().map_or(0, String::len);
        // The member's id begins with the client's or the instance's.
        let names = 2 * (self.client_id.len() + instance);
        protocols + self.assignment.len() + names + 512
    }

    /// The moment at which its silence ends its membership; none while it waits for us.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.waiting == Waiting::Nothing).then_some(self.alive_until)
    }
}
