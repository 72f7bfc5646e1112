//! Warm instances: taken, given back, reaped.
//!
//! An invocation takes the most recently used idle instance of exactly its revision, or starts one;
//! afterwards the instance is idle again. Idle instances end at a deadline, when their revision is
//! retired, or when room is needed. Taking the youngest lets the surplus of a burst age out. Those of
//! versions with provisioned concurrency stay, are taken first, and are beside what room is made for.
//!
//! The pool does not limit concurrency: its caller does. It decides nothing about retries.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Finished, Instance, Invocation, LaunchError, Launcher, Spec};
use provisions::{Ahead, Provisions};

mod provisions;
#[cfg(test)]
mod tests;

pub use provisions::Provisioned;

/// How long and how many.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// How long an instance stays warm after its last invocation.
    pub idle: Duration,
    /// Live instances above which starting one ends the longest idle one first. Instances that
    /// serve are never ended for it, so that the number may be passed while all are busy.
    pub max_instances: usize,
}

impl Default for PoolConfig {
    /// Five minutes, 256 instances.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(5 * 60),
            max_instances: 256,
        }
    }
}

/// How many instances are alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InstanceCount {
    /// Warm and waiting.
    pub idle: usize,
    /// Starting or serving.
    pub busy: usize,
}

/// The instances of one server.
pub struct Pool {
    launcher: Arc<dyn Launcher>,
    config: PoolConfig,
    state: Mutex<State>,
    /// Wakes [`Pool::run`]: a deadline or an instance to end has appeared.
    reaping: Notify,
    /// Wakes [`Pool::shutdown`]: an invocation has ended.
    drained: Notify,
    /// Cancelled when invocations that are still running must end.
    kill: CancellationToken,
}

#[derive(Default)]
struct State {
    /// Longest idle first. Looked through from the back, which is short for the caller that has
    /// just given an instance back.
    idle: VecDeque<Idle>,
    busy: HashMap<u64, Busy>,
    provisions: Provisions,
    /// No longer to be used; waits to be shut down.
    ending: Vec<Box<dyn Instance>>,
    next_ticket: u64,
    closed: bool,
    gauges: Gauges,
}

/// How many instances there are, as metrics: looked up once, for they are set several times for each
/// invocation.
struct Gauges {
    idle: Gauge,
    busy: Gauge,
}

impl Default for Gauges {
    fn default() -> Self {
        Self {
            idle: metrics::gauge!("tidemill_instances", "state" => "idle"),
            busy: metrics::gauge!("tidemill_instances", "state" => "busy"),
        }
    }
}

struct Idle {
    spec: Arc<Spec>,
    instance: Box<dyn Instance>,
    until: Instant,
}

struct Busy {
    spec: Arc<Spec>,
    retired: bool,
    kind: Kind,
}

/// Which instance serves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Not known yet, or one that was started for want of another.
    OnDemand,
    /// One of those that are kept initialised.
    Provisioned,
}

/// A place among the busy; left on drop, so that an abandoned invocation is no longer counted.
struct Place<'a> {
    pool: &'a Pool,
    ticket: u64,
}

impl Pool {
    /// A pool without instances. [`Pool::run`] must run beside it, or idle instances stay.
    #[must_use]
    pub fn new(launcher: Arc<dyn Launcher>, config: PoolConfig) -> Self {
        Self {
            launcher,
            config,
            state: Mutex::default(),
            reaping: Notify::new(),
            drained: Notify::new(),
            kill: CancellationToken::new(),
        }
    }

    /// Runs one invocation of `spec` on a warm instance, or on a new one. The result's `instance`
    /// is `None`: the pool keeps it.
    ///
    /// Dropping the future kills the instance that serves it.
    ///
    /// # Errors
    /// When no instance could be started, or the pool is shutting down. Whatever the function
    /// itself does, initialisation included, is an [`crate::Outcome`].
    pub async fn invoke(
        &self,
        spec: &Arc<Spec>,
        invocation: Invocation,
    ) -> Result<Finished, LaunchError> {
        let place = self.enter(spec)?;
        let serve = async {
            let instance = match self.warm(spec, &place).await {
                Some(instance) => instance,
                None => self.start(spec).await?,
            };
            Ok(instance.invoke(invocation).await)
        };
        let mut finished = tokio::select! {
            finished = serve => finished?,
            () = self.kill.cancelled() => return Err(shutting_down(spec)),
        };
        if let Some(init) = finished.metrics.init {
            metrics::histogram!("tidemill_init_seconds", "function" => spec.function.clone())
                .record(init.as_secs_f64());
        }
        if let Some(instance) = finished.instance.take() {
            place.give_back(instance);
        }
        Ok(finished)
    }

