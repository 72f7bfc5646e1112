//! Making sandboxes: which one next, and by whom.
//!
//! Each of a few threads has a spawner process of its own, so that the machine's processors make
//! sandboxes side by side. Whoever waits for a sandbox comes first. What is only to be ready for later
//! is made while no start is under way: it would take processor time and the kernel's locks from it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::early::{EarlySlot, Stock};
use super::process::SpawnerProcess;
use super::slot::Slot;
use super::terms::{Privilege, Request, USERS};
use crate::group::Groups;
use crate::{Early, Error, SpawnerConfig};

/// How many threads at most make what nobody waits for: something else runs on this machine.
const STOCKING: usize = 1;

/// What is needed to make a sandbox, beside a spawner process.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) privilege: Privilege,
    pub(super) groups: Arc<Groups>,
    next: AtomicU32,
}

/// What the threads share with those who start jobs.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) plan: Plan,
    stock: Stock,
    state: Mutex<State>,
    /// Told of everything that may be a reason to work.
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Slot>,
    /// Whoever came when none was ready, first come first served.
    waiting: VecDeque<oneshot::Sender<Result<Slot, Error>>>,
    /// How many are being made because somebody waits.
    serving: usize,
    /// How many are kept ready, and how many may be.
    kept: usize,
    kept_at_most: usize,
    /// How many are missing among those that are kept ready, without those that are being made.
    owed: usize,
    /// What is to be started early.
    early: VecDeque<Early>,
    /// How many of `owed` or `early` are being made.
    stocking: usize,
    /// Whoever waits until nothing is to be started early any more.
    expecting: Vec<oneshot::Sender<()>>,
    /// Starts that are under way.
    starting: usize,
    closed: bool,
}

/// What a thread does next.
#[derive(Debug)]
enum Work {
    /// Makes a sandbox for whoever waits first.
    Serve,
    /// Makes one that is kept ready.
    Refill,
    Early(Early),
    /// Nobody will ask for anything any more.
    Close,
}

/// A start that is under way, for as long as this lives.
pub(super) struct Underway<'a>(&'a Workshop);

impl Plan {
    pub(super) fn new(privilege: Privilege, groups: Groups) -> Self {
        Self {
            privilege,
            groups: Arc::new(groups),
            next: AtomicU32::new(0),
        }
    }

    /// Makes a sandbox. Blocks for a millisecond or some.
    pub(super) fn make(&self, process: &SpawnerProcess) -> Result<Slot, Error> {
        // Each takes two ids; once all have been taken, they are used again.
        let pairs = (USERS.end - USERS.start) / 2;
        let number = self.next.fetch_add(1, Ordering::Relaxed) % pairs;
        let first = USERS.start + 2 * number;
        let (user, keeper) = match self.privilege {
            Privilege::Root => (first, first + 1),
            Privilege::User => {
                let own = rustix::process::geteuid().as_raw();
                (own, own)
            }
        };
        let privilege = self.privilege;
        let ask = |group| Request {
            privilege,
            user,
            keeper,
            group,
        };
        Slot::prepare(process, ask, &self.groups)
    }
}

impl Workshop {
    /// With `first` ready, and as many more to be made as `config` says.
    pub(super) fn new(plan: Plan, first: Slot, config: &SpawnerConfig) -> Self {
        let state = State {
            ready: VecDeque::from([first]),
            kept: config.spares,
            kept_at_most: config.spares_at_most,
            owed: config.spares.saturating_sub(1),
            ..State::default()
        };
        Self {
            plan,
            stock: Stock::of(config.early),
            state: Mutex::new(state),
            work: Condvar::new(),
        }
    }

    /// What a thread does until there is nobody left to do it for.
    pub(super) fn run(&self, process: &SpawnerProcess) {
        loop {
            match self.next() {
                Work::Serve => self.serve(self.plan.make(process)),
                Work::Refill => {
                    self.refill(self.plan.make(process));
                    self.tell_expecting();
                }
                Work::Early(early) => {
                    self.start_early(early, process);
                    self.tell_expecting();
                }
                Work::Close => return,
            }
        }
    }

    fn next(&self) -> Work {
        let mut state = self.state.lock();
        loop {
            match state.next() {
                Some(work) => return work,
                None => self.work.wait(&mut state),
            }
        }
    }

