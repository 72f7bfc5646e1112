//! How many invocations run at once.
//!
//! A function with a reservation has exactly that much, for itself alone: its ceiling and its
//! floor, and 0 switches it off. All others share what is unreserved. Within the unreserved share,
//! triggers and asynchronous invocations may not take the part that is kept for synchronous calls.
//!
//! A synchronous call that finds no room is refused at once. A queued one waits, first come first
//! served within its share. A [`Permit`] is the right to run one invocation; dropping it passes the
//! room on. Invariant D2 holds because nothing runs without one.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use function::{Function, FunctionName};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{Settings, Throttle};

#[cfg(test)]
mod tests;

/// Hands out permits.
#[derive(Debug)]
pub(crate) struct Concurrency {
    account: u32,
    kept_for_synchronous: u32,
    minimum_unreserved: u32,
    state: Mutex<State>,
}

/// The right to run one invocation of one function.
#[derive(Debug)]
#[must_use = "dropping a permit gives the room away"]
pub(crate) struct Permit {
    from: Arc<Concurrency>,
    function: FunctionName,
    caller: Caller,
}

/// Who asks for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Synchronous,
    Queued,
}

/// A reservation that would leave too little for the functions without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "reserve concurrency {wanted}: at most {available} can be reserved, \
     so that {minimum_unreserved} stay unreserved"
)]
pub struct ReservationError {
    /// What was asked for.
    pub wanted: u32,
    /// What could be had.
    pub available: u32,
    /// What must stay unreserved.
    pub minimum_unreserved: u32,
}

#[derive(Debug, Default)]
struct State {
    reservations: BTreeMap<FunctionName, u32>,
    running: BTreeMap<FunctionName, Running>,
    shares: BTreeMap<ShareKey, Share>,
    next_ticket: u64,
}

/// Whose share: one function's reservation, or what all others have in common (`None`).
type ShareKey = Option<FunctionName>;

#[derive(Clone, Copy, Debug, Default)]
struct Running {
    synchronous: u32,
    queued: u32,
}

#[derive(Debug, Default)]
struct Share {
    running: Running,
    waiting: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    function: FunctionName,
    grant: oneshot::Sender<Permit>,
}

impl Concurrency {
    pub(crate) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            account: settings.account_concurrency,
            kept_for_synchronous: settings.kept_for_synchronous,
            minimum_unreserved: settings.minimum_unreserved,
            state: Mutex::default(),
        })
    }

    /// Takes the functions' reservations as they are now. Waiting callers move to the share that is
    /// now theirs, in the order in which they came.
    pub(crate) fn set_reservations<'a>(
        self: &Arc<Self>,
        functions: impl IntoIterator<Item = &'a Function>,
    ) {
        let reservations = functions
            .into_iter()
            .filter_map(|function| Some((function.name.clone(), function.reserved_concurrency?)))
            .collect();
        let mut state = self.state.lock();
        if state.reservations == reservations {
            return;
        }
        state.reservations = reservations;
        state.share_out_again();
        let keys: Vec<_> = state.shares.keys().cloned().collect();
        let granted = keys
            .iter()
            .flat_map(|key| self.grant(&mut state, key))
            .collect();
        drop(state);
        self.send(granted);
    }

    /// Whether `function` may reserve `wanted`, given everybody else's reservations.
    pub(crate) fn check_reservation(
        &self,
        function: &FunctionName,
        wanted: u32,
    ) -> Result<(), ReservationError> {
        let state = self.state.lock();
        let others: u32 = state
            .reservations
            .iter()
            .filter(|(name, _)| *name != function)
            .fold(0, |sum, (_, reserved)| sum.saturating_add(*reserved));
        let available = self
            .account
            .saturating_sub(others)
            .saturating_sub(self.minimum_unreserved);
        if wanted <= available {
            return Ok(());
        }
        Err(ReservationError {
            wanted,
            available,
            minimum_unreserved: self.minimum_unreserved,
        })
    }

    /// Room for a synchronous call, now or not at all.
    pub(crate) fn try_acquire(
        self: &Arc<Self>,
        function: &FunctionName,
    ) -> Result<Permit, Throttle> {
        let mut state = self.state.lock();
        let key = state.share_of(function);
        if !self.has_room(&state, &key, Caller::Synchronous) {
            return Err(match key {
                Some(_) => Throttle::Reserved,
                None => Throttle::Account,
            });
        }
        state.enter(&key, function, Caller::Synchronous);
        Ok(self.permit(function.clone(), Caller::Synchronous))
    }

    /// Room for a trigger or an asynchronous invocation, as soon as it is this caller's turn.
    ///
    /// Cancel safe: whoever gives up loses the place in the queue and nothing else.
    pub(crate) async fn acquire(self: &Arc<Self>, function: &FunctionName) -> Permit {
        let turn = {
            let mut state = self.state.lock();
            let key = state.share_of(function);
            let share = state.shares.entry(key.clone()).or_default();
            share.waiting.retain(|waiter| !waiter.grant.is_closed());
            if share.waiting.is_empty() && self.has_room(&state, &key, Caller::Queued) {
                state.enter(&key, function, Caller::Queued);
                return self.permit(function.clone(), Caller::Queued);
            }
            state.wait(key, function.clone())
        };
        turn.await
            .expect("a waiting caller's sender is dropped only after it was used")
    }

    fn permit(self: &Arc<Self>, function: FunctionName, caller: Caller) -> Permit {
        Permit {
            from: Arc::clone(self),
            function,
            caller,
        }
    }

    fn has_room(&self, state: &State, key: &ShareKey, caller: Caller) -> bool {
        let running = state
            .shares
            .get(key)
            .map(|share| share.running)
            .unwrap_or_default();
        let limit = match key {
            Some(function) => state.reservations.get(function).copied().unwrap_or(0),
            None => self.unreserved(state),
        };
        let within = running.synchronous + running.queued < limit;
        match (caller, key) {
            (Caller::Synchronous, _) | (Caller::Queued, Some(_)) => within,
            (Caller::Queued, None) => {
                let for_queued = limit.saturating_sub(self.kept_for_synchronous).max(1);
                within && running.queued < for_queued
            }
        }
    }

    /// What functions without a reservation share. Reservations made under a larger account limit
    /// still leave the minimum.
    fn unreserved(&self, state: &State) -> u32 {
        let reserved = state
            .reservations
            .values()
            .fold(0, |sum: u32, reserved| sum.saturating_add(*reserved));
        self.account
            .saturating_sub(reserved)
            .max(self.minimum_unreserved.min(self.account))
    }

    /// Lets in whoever has room in one share. The permits are sent after the lock is free.
    fn grant(&self, state: &mut State, key: &ShareKey) -> Vec<Waiter> {
        let mut granted = Vec::new();
        while self.has_room(state, key, Caller::Queued) {
            let Some(share) = state.shares.get_mut(key) else {
                break;
            };
            let Some(waiter) = share.waiting.pop_front() else {
                break;
            };
            if waiter.grant.is_closed() {
                continue;
            }
            let function = waiter.function.clone();
            state.enter(key, &function, Caller::Queued);
            granted.push(waiter);
        }
        granted
    }

    /// A caller that has given up meanwhile drops its permit here, which passes the room on.
    fn send(self: &Arc<Self>, granted: Vec<Waiter>) {
        for waiter in granted {
            let permit = self.permit(waiter.function, Caller::Queued);
            drop(waiter.grant.send(permit));
        }
    }
}

