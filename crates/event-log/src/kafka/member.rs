//! The node's place in the group of nodes: which shards it was given, and which it holds.
//!
//! A shard is *assigned* from the group's word on, and *held* once the node has written its name
//! into it and read it back. What is revoked is not held from the callback on; the group gives it to
//! nobody before that callback has returned.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{
    BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, Rebalance,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::{Clients, Names, TICK, failed};
use super::committer::Queue;
use super::fact::{Fact, Holder};
use super::view::View;
use crate::{Error, Shard, Share};

/// What the group has said, and the view that goes with it: one lock, so that a shard is seen as
/// held only together with everything that was settled in it before.
pub(super) struct Membership {
    pub(super) node: String,
    pub(super) run: Uuid,
    state: Mutex<State>,
    changed: Condvar,
    share: watch::Sender<Share>,
}

struct State {
    view: View,
    /// Under which generation of the group.
    generation: Option<Arc<ConsumerGroupMetadata>>,
    assigned: Share,
    held: Share,
    /// Counts what the group has said.
    term: u64,
    /// Whether this run has been the node's newest, and whether it no longer is.
    entered: bool,
    superseded: bool,
}

/// The group's word at one moment.
#[derive(Clone)]
pub(super) struct Standing {
    pub(super) generation: Option<Arc<ConsumerGroupMetadata>>,
    pub(super) assigned: Share,
    pub(super) held: Share,
    pub(super) term: u64,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "membership of {}", self.node)
    }
}

impl Membership {
    pub(super) fn new(node: String) -> Self {
        Self {
            state: Mutex::new(State {
                view: View::new(node.clone()),
                generation: None,
                assigned: Share::none(),
                held: Share::none(),
                term: 0,
                entered: false,
                superseded: false,
            }),
            node,
            run: Uuid::new_v4(),
            changed: Condvar::new(),
            share: watch::Sender::new(Share::none()),
        }
    }

    pub(super) fn share(&self) -> watch::Receiver<Share> {
        self.share.subscribe()
    }

    /// Looks at the view.
    pub(super) fn with<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.state.lock().view)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        change(&mut self.state.lock().view)
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.state.lock();
        Standing {
            generation: state.generation.clone(),
            assigned: state.assigned,
            held: state.held,
            term: state.term,
        }
    }

    /// Takes in a fact. A shard with this run's name of the present term in it has been read whole.
    pub(super) fn learn(&self, fact: &Fact, offset: i64) {
        let mut state = self.state.lock();
        state.view.apply(fact, offset);
        if state.view.run().is_some_and(|run| run != self.run) && state.entered {
            state.superseded = true;
            state.held = Share::none();
            self.share.send_replace(Share::none());
        }
        state.entered |= state.view.run() == Some(self.run);
        if let Fact::Holder { shard, holder } = fact
            && !state.superseded
            && state.assigned.contains(*shard)
            && state.view.holder(*shard) == Some(holder)
            && *holder == self.holder(state.term)
        {
            state.held = state.held.with(*shard);
            let held = state.held;
            // Under the lock, so that watchers see shares in their order.
            self.share.send_replace(held);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Whether another process runs as this node.
    pub(super) fn is_superseded(&self) -> bool {
        self.state.lock().superseded
    }

    /// The name to write into shards under a term.
    pub(super) fn holder(&self, term: u64) -> Holder {
        Holder {
            node: self.node.clone(),
            run: self.run,
            term,
        }
    }

    /// Waits until `wanted` of the view, or `stop`.
    pub(super) fn wait_for(&self, stop: &CancellationToken, wanted: impl Fn(&View) -> bool) {
        let mut state = self.state.lock();
        while !wanted(&state.view) && !stop.is_cancelled() {
            self.changed.wait_for(&mut state, TICK);
        }
    }

    /// Waits until the group has said something after `term`, at most `patience`.
    pub(super) fn wait_beyond(&self, term: u64, patience: Duration) {
        let mut state = self.state.lock();
        self.changed
            .wait_while_for(&mut state, |state| state.term <= term, patience);
    }

    fn assigned(&self, shards: Share, generation: Option<ConsumerGroupMetadata>) -> u64 {
        let mut state = self.state.lock();
        state.generation = generation.map(Arc::new);
        state.assigned = state.assigned.and(shards);
        state.term += 1;
        let term = state.term;
        drop(state);
        self.changed.notify_all();
        term
    }

    fn revoked(&self, shards: Share) {
        let mut state = self.state.lock();
        state.assigned = state.assigned.but(shards);
        state.held = state.held.but(shards);
        let held = state.held;
        self.share.send_if_modified(|share| {
            let changed = *share != held;
            *share = held;
            changed
        });
        drop(state);
        self.changed.notify_all();
    }
}

/// Hears what the group says.
pub(super) struct Listener {
    membership: Arc<Membership>,
    queue: Queue,
}

impl ClientContext for Listener {}

impl ConsumerContext for Listener {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Revoke(list) => {
                tracing::info!(shards = list.count(), "work goes to other nodes");
                self.membership.revoked(shards(list));
            }
            Rebalance::Error(error) => {
                tracing::warn!(%error, "the group of nodes cannot share the work");
                self.membership.revoked(Share::all());
            }
            Rebalance::Assign(_) => {}
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Assign(list) = rebalance else {
            return;
        };
        // There is nothing to fetch in the shards.
        if list.count() > 0
            && let Err(error) = consumer.pause(list)
        {
            tracing::debug!(%error, "the shards are not paused");
        }
        // A generation read after a loss would be none, which Kafka takes from a group without
        // members: the loss is looked for after it was read.
        let generation = consumer.group_metadata();
        let generation = generation.filter(|_| !consumer.assignment_lost());
        let term = self.membership.assigned(shards(list), generation);
        tracing::info!(shards = list.count(), term, "work comes to this node");
        self.queue.wake();
    }
}

fn shards(list: &TopicPartitionList) -> Share {
    let elements = list.elements();
    let index = elements.iter().map(|element| element.partition());
    index
        .filter_map(|index| Shard::new(u32::try_from(index).ok()?))
        .collect()
}

/// The client that is the member.
pub(super) struct Member(BaseConsumer<Listener>);

impl Member {
    pub(super) fn join(
        clients: &Clients,
        names: &Names,
        membership: Arc<Membership>,
        queue: Queue,
    ) -> Result<Self, Error> {
        let join = || {
            let listener = Listener { membership, queue };
            let consumer: BaseConsumer<Listener> =
                clients.member().create_with_context(listener)?;
            consumer.subscribe(&[&names.shards])?;
            Ok(consumer)
        };
        join()
            .map(Self)
            .map_err(|error| failed("join the group of nodes", error))
    }

    /// Keeps the membership alive until `stop`, then leaves the group.
    pub(super) fn run(self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Some(Err(error)) = self.0.poll(TICK) {
                tracing::debug!(%error, "in the group of nodes");
            }
        }
    }
}