    /// Ends the instances of this revision of this version: idle ones now, busy ones after their
    /// invocation. Call it when code or configuration has changed, or when the version is gone.
    pub fn retire(&self, spec: &Spec) {
        let retired = |of: &Spec| same(of, spec);
        let mut state = self.state.lock();
        for busy in state.busy.values_mut() {
            busy.retired |= retired(&busy.spec);
        }
        let (gone, stay) = std::mem::take(&mut state.idle)
            .into_iter()
            .partition::<VecDeque<_>, _>(|idle| retired(&idle.spec));
        state.idle = stay;
        state
            .ending
            .extend(gone.into_iter().map(|idle| idle.instance));
        let provisioned = state.provisions.retire(spec);
        state.ending.extend(provisioned);
        state.report();
        drop(state);
        self.reaping.notify_one();
    }

    /// Keeps so many instances of each of these initialised, and none of any other version. They are
    /// started in [`Pool::run`].
    pub fn provision(&self, wanted: Vec<(Arc<Spec>, usize)>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let surplus = state.provisions.set(wanted);
        state.ending.extend(surplus);
        state.report();
        drop(state);
        self.reaping.notify_one();
    }

    /// What has become of the provisioned concurrency of `spec`; `None` where there is none.
    #[must_use]
    pub fn provisioned(&self, spec: &Spec) -> Option<Provisioned> {
        self.state.lock().provisions.status(spec)
    }

    /// How many instances are alive now.
    #[must_use]
    pub fn count(&self) -> InstanceCount {
        self.state.lock().count()
    }

    /// How many instances of each function are alive now, by the function's name.
    #[must_use]
    pub fn count_by_function(&self) -> BTreeMap<String, InstanceCount> {
        let state = self.state.lock();
        let mut counts: BTreeMap<String, InstanceCount> = BTreeMap::new();
        for idle in &state.idle {
            counts.entry(idle.spec.function.clone()).or_default().idle += 1;
        }
        for (function, idle) in state.provisions.idle() {
            counts.entry(function.to_owned()).or_default().idle += idle;
        }
        for busy in state.busy.values() {
            counts.entry(busy.spec.function.clone()).or_default().busy += 1;
        }
        counts
    }

    /// Ends idle instances at their deadline and those that were retired, and starts those that are
    /// to be kept initialised, until `stop`. A timer is armed only while something is idle or could
    /// not be started.
    pub async fn run(&self, stop: CancellationToken) {
        let mut starting = JoinSet::new();
        loop {
            let (ending, next) = self.state.lock().due(Instant::now());
            join_all(ending.into_iter().map(Instance::shutdown)).await;
            let (starts, again) = {
                let mut state = self.state.lock();
                let starts = state.provisions.starts(Instant::now());
                (starts, state.provisions.again())
            };
            for spec in starts {
                starting.spawn(Ahead::start(Arc::clone(&self.launcher), spec));
            }
            let next = next.into_iter().chain(again).min();
            let deadline = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.reaping.notified() => {}
                () = deadline => {}
                Some(ahead) = starting.join_next(), if !starting.is_empty() => {
                    // Nobody aborts them, so one that did not end by itself has panicked.
                    let ahead = ahead.unwrap_or_else(|error| resume_unwind(error.into_panic()));
                    self.state.lock().started(ahead);
                }
            }
        }
    }

    /// Takes no more invocations, waits up to `grace` for those that run, kills what is left, and
    /// returns the number of invocations that had to be killed. Afterwards everything has been told
    /// to end, and whatever was idle has ended.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.state.lock().closed = true;
        let in_time = tokio::time::timeout(grace, self.until_none_is_busy()).await;
        let killed = match in_time {
            Ok(()) => 0,
            Err(_) => self.count().busy,
        };
        self.kill.cancel();
        self.until_none_is_busy().await;
        let ending = {
            let mut state = self.state.lock();
            let mut ending = std::mem::take(&mut state.ending);
            ending.extend(state.idle.drain(..).map(|idle| idle.instance));
            ending.extend(state.provisions.clear());
            state.report();
            ending
        };
        join_all(ending.into_iter().map(Instance::shutdown)).await;
        killed
    }

    async fn until_none_is_busy(&self) {
        loop {
            let ended = self.drained.notified();
            if self.state.lock().busy.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// A place for an invocation of `spec`.
    fn enter(&self, spec: &Arc<Spec>) -> Result<Place<'_>, LaunchError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(shutting_down(spec));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let busy = Busy {
            spec: Arc::clone(spec),
            retired: false,
            kind: Kind::OnDemand,
        };
        state.busy.insert(ticket, busy);
        state.report();
        Ok(Place { pool: self, ticket })
    }

    /// An idle instance that can serve `spec`: one of those that are kept initialised, or the youngest.
    async fn warm(&self, spec: &Spec, place: &Place<'_>) -> Option<Box<dyn Instance>> {
        loop {
            let mut instance = self.state.lock().take_warm(spec, place.ticket)?;
            if instance.ready().await {
                return Some(instance);
            }
            self.state.lock().lose(instance, place.ticket);
            self.reaping.notify_one();
        }
    }

    /// A new instance, after making room for it. The caller's place is counted already.
    async fn start(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        self.make_room();
        metrics::counter!("tidemill_cold_starts_total", "function" => spec.function.clone())
            .increment(1);
        self.launcher.launch(spec).await
    }

    fn make_room(&self) {
        let mut state = self.state.lock();
        if state.idle.len() + state.busy.len() > self.config.max_instances
            && let Some(longest_idle) = state.idle.pop_front()
        {
            state.ending.push(longest_idle.instance);
            state.report();
            drop(state);
            self.reaping.notify_one();
        }
    }
}

