//! Instances that are kept initialised for versions with provisioned concurrency.
//!
//! Each version has as many as were asked for, in use or waiting. One that ends is replaced; a start
//! that fails is repeated after a pause that grows. Nothing is started for a version beyond that, so
//! what finds none of these waiting is served as if there were none.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::same;
use crate::{Instance, Launcher, Spec};

/// Starts under way at once: an invocation that finds no instance is not to wait for a crowd.
const STARTS: usize = 8;
/// Pauses after starts that failed double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// What has become of one version's provisioned concurrency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// How many instances there should be.
    pub wanted: usize,
    /// How many are initialised, in use or waiting.
    pub available: usize,
    /// Why the last start failed; `None` once one has succeeded.
    pub failure: Option<String>,
}

#[derive(Default)]
pub(super) struct Provisions(Vec<Provision>);

struct Provision {
    /// As these instances are started.
    spec: Arc<Spec>,
    wanted: usize,
    idle: Vec<Box<dyn Instance>>,
    busy: usize,
    starting: usize,
    failure: Option<Failure>,
}

struct Failure {
    reason: String,
    /// In a row.
    times: u32,
    again: Instant,
}

/// An instance that was started ahead, or why it was not.
pub(super) struct Ahead {
    spec: Arc<Spec>,
    started: Result<Box<dyn Instance>, String>,
}

impl Ahead {
    /// Starts one and has it initialise.
    pub(super) async fn start(launcher: Arc<dyn Launcher>, spec: Arc<Spec>) -> Self {
        let started = async {
            let launched = launcher.launch(&spec).await;
            let mut instance = launched.map_err(|error| error.to_string())?;
            if instance.prepare().await {
                return Ok(instance);
            }
            instance.shutdown().await;
            Err("the function could not be initialised".to_owned())
        };
        let started = started.await;
        Self { spec, started }
    }
}

impl Provisions {
    /// Makes `wanted` all there is. What is no longer needed is handed back.
    pub(super) fn set(&mut self, wanted: Vec<(Arc<Spec>, usize)>) -> Vec<Box<dyn Instance>> {
        let mut before = std::mem::take(&mut self.0);
        for (spec, wanted) in wanted {
            let known = before.iter().position(|it| same(&it.spec, &spec));
            let known = known.map(|at| before.swap_remove(at));
            let mut provision = known.unwrap_or(Provision {
                spec,
                wanted,
                idle: Vec::new(),
                busy: 0,
                starting: 0,
                failure: None,
            });
            provision.wanted = wanted;
            self.0.push(provision);
        }
        let surplus = self.0.iter_mut().flat_map(Provision::surplus);
        let mut ending: Vec<_> = surplus.collect();
        ending.extend(before.into_iter().flat_map(Provision::end));
        ending
    }

    /// Forgets a version, and hands its waiting instances back.
    pub(super) fn retire(&mut self, spec: &Spec) -> Vec<Box<dyn Instance>> {
        let retired = self.0.extract_if(.., |it| same(&it.spec, spec));
        retired.flat_map(Provision::end).collect()
    }

    /// A waiting instance for `spec`; from then on it is in use.
    pub(super) fn take(&mut self, spec: &Spec) -> Option<Box<dyn Instance>> {
        let provision = self.of(spec)?;
        let instance = provision.idle.pop()?;
        provision.busy += 1;
        Some(instance)
    }

    /// What was in use waits again, or is handed back as not needed.
    pub(super) fn give_back(
        &mut self,
        spec: &Spec,
        instance: Box<dyn Instance>,
    ) -> Option<Box<dyn Instance>> {
        let Some(provision) = self.of(spec) else {
            return Some(instance);
        };
        provision.busy = provision.busy.saturating_sub(1);
        if provision.count() >= provision.wanted {
            return Some(instance);
        }
        provision.idle.push(instance);
        None
    }

    /// What was in use has ended.
    pub(super) fn lose(&mut self, spec: &Spec) {
        if let Some(provision) = self.of(spec) {
            provision.busy = provision.busy.saturating_sub(1);
        }
    }

