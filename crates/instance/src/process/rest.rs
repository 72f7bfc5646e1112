//! Standing still between invocations, as instances do at AWS.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sandbox::Freezer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long an instance runs on after it has asked for more. An event that comes meanwhile finds it
/// awake, so that a stream of events is not slowed by freezing and thawing.
const DROWSY: Duration = Duration::from_millis(20);

/// How an instance rests.
pub(super) struct Rest {
    freezer: Option<Freezer>,
    /// Held while the instance stands still, and by those whom that would leave in the middle.
    awake: Arc<Semaphore>,
    state: Arc<Mutex<State>>,
    falling_asleep: JoinSet<()>,
}

struct State {
    motion: Motion,
    /// Whether a task watches for the instance to fall asleep. It looks again only after a while, so
    /// that a stream of events costs no timer for each.
    watched: bool,
}

enum Motion {
    Busy,
    Idle(Instant),
    Asleep(OwnedSemaphorePermit),
}

impl Rest {
    /// Nothing rests while somebody else has the permit of `awake`, nor can it be had from what rests.
    pub(super) fn new(freezer: Option<Freezer>, awake: Arc<Semaphore>) -> Self {
        Self {
            freezer,
            awake,
            state: Arc::new(Mutex::new(State {
                motion: Motion::Busy,
                watched: false,
            })),
            falling_asleep: JoinSet::new(),
        }
    }

    /// Freezes the instance some time after it has asked for more. Returns at once.
    pub(super) fn begin(&mut self, asking: impl FnOnce() -> watch::Receiver<usize>) {
        let Some(freezer) = &self.freezer else {
            return;
        };
        let mut state = self.state.lock();
        state.motion = Motion::Idle(Instant::now());
        if !std::mem::replace(&mut state.watched, true) {
            // What has ended is let go of, so that nothing gathers.
            while self.falling_asleep.try_join_next().is_some() {}
            let awake = Arc::clone(&self.awake);
            let watch = watch(Arc::clone(&self.state), freezer.clone(), awake, asking());
            self.falling_asleep.spawn(watch);
        }
    }

    /// Has the instance go on.
    pub(super) fn end(&mut self) {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.motion, Motion::Busy) {
            Motion::Busy | Motion::Idle(_) => {}
            Motion::Asleep(_permit) => {
                if let Some(freezer) = &self.freezer
                    && let Err(error) = freezer.thaw()
                {
                    tracing::warn!(%error, "an instance does not wake");
                }
            }
        }
    }
}

/// Freezes an instance that has been idle for long enough. Ends when it has, or finds it busy.
async fn watch(
    state: Arc<Mutex<State>>,
    freezer: Freezer,
    awake: Arc<Semaphore>,
    mut asking: watch::Receiver<usize>,
) {
    let mut look = Instant::now() + DROWSY;
    loop {
        tokio::time::sleep_until(look).await;
        // If it never asks, it will be found so when it is needed.
        if asking.wait_for(|asking| *asking > 0).await.is_err() {
            return;
        }
        let Ok(permit) = Arc::clone(&awake).acquire_owned().await else {
            return;
        };
        let mut state = state.lock();
        match state.motion {
            Motion::Idle(since) if since + DROWSY > Instant::now() => look = since + DROWSY,
            Motion::Idle(_) => {
                state.watched = false;
                if freezer.freeze().is_ok() {
                    state.motion = Motion::Asleep(permit);
                }
                return;
            }
            Motion::Busy | Motion::Asleep(_) => {
                state.watched = false;
                return;
            }
        }
    }
}
