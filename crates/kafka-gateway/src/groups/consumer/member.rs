//! Members of a group, and what goes in and out of its decisions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::assign::Assignor;
use super::catalog::{Catalog, Pattern};

/// A partition: its topic's id and its index.
pub(super) type Place = (Uuid, u32);

/// A member of a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    /// How long it may take to give up partitions.
    pub(super) rebalance: Duration,
    /// The topics that it names.
    pub(super) names: BTreeSet<String>,
    /// And those that match this.
    pub(super) pattern: Pattern,
    pub(super) assignor: Option<Assignor>,
    /// What both came to when they were last looked up, with the number of partitions.
    pub(super) topics: BTreeMap<Uuid, u32>,
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    /// What it has, or may take now.
    pub(super) assigned: BTreeSet<Place>,
    /// What it has yet to give up.
    pub(super) revoking: BTreeSet<Place>,
    pub(super) phase: Phase,
    pub(super) alive_until: Instant,
}

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There, if the target is of its epoch.
    Stable,
    /// It must say until then that it has given up what it must.
    Revoking {
        /// When it is dropped otherwise.
        until: Instant,
    },
    /// Others have yet to give up what it is to get.
    Awaiting,
}

/// A sign of life. What is `None` has not changed.
#[derive(Clone, Debug)]
pub(in crate::groups) struct Beat {
    pub(super) member: String,
    pub(super) epoch: i32,
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance: Option<Duration>,
    pub(super) names: Option<BTreeSet<String>>,
    pub(super) pattern: Option<Pattern>,
    pub(super) assignor: Option<Assignor>,
    pub(super) owned: Option<BTreeSet<Place>>,
    pub(super) now: Instant,
}

/// The answer to a sign of life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::groups) struct Beaten {
    pub(super) member: String,
    pub(super) epoch: i32,
    /// When to give the next one.
    pub(super) interval: Duration,
    /// What the member is to have, if that is news.
    pub(super) assignment: Option<BTreeSet<Place>>,
}

/// Why a sign of life was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::groups) struct Refused {
    pub(in crate::groups) code: ResponseError,
    pub(in crate::groups) reason: String,
}

impl Refused {
    pub(super) fn new(code: ResponseError, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { code, reason }
    }

    pub(super) fn unknown(member: &str) -> Self {
        let reason = format!("the group has no member {member}");
        Self::new(ResponseError::UnknownMemberId, reason)
    }
}

impl Beat {
    /// Whether it says everything, so that the answer must too.
    pub(super) fn is_full(&self) -> bool {
        let subscribes = self.names.is_some() || self.pattern.is_some();
        self.rebalance.is_some() && subscribes && self.owned.is_some()
    }
}

impl Member {
    /// A member that has nothing yet.
    pub(super) fn of(beat: &Beat) -> Self {
        Self {
            instance: beat.instance.clone(),
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance: Duration::ZERO,
            names: BTreeSet::new(),
            pattern: Pattern::default(),
            assignor: None,
            topics: BTreeMap::new(),
            epoch: 0,
            previous_epoch: 0,
            assigned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            phase: Phase::Stable,
            alive_until: beat.now,
        }
    }

    /// Takes over what a sign of life says; true when the assignment may be another for it.
    pub(super) fn update(&mut self, beat: Beat) -> bool {
        let is_new = self.epoch == 0 && self.assigned.is_empty() && self.client_host.is_empty();
        self.client_id = beat.client_id;
        self.client_host = beat.client_host;
        self.rebalance = beat.rebalance.unwrap_or(self.rebalance);
        self.rack = beat.rack.or_else(|| self.rack.take());
        let mut changed = is_new;
        if let Some(names) = beat.names.filter(|names| *names != self.names) {
            self.names = names;
            changed = true;
        }
        if let Some(pattern) = beat.pattern.filter(|pattern| *pattern != self.pattern) {
            self.pattern = pattern;
            changed = true;
        }
        if beat.assignor.is_some() && beat.assignor != self.assignor {
            self.assignor = beat.assignor;
            changed = true;
        }
        changed
    }

    /// Looks its subscription up.
    pub(super) fn resolve(&mut self, catalog: &Catalog) {
        let named = self.names.iter().filter_map(|name| catalog.find(name));
        self.topics = named.chain(catalog.matching(&self.pattern)).collect();
    }

    /// When it is dropped unless it says something.
    pub(super) fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Revoking { until } => self.alive_until.min(until),
            Phase::Stable | Phase::Awaiting => self.alive_until,
        }
    }

    /// Bytes that it keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.len() + 64).sum();
        let places = self.assigned.len() + self.revoking.len();
        let texts = [&self.instance, &self.rack].map(|text| text.as_ref().map_or(0, String::len));
        let names = names + texts.iter().sum::<usize>() + self.client_id.len();
        512 + names + self.pattern.bytes() + places * 64 + self.topics.len() * 64
    }
}