impl State {
    fn share_of(&self, function: &FunctionName) -> ShareKey {
        self.reservations
            .contains_key(function)
            .then(|| function.clone())
    }

    fn enter(&mut self, key: &ShareKey, function: &FunctionName, caller: Caller) {
        let share = self.shares.entry(key.clone()).or_default();
        *share.running.of(caller) += 1;
        *self.running.entry(function.clone()).or_default().of(caller) += 1;
    }

    fn leave(&mut self, function: &FunctionName, caller: Caller) -> ShareKey {
        let key = self.share_of(function);
        if let Some(share) = self.shares.get_mut(&key) {
            *share.running.of(caller) -= 1;
            let unused = share.running.is_none() && share.waiting.is_empty();
            if unused {
                self.shares.remove(&key);
            }
        }
        if let Some(running) = self.running.get_mut(function) {
            *running.of(caller) -= 1;
            if running.is_none() {
                self.running.remove(function);
            }
        }
        key
    }

    fn wait(&mut self, key: ShareKey, function: FunctionName) -> oneshot::Receiver<Permit> {
        let (grant, turn) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let share = self.shares.entry(key).or_default();
        share.waiting.push_back(Waiter {
            ticket,
            function,
            grant,
        });
        turn
    }

    fn share_out_again(&mut self) {
        let mut waiting: Vec<_> = std::mem::take(&mut self.shares)
            .into_values()
            .flat_map(|share| share.waiting)
            .collect();
        waiting.sort_by_key(|waiter| waiter.ticket);
        for waiter in waiting {
            let key = self.share_of(&waiter.function);
            self.shares
                .entry(key)
                .or_default()
                .waiting
                .push_back(waiter);
        }
        for (function, running) in &self.running {
            let key = self
                .reservations
                .contains_key(function)
                .then(|| function.clone());
            let share = self.shares.entry(key).or_default();
            share.running.synchronous += running.synchronous;
            share.running.queued += running.queued;
        }
    }
}

impl Running {
    fn of(&mut self, caller: Caller) -> &mut u32 {
        match caller {
            Caller::Synchronous => &mut self.synchronous,
            Caller::Queued => &mut self.queued,
        }
    }

    fn is_none(&self) -> bool {
        self.synchronous == 0 && self.queued == 0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.from.state.lock();
        let key = state.leave(&self.function, self.caller);
        let granted = self.from.grant(&mut state, &key);
        drop(state);
        self.from.send(granted);
    }
}
