//! Keeps the groups, the clients that wait in them, and their timers.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::consumer;
use super::group::Group;
use super::member::{Assigned, Caller, Effect, Join, Joined, Member, Sync, Ticket};
use crate::broker::Broker;
use crate::error_code::Refusal;

/// Bytes that all groups together may keep in memory.
const MAX_BYTES: usize = 128 << 20;

/// All groups of a gateway. An id belongs to a group of one protocol or the other, while that has
/// members.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(super) catalogs: consumer::Catalogs,
    /// How long a member of the consumer protocol may be silent.
    session: Duration,
    groups: Mutex<Groups>,
    /// Wakes the timers when a deadline comes before the one they wait for.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Groups {
    by_id: HashMap<String, Group>,
    consumers: HashMap<String, consumer::Group>,
    waiting: HashMap<Ticket, Waiter>,
    tickets: u64,
    bytes: usize,
    /// What the timers wait for.
    armed: Option<Instant>,
}

/// What the members of a group read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// It has no members.
    Nothing,
    /// Topics of these names.
    Topics(BTreeSet<String>),
    /// They are no consumers, or say nothing that is understood.
    Unknown,
}

#[derive(Debug)]
enum Waiter {
    Join(oneshot::Sender<Joined>),
    Sync(oneshot::Sender<Result<Assigned, ResponseError>>),
}

impl Coordinator {
    /// Without groups.
    pub(crate) fn new(session: Duration) -> Self {
        Self {
            catalogs: consumer::Catalogs::default(),
            session,
            groups: Mutex::default(),
            sooner: Notify::new(),
        }
    }

