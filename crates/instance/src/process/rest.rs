//! Standing still between invocations, as instances do at AWS.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sandbox::Freezer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long an instance runs on after it has asked for more. An event that comes meanwhile finds it
/// awake, so that a stream of events is not slowed by freezing and thawing.
const DROWSY: Duration = Duration::from_millis(20);

/// How an instance rests.
pub(super) struct Rest {
    freezer: Option<Freezer>,
    state: Arc<Mutex<State>>,
    falling_asleep: JoinSet<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Awake,
    Drowsy,
    Asleep,
}

impl Rest {
    pub(super) fn new(freezer: Option<Freezer>) -> Self {
        Self {
            freezer,
            state: Arc::new(Mutex::new(State::Awake)),
            falling_asleep: JoinSet::new(),
        }
    }

    /// Freezes the instance some time after it has asked for more. Returns at once.
    pub(super) fn begin(&mut self, mut asking: watch::Receiver<usize>) {
        let Some(freezer) = self.freezer.clone() else {
            return;
        };
        *self.state.lock() = State::Drowsy;
        let state = Arc::clone(&self.state);
        self.falling_asleep.spawn(async move {
            // It is gone, or will be found not to ask when it is needed.
            if asking.wait_for(|asking| *asking > 0).await.is_err() {
                return;
            }
            tokio::time::sleep_until(Instant::now() + DROWSY).await;
            let mut state = state.lock();
            if *state == State::Drowsy && freezer.freeze().is_ok() {
                *state = State::Asleep;
            }
        });
    }

    /// Has the instance go on.
    pub(super) fn end(&mut self) {
        self.falling_asleep.abort_all();
        // What was aborted is let go of, so that nothing gathers.
        while self.falling_asleep.try_join_next().is_some() {}
        let mut state = self.state.lock();
        if *state == State::Asleep
            && let Some(freezer) = &self.freezer
            && let Err(error) = freezer.thaw()
        {
            tracing::warn!(%error, "an instance does not wake");
        }
        *state = State::Awake;
    }
}