impl State {
    fn take_warm(&mut self, spec: &Spec, ticket: u64) -> Option<Box<dyn Instance>> {
        let function = || spec.function.clone();
        if let Some(instance) = self.provisions.take(spec) {
            metrics::counter!("tidemill_provisioned_invocations_total", "function" => function())
                .increment(1);
            if let Some(busy) = self.busy.get_mut(&ticket) {
                busy.kind = Kind::Provisioned;
            }
            self.report();
            return Some(instance);
        }
        if self.provisions.is_provisioned(spec) {
            metrics::counter!("tidemill_provisioned_spillover_total", "function" => function())
                .increment(1);
        }
        let youngest = self.idle.iter().rposition(|idle| same(&idle.spec, spec))?;
        let idle = self.idle.remove(youngest)?;
        self.report();
        Some(idle.instance)
    }

    /// An idle instance that cannot serve any more.
    fn lose(&mut self, instance: Box<dyn Instance>, ticket: u64) {
        self.ending.push(instance);
        if let Some(busy) = self.busy.get_mut(&ticket)
            && busy.kind == Kind::Provisioned
        {
            busy.kind = Kind::OnDemand;
            self.provisions.lose(&busy.spec);
        }
    }

    /// What became of a start ahead.
    fn started(&mut self, ahead: Ahead) {
        let surplus = self.provisions.started(ahead, Instant::now());
        self.ending.extend(surplus);
        self.report();
    }

    /// What must end now, and when to look again. Instances become idle in the order of their
    /// deadlines, because all are kept equally long.
    fn due(&mut self, now: Instant) -> (Vec<Box<dyn Instance>>, Option<Instant>) {
        let mut ending = std::mem::take(&mut self.ending);
        while self.idle.front().is_some_and(|idle| idle.until <= now)
            && let Some(idle) = self.idle.pop_front()
        {
            ending.push(idle.instance);
        }
        self.report();
        (ending, self.idle.front().map(|idle| idle.until))
    }

    fn count(&self) -> InstanceCount {
        InstanceCount {
            idle: self.idle.len() + self.provisions.idle().map(|(_, idle)| idle).sum::<usize>(),
            busy: self.busy.len(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    fn report(&self) {
        let count = self.count();
        self.gauges.idle.set(count.idle as f64);
        self.gauges.busy.set(count.busy as f64);
        self.provisions.report();
    }
}

impl Place<'_> {
    /// Makes the instance idle, or ends it when its revision has been retired meanwhile.
    fn give_back(self, instance: Box<dyn Instance>) {
        let mut state = self.pool.state.lock();
        if let Some(busy) = state.busy.remove(&self.ticket) {
            if busy.kind == Kind::Provisioned {
                let surplus = state.provisions.give_back(&busy.spec, instance);
                state.ending.extend(surplus);
            } else if busy.retired || state.closed {
                state.ending.push(instance);
            } else {
                state.idle.push_back(Idle {
                    spec: busy.spec,
                    instance,
                    until: Instant::now() + self.pool.config.idle,
                });
            }
        }
        let wake = !state.ending.is_empty() || state.idle.len() == 1;
        drop(state);
        if wake {
            self.pool.reaping.notify_one();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        let busy = state.busy.remove(&self.ticket);
        let lost = busy.filter(|busy| busy.kind == Kind::Provisioned);
        if let Some(busy) = &lost {
            state.provisions.lose(&busy.spec);
        }
        state.report();
        drop(state);
        if lost.is_some() {
            // It is to be replaced.
            self.pool.reaping.notify_one();
        }
        self.pool.drained.notify_waiters();
    }
}

/// Whether an instance of `one` may serve `other`: same account, same version, same revision.
fn same(one: &Spec, other: &Spec) -> bool {
    one.revision == other.revision
        && one.version == other.version
        && one.function == other.function
        && one.account == other.account
}

fn shutting_down(spec: &Spec) -> LaunchError {
    LaunchError::ShuttingDown {
        function: spec.function.clone(),
    }
}