    /// Says that a start is under way.
    pub(super) fn begin(&self) -> Underway<'_> {
        self.state.lock().starting += 1;
        Underway(self)
    }

    /// A ready sandbox; another is to take its place.
    pub(super) async fn take(&self) -> Result<Slot, Error> {
        let receiver = {
            let mut state = self.state.lock();
            if let Some(slot) = state.ready.pop_front() {
                state.owed += 1;
                return Ok(slot);
            }
            state.keep_more();
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back(sender);
            receiver
        };
        self.work.notify_one();
        receiver.await.unwrap_or_else(|_| {
            Err(Error::prepare(
                "take a ready sandbox",
                std::io::Error::other("the starting threads have ended"),
            ))
        })
    }

    /// One of an early program that waits; others are to take its place.
    pub(super) fn take_early(&self, early: &Early) -> Option<EarlySlot> {
        let taken = self.stock.take(early);
        self.restock(early);
        taken
    }

    /// Has as many of an early program wait as are to. Returns when they do, or are about to, or cannot be
    /// started.
    pub(super) async fn expect(&self, early: &Early) {
        self.restock(early);
        let (sender, reached) = oneshot::channel();
        self.state.lock().expecting.push(sender);
        self.tell_expecting();
        // Without an answer there are no threads any more, and nothing to wait for.
        let _ = reached.await;
    }

    fn restock(&self, early: &Early) {
        let missing = self.stock.missing(early);
        if missing > 0 {
            let all = std::iter::repeat_n(early.clone(), missing);
            self.state.lock().early.extend(all);
            self.work.notify_one();
        }
    }

    /// For whoever waits longest.
    fn serve(&self, made: Result<Slot, Error>) {
        let mut state = self.state.lock();
        state.serving -= 1;
        // Whoever it was made for may have got another, or given up.
        match state.hand_out(made) {
            Some(Ok(slot)) => {
                state.ready.push_back(slot);
                state.owed = state.owed.saturating_sub(1);
            }
            Some(Err(error)) => tracing::warn!(%error, "no sandbox could be made"),
            None => {}
        }
    }

    fn refill(&self, made: Result<Slot, Error>) {
        let mut state = self.state.lock();
        state.stocking -= 1;
        match made.map(|slot| state.hand_out(Ok(slot))) {
            Ok(Some(Ok(slot))) => state.ready.push_back(slot),
            Ok(Some(Err(_)) | None) => state.owed += 1,
            // The next one that is taken will be a reason to try again.
            Err(error) => tracing::warn!(%error, "no sandbox could be kept ready"),
        }
    }

    fn start_early(&self, early: Early, process: &SpawnerProcess) {
        let made = self.plan.make(process);
        let started = made.and_then(|slot| {
            EarlySlot::start(slot, &early).map_err(|source| Error::Start {
                executable: early.program.executable.clone(),
                source,
            })
        });
        match started {
            Ok(started) => self.stock.add(early, started),
            Err(error) => {
                tracing::warn!(%error, "nothing could be started early");
                self.stock.give_up(&early);
            }
        }
        self.state.lock().stocking -= 1;
    }

    fn tell_expecting(&self) {
        let mut state = self.state.lock();
        if state.early.is_empty() && state.stocking == 0 {
            for expecting in state.expecting.drain(..) {
                // Whoever has asked may have gone.
                let _ = expecting.send(());
            }
        }
    }

    /// Has the threads end, and ends what is ready.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let ready = std::mem::take(&mut state.ready);
        drop(state);
        self.work.notify_all();
        drop(ready);
        self.stock.clear();
    }
}

#[cfg(test)]
impl Workshop {
    pub(super) fn until_early_ones_speak(&self) {
        self.stock.until_all_speak();
    }
}

impl State {
    fn next(&mut self) -> Option<Work> {
        if self.closed {
            return Some(Work::Close);
        }
        if self.waiting.len() > self.serving {
            self.serving += 1;
            return Some(Work::Serve);
        }
        if self.starting > 0 || self.stocking >= STOCKING {
            return None;
        }
        let work = match self.owed {
            0 => Work::Early(self.early.pop_front()?),
            _ => {
                self.owed -= 1;
                Work::Refill
            }
        };
        self.stocking += 1;
        Some(work)
    }

    /// Has twice as many be ready, as there were too few.
    fn keep_more(&mut self) {
        let more = self.kept.min(self.kept_at_most.saturating_sub(self.kept));
        self.kept += more;
        self.owed += more;
    }

    /// Hands a sandbox, or the reason why there is none, to whoever has waited longest; back when nobody
    /// waits.
    fn hand_out(&mut self, mut made: Result<Slot, Error>) -> Option<Result<Slot, Error>> {
        while let Some(waiting) = self.waiting.pop_front() {
            match waiting.send(made) {
                Ok(()) => return None,
                Err(returned) => made = returned,
            }
        }
        Some(made)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.starting -= 1;
        if state.starting == 0 {
            self.0.work.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_owed(owed: usize) -> State {
        State {
            kept: 2,
            kept_at_most: 5,
            owed,
            ..State::default()
        }
    }

    #[test]
    fn whoever_waits_comes_before_what_is_kept_ready_and_is_served_once() {
        let mut state = with_owed(1);
        let (sender, _receiver) = oneshot::channel();
        state.waiting.push_back(sender);
        state.starting = 1;
        assert!(matches!(state.next(), Some(Work::Serve)));
        assert!(state.next().is_none(), "a start is under way");
        state.starting = 0;
        assert!(matches!(state.next(), Some(Work::Refill)));
        assert!(state.next().is_none(), "nothing is owed any more");
        state.closed = true;
        assert!(matches!(state.next(), Some(Work::Close)));
    }

    #[test]
    fn running_out_doubles_what_is_kept_up_to_the_most() {
        let mut state = with_owed(0);
        let mut kept = || {
            state.keep_more();
            (state.kept, state.owed)
        };
        assert_eq!([kept(), kept(), kept()], [(4, 2), (5, 3), (5, 3)]);
    }

    #[test]
    fn who_has_given_up_hands_on_to_who_waits_next() {
        let mut state = with_owed(0);
        let (gone, _) = oneshot::channel();
        let (sender, mut receiver) = oneshot::channel();
        state.waiting.extend([gone, sender]);
        let error = || Error::prepare("try", std::io::ErrorKind::Other);
        assert!(state.hand_out(Err(error())).is_none());
        assert!(matches!(receiver.try_recv(), Ok(Err(_))));
        assert!(state.hand_out(Err(error())).is_some(), "nobody waits");
    }
}