    /// Completes rebalances and drops silent members when their deadlines come, until `stop`.
    pub(crate) async fn run_timers(&self, stop: CancellationToken) {
        loop {
            let next = self.groups.lock().expire(now());
            let due = async {
                match next {
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sooner.notified() => {}
                () = due => {}
            }
        }
    }

    /// Joins a group; answers when the next generation is there, or `gone` says that nobody waits.
    pub(super) async fn join(&self, group: &str, join: Join, gone: &CancellationToken) -> Joined {
        let member = join.member.clone();
        let (sender, receiver) = oneshot::channel();
        let id = group;
        let full = self.change(group, |groups, group| {
            if groups.consumers.contains_key(id) {
                let code = ResponseError::InconsistentGroupProtocol;
                return Some(Joined::Out(code, join.member));
            }
            if groups.bytes > MAX_BYTES {
                return Some(Joined::Out(ResponseError::GroupMaxSizeReached, join.member));
            }
            let ticket = groups.ticket(Waiter::Join(sender));
            let effects = group.join(now(), join, ticket);
            groups.apply(effects);
            None
        });
        if let Some(refused) = full {
            return refused;
        }
        let nobody = Joined::Out(ResponseError::CoordinatorNotAvailable, member);
        tokio::select! {
            biased;
            joined = receiver => joined.unwrap_or(nobody),
            () = gone.cancelled() => nobody,
        }
    }

    /// Asks for an assignment; answers when the leader has given it.
    pub(super) async fn sync(
        &self,
        group: &str,
        sync: Sync,
        gone: &CancellationToken,
    ) -> Result<Assigned, ResponseError> {
        let (sender, receiver) = oneshot::channel();
        self.change(group, |groups, group| {
            let ticket = groups.ticket(Waiter::Sync(sender));
            let effects = group.sync(now(), sync, ticket);
            groups.apply(effects);
        });
        let nobody = Err(ResponseError::CoordinatorNotAvailable);
        tokio::select! {
            biased;
            synced = receiver => synced.unwrap_or(nobody),
            () = gone.cancelled() => nobody,
        }
    }

    /// Takes a decision of a group that answers at once.
    pub(super) fn decide<T>(
        &self,
        group: &str,
        decide: impl FnOnce(Instant, &mut Group) -> T,
    ) -> T {
        self.change(group, |_, group| decide(now(), group))
    }

    /// Lets a member go.
    pub(super) fn leave(
        &self,
        group: &str,
        member: &str,
        instance: Option<&str>,
    ) -> Result<(), ResponseError> {
        self.change(group, |groups, group| {
            let effects = group.leave(now(), member, instance)?;
            groups.apply(effects);
            Ok(())
        })
    }

    /// Takes a sign of life of a member of the consumer protocol.
    pub(super) fn beat(
        &self,
        broker: &Broker,
        id: &str,
        beat: consumer::Beat,
    ) -> Result<consumer::Beaten, Refusal> {
        let catalog = self.catalogs.latest(broker);
        let now = now();
        let mut groups = self.groups.lock();
        if groups.by_id.contains_key(id) {
            return Err(Refusal::new(
                ResponseError::GroupIdNotFound,
                format!("group {id} has members of the classic protocol"),
            ));
        }
        if groups.bytes > MAX_BYTES && !groups.consumers.contains_key(id) {
            return Err(Refusal::new(
                ResponseError::GroupMaxSizeReached,
                "there is no memory for more groups",
            ));
        }
        let mut group = groups.consumers.remove(id).unwrap_or_default();
        groups.bytes = groups.bytes.saturating_sub(group.bytes());
        let beaten = group.beat(now, self.session, beat, &catalog);
        groups.bytes += group.bytes();
        let deadline = group.next_deadline();
        if !group.is_forgotten() {
            groups.consumers.insert(id.to_owned(), group);
        }
        self.arm(&mut groups, deadline);
        beaten.map_err(|refused| Refusal::new(refused.code, refused.reason))
    }

    /// Whether `caller` may commit offsets of the group: a member of the current generation or
    /// epoch, or anybody while there are no members.
    pub(super) fn may_commit(&self, id: &str, caller: &Caller) -> Result<(), ResponseError> {
        let of_members = self.look_at_consumer(id, |group| {
            group.check_epoch(&caller.member, caller.generation)
        });
        of_members.unwrap_or_else(|| self.decide(id, |now, group| group.may_commit(now, caller)))
    }

    /// Whether a member that says so may read offsets of the group: in the classic protocol anybody
    /// may, in the consumer protocol one whose epoch it is, so that it learns of its end.
    pub(super) fn may_fetch(&self, id: &str, caller: &Caller) -> Result<(), ResponseError> {
        let of_members = self.look_at_consumer(id, |group| {
            group.check_epoch(&caller.member, caller.generation)
        });
        of_members.unwrap_or(Ok(()))
    }

    /// Looks at a group of the consumer protocol that has members.
    pub(super) fn look_at_consumer<T>(
        &self,
        id: &str,
        look: impl FnOnce(&consumer::Group) -> T,
    ) -> Option<T> {
        self.groups.lock().consumers.get(id).map(look)
    }

    /// Looks at every group of the consumer protocol that has members.
    pub(super) fn look_at_consumers<T>(
        &self,
        mut look: impl FnMut(&str, &consumer::Group) -> T,
    ) -> Vec<T> {
        let groups = self.groups.lock();
        let all = groups.consumers.iter();
        all.map(|(id, group)| look(id, group)).collect()
    }

    /// Whether a group has members of either protocol.
    pub(super) fn has_members(&self, id: &str) -> bool {
        let groups = self.groups.lock();
        groups.by_id.contains_key(id) || groups.consumers.contains_key(id)
    }

    /// What the members of a group of either protocol read.
    pub(super) fn reading(&self, broker: &Broker, id: &str) -> Reading {
        let catalog = self.catalogs.latest(broker);
        let groups = self.groups.lock();
        if let Some(group) = groups.consumers.get(id) {
            return Reading::Topics(group.reads(&catalog));
        }
        let Some(group) = groups.by_id.get(id) else {
            return Reading::Nothing;
        };
        let said = group.members.values().map(Member::subscription);
        let said: Option<Vec<_>> = said.collect();
        said.map_or(Reading::Unknown, |topics| {
            Reading::Topics(topics.into_iter().flatten().collect())
        })
    }

    /// Looks at a group of the classic protocol that has members.
    pub(super) fn look<T>(&self, group: &str, look: impl FnOnce(&Group) -> T) -> Option<T> {
        self.groups.lock().by_id.get(group).map(look)
    }

    /// Looks at every group of the classic protocol that has members.
    pub(super) fn look_at_all<T>(&self, mut look: impl FnMut(&str, &Group) -> T) -> Vec<T> {
        let groups = self.groups.lock();
        let all = groups.by_id.iter();
        all.map(|(id, group)| look(id, group)).collect()
    }

    /// Changes a group, made for the purpose if need be and forgotten when nothing is left of it.
    fn change<T>(&self, id: &str, change: impl FnOnce(&mut Groups, &mut Group) -> T) -> T {
        let mut groups = self.groups.lock();
        let mut group = groups.by_id.remove(id).unwrap_or_default();
        groups.bytes = groups.bytes.saturating_sub(group.bytes());
        let outcome = change(&mut groups, &mut group);
        groups.bytes += group.bytes();
        let deadline = group.next_deadline();
        if !group.is_forgotten() {
            groups.by_id.insert(id.to_owned(), group);
        }
        self.arm(&mut groups, deadline);
        outcome
    }

    /// Wakes the timers if they wait for something later than `deadline`.
    fn arm(&self, groups: &mut Groups, deadline: Option<Instant>) {
        let sooner = match (deadline, groups.armed) {
            (Some(deadline), Some(armed)) => deadline < armed,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if sooner {
            groups.armed = deadline;
            self.sooner.notify_one();
        }
    }
}

impl Groups {
    fn ticket(&mut self, waiter: Waiter) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        self.waiting.insert(ticket, waiter);
        ticket
    }

    fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            // A client that has gone in the meantime hears nothing.
            match effect {
                Effect::Joined(ticket, joined) => {
                    if let Some(Waiter::Join(waiter)) = self.waiting.remove(&ticket) {
                        waiter.send(joined).ok();
                    }
                }
                Effect::Synced(ticket, synced) => {
                    if let Some(Waiter::Sync(waiter)) = self.waiting.remove(&ticket) {
                        waiter.send(synced).ok();
                    }
                }
            }
        }
    }

    /// Does what is due in every group and says when something will be next.
    fn expire(&mut self, now: Instant) -> Option<Instant> {
        let mut effects = Vec::new();
        let mut bytes = 0;
        let mut next = None::<Instant>;
        self.by_id.retain(|_, group| {
            if group.next_deadline().is_some_and(|due| due <= now) {
                effects.extend(group.expire(now));
            }
            let due = group.next_deadline();
            next = next.into_iter().chain(due).min();
            bytes += group.bytes();
            !group.is_forgotten()
        });
        self.consumers.retain(|_, group| {
            group.expire(now);
            next = next.into_iter().chain(group.next_deadline()).min();
            bytes += group.bytes();
            !group.is_forgotten()
        });
        self.bytes = bytes;
        self.armed = next;
        self.apply(effects);
        next
    }
}

/// Deadlines follow the runtime's clock, which a test can pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