    /// What is to be started now; it counts as begun.
    pub(super) fn starts(&mut self, now: Instant) -> Vec<Arc<Spec>> {
        let under_way: usize = self.0.iter().map(|it| it.starting).sum();
        let mut room = STARTS.saturating_sub(under_way);
        let mut starts = Vec::new();
        for provision in &mut self.0 {
            let waits = provision.failure.as_ref().map(|failure| failure.again);
            if waits.is_some_and(|again| again > now) {
                continue;
            }
            // After a failure one is tried before the others are.
            let most = match provision.failure {
                Some(_) => 1_usize.saturating_sub(provision.starting),
                None => usize::MAX,
            };
            let missing = provision.wanted.saturating_sub(provision.count());
            let begun = missing.min(room).min(most);
            room -= begun;
            provision.starting += begun;
            starts.extend((0..begun).map(|_| Arc::clone(&provision.spec)));
        }
        starts
    }

    /// When a start that has failed is to be tried again, the soonest.
    pub(super) fn again(&self) -> Option<Instant> {
        let lacking = self.0.iter().filter(|it| it.count() < it.wanted);
        let failures = lacking.filter_map(|it| it.failure.as_ref());
        failures.map(|failure| failure.again).min()
    }

    /// Takes in what a start has come to, and hands back what is not needed any more.
    pub(super) fn started(&mut self, ahead: Ahead, now: Instant) -> Option<Box<dyn Instance>> {
        let Some(provision) = self.of(&ahead.spec) else {
            return ahead.started.ok();
        };
        provision.starting = provision.starting.saturating_sub(1);
        match ahead.started {
            Ok(instance) if provision.count() < provision.wanted => {
                provision.failure = None;
                provision.idle.push(instance);
                None
            }
            Ok(surplus) => Some(surplus),
            Err(reason) => {
                tracing::warn!(
                    function = provision.spec.function,
                    version = provision.spec.version,
                    reason,
                    "provisioned concurrency is not there"
                );
                let times = provision.failure.as_ref().map_or(0, |it| it.times);
                let pause = FIRST_PAUSE * 2_u32.saturating_pow(times.min(16));
                provision.failure = Some(Failure {
                    reason,
                    times: times + 1,
                    again: now + pause.min(LONGEST_PAUSE),
                });
                None
            }
        }
    }

    pub(super) fn is_provisioned(&self, spec: &Spec) -> bool {
        self.0.iter().any(|it| same(&it.spec, spec))
    }

    pub(super) fn status(&self, spec: &Spec) -> Option<Provisioned> {
        let provision = self.0.iter().find(|it| same(&it.spec, spec))?;
        Some(Provisioned {
            wanted: provision.wanted,
            available: provision.idle.len() + provision.busy,
            failure: provision.failure.as_ref().map(|it| it.reason.clone()),
        })
    }

    /// Each waiting instance's function.
    pub(super) fn idle(&self) -> impl Iterator<Item = (&str, usize)> {
        let provisions = self.0.iter();
        provisions.map(|it| (it.spec.function.as_str(), it.idle.len()))
    }

    /// Ends it all: hands back what waits, and nothing more is started.
    pub(super) fn clear(&mut self) -> Vec<Box<dyn Instance>> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.flat_map(Provision::end).collect()
    }

    pub(super) fn report(&self) {
        self.0.iter().for_each(Provision::report);
    }

    fn of(&mut self, spec: &Spec) -> Option<&mut Provision> {
        self.0.iter_mut().find(|it| same(&it.spec, spec))
    }
}

impl Provision {
    fn count(&self) -> usize {
        self.idle.len() + self.busy + self.starting
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    fn report(&self) {
        for (state, count) in [
            ("idle", self.idle.len()),
            ("busy", self.busy),
            ("starting", self.starting),
        ] {
            metrics::gauge!(
                "tidemill_provisioned_instances", "function" => self.spec.function.clone(),
                "version" => self.spec.version.clone(), "state" => state
            )
            .set(count as f64);
        }
    }

    /// What waits, and nothing is shown of it any more.
    fn end(mut self) -> Vec<Box<dyn Instance>> {
        let idle = std::mem::take(&mut self.idle);
        (self.busy, self.starting) = (0, 0);
        self.report();
        idle
    }

    fn surplus(&mut self) -> Vec<Box<dyn Instance>> {
        let surplus = self.count().saturating_sub(self.wanted);
        let kept = self.idle.len().saturating_sub(surplus);
        self.idle.split_off(kept)
    }
}
