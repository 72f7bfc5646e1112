//! The one way to run a function.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use access::RoleName;
use bytes::Bytes;
use clock::SharedClock;
use event_log::{RecordBatch, Settlement, SharedLog};
use function::{
    Draw, Function, FunctionName, LogLevel, Logging, QualifiedName, Qualifier, Version,
};
use futures::FutureExt as _;
use instance::{
    Image, Initialization, Invocation, LaunchError, LogFormat, Outcome, Pool, Runtime, Severity,
    Spec,
};
use metering::UsageRecord;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::attempt::{Attempt, Ran};
use crate::concurrency::{Concurrency, Permit};
use crate::queue::{self, OWN_TOPIC, own_topic};
use crate::to_the_end::ToTheEnd;
use crate::{
    Folders, FunctionResult, Functions, InvokeError, InvokeRequest, InvokeResponse,
    ReservationError, Settings, Throttle,
};

/// What an [`Invoker`] is made of.
#[derive(Clone)]
pub struct InvokerParts {
    /// Where usage records and asynchronous invocations go.
    pub log: SharedLog,
    /// Who knows the functions.
    pub functions: Arc<dyn Functions>,
    /// Who runs them. Its owner runs and shuts it down.
    pub pool: Arc<Pool>,
    /// The time.
    pub clock: SharedClock,
    /// What an operator may turn.
    pub settings: Settings,
}

/// Runs functions within their concurrency and accounts for what they use. Shared by everything
/// that invokes; cheap to call from many tasks.
pub struct Invoker {
    parts: InvokerParts,
    concurrency: Arc<Concurrency>,
    /// What instances of the versions' present revisions are started from.
    specs: Mutex<BTreeMap<(FunctionName, Version), Arc<Spec>>>,
    /// The registry's state that reservations were last read at.
    seen: Mutex<Option<u64>>,
    running: TaskTracker,
}

/// One run, whoever asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) qualifier: Option<Qualifier>,
    pub(crate) request_id: String,
    pub(crate) payload: Bytes,
    pub(crate) client_context: Option<String>,
    pub(crate) trace_id: Option<String>,
}

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRun {
    /// No instance could be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The code could not be had, or the function is not one that can be run.
    #[error("{act}")]
    Unavailable {
        act: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Invoker {
    /// An invoker over these parts.
    #[must_use]
    pub fn new(parts: InvokerParts) -> Self {
        Self {
            concurrency: Concurrency::new(&parts.settings),
            parts,
            specs: Mutex::default(),
            seen: Mutex::default(),
            running: TaskTracker::new(),
        }
    }

    /// Runs a function and waits for its answer. On return the usage record is durable. Refuses at
    /// once when there is no room.
    ///
    /// An invocation that has begun runs to its end and is accounted for even when this future is
    /// dropped; [`drain`](Self::drain) waits for it.
    ///
    /// # Errors
    /// See [`InvokeError`]: the function did not run, or its usage record could not be written.
    pub async fn invoke(
        self: &Arc<Self>,
        request: InvokeRequest,
    ) -> Result<InvokeResponse, InvokeError> {
        let attempt = Attempt::of_request(&request.request_id);
        let function = self.resolve(&request.target, attempt.draw())?;
        let permit = self.try_permit(&function)?;
        let this = Arc::clone(self);
        let run = async move {
            this.run_to_the_end(function, attempt, request, permit)
                .await
        };
        let run = AssertUnwindSafe(run).catch_unwind().map(|ran| {
            ran.unwrap_or_else(|_| {
                Err(InvokeError::Unavailable {
                    act: "run the invocation".to_owned(),
                    source: "the server has panicked; its log says where".into(),
                })
            })
        });
        ToTheEnd::new(self.running.track_future(run)).await
    }

    /// Accepts an asynchronous invocation. On return it is durable; the dispatcher runs it.
    ///
    /// # Errors
    /// [`InvokeError::UnknownFunction`]; [`InvokeError::Unavailable`] when the log does not take it.
    pub async fn enqueue(&self, request: InvokeRequest) -> Result<(), InvokeError> {
        let attempt = Attempt::of_request(&request.request_id);
        self.resolve(&request.target, attempt.draw())?;
        let unavailable = |source: event_log::Error| InvokeError::Unavailable {
            act: "write down an asynchronous invocation".to_owned(),
            source: Box::new(source),
        };
        let topic = self
            .parts
            .log
            .ensure_topic(&own_topic(queue::ASYNC_TOPIC), OWN_TOPIC)
            .await
            .map_err(unavailable)?;
        let to = topic.partition_for(request.request_id.as_bytes());
        let record = queue::encode(request, self.parts.clock.now());
        let settlement = Settlement::of(to, RecordBatch::of_one(record));
        self.parts
            .log
            .commit(settlement)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    /// Whether `function` may reserve this much concurrency beside all others' reservations.
    ///
    /// # Errors
    /// [`ReservationError`] says how much can be had.
    pub fn check_reservation(
        &self,
        function: &FunctionName,
        wanted: u32,
    ) -> Result<(), ReservationError> {
        self.refresh();
        self.concurrency.check_reservation(function, wanted)
    }

    /// The account's concurrency: invocations that may run at once.
    #[must_use]
    pub fn account_concurrency(&self) -> u32 {
        self.parts.settings.account_concurrency
    }

    /// Waits until every synchronous invocation that has begun has ended and is accounted for, at
    /// most `grace`. Says whether all have.
    pub async fn drain(&self, grace: Duration) -> bool {
        self.running.close();
        let drained = tokio::time::timeout(grace, self.running.wait()).await;
        self.running.reopen();
        drained.is_ok()
    }

    pub(crate) fn parts(&self) -> &InvokerParts {
        &self.parts
    }

    /// Takes up what has changed in the registry: reservations, and instances of revisions that
    /// are no longer deployed. Cheap when nothing has.
    pub(crate) fn refresh(&self) {
        // Held to the end: a slower, older look must not undo what a newer one has set.
        let mut seen = self.seen.lock();
        let now = *self.parts.functions.changes().borrow();
        if *seen == Some(now) {
            return;
        }
        *seen = Some(now);
        let functions = self.parts.functions.functions();
        self.concurrency
            .set_reservations(functions.iter().map(AsRef::as_ref));
        let versions = self.parts.functions.versions();
        let deployed: BTreeSet<_> = functions
            .iter()
            .chain(&versions)
            .map(|version| version.revision.to_string())
            .collect();
        self.specs.lock().retain(|_, spec| {
            let stays = deployed.contains(&spec.revision);
            if !stays {
                self.parts.pool.retire(spec);
            }
            stays
        });
    }

    /// Room for a queued invocation, when it is this caller's turn.
    pub(crate) async fn permit(&self, function: &FunctionName) -> Permit {
        self.refresh();
        self.concurrency.acquire(function).await
    }

    /// Runs a function once. The permit is held until it has ended.
    pub(crate) async fn run(
        &self,
        function: &Function,
        run: Run,
        permit: Permit,
    ) -> Result<Ran, NotRun> {
        let spec = self.spec(function).await?;
        let payload_bytes = run.payload.len();
        let invocation = Invocation {
            request_id: run.request_id,
            payload: run.payload,
            arn: match run.qualifier {
                None => spec.arn.clone(),
                Some(qualifier) => format!("{}:{qualifier}", spec.arn),
            },
            trace_id: run.trace_id,
            client_context: run.client_context,
        };
        let finished = self.parts.pool.invoke(&spec, invocation).await?;
        drop(permit);
        metrics::histogram!("tidemill_invoke_seconds", "function" => spec.function.clone())
            .record(finished.metrics.duration.as_secs_f64());
        Ok(Ran {
            outcome: finished.outcome,
            metrics: finished.metrics,
            log_tail: finished.log_tail,
            payload_bytes,
            ended_at: self.parts.clock.now(),
        })
    }

    async fn run_to_the_end(
        &self,
        function: Arc<Function>,
        attempt: Attempt,
        request: InvokeRequest,
        permit: Permit,
    ) -> Result<InvokeResponse, InvokeError> {
        let request_id = request.request_id.clone();
        let run = Run {
            qualifier: request.target.qualifier,
            request_id: request.request_id,
            payload: request.payload,
            client_context: request.client_context,
            trace_id: request.trace_id,
        };
        let ran = self.run(&function, run, permit).await;
        let ran = ran.map_err(|not_run| match not_run {
            NotRun::Launch(source) => InvokeError::Launch {
                function: function.name.clone(),
                version: function.version,
                source,
            },
            NotRun::Unavailable { act, source } => InvokeError::Unavailable { act, source },
        })?;
        self.write_usage(&attempt.usage(&function, &request_id, &ran))
            .await?;
        let body = ran.outcome.body(&request_id);
        Ok(InvokeResponse {
            result: match ran.outcome {
                Outcome::Success(_) => FunctionResult::Success(body),
                Outcome::Error { .. }
                | Outcome::Timeout { .. }
                | Outcome::OutOfMemory
                | Outcome::Crashed { .. } => FunctionResult::FunctionError(body),
            },
            log_tail: ran.log_tail,
            executed_version: function.version,
        })
    }

    async fn write_usage(&self, usage: &UsageRecord) -> Result<(), InvokeError> {
        let unavailable = |source: event_log::Error| InvokeError::Unavailable {
            act: format!("write down what invocation {} used", usage.request_id),
            source: Box::new(source),
        };
        let topic = self
            .parts
            .log
            .ensure_topic(&own_topic(UsageRecord::TOPIC), OWN_TOPIC)
            .await
            .map_err(unavailable)?;
        let record = usage.to_record();
        let to = topic.partition_for(record.key.as_deref().unwrap_or_default());
        let settlement = Settlement::of(to, RecordBatch::of_one(record));
        self.parts
            .log
            .commit(settlement)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    fn resolve(&self, target: &QualifiedName, draw: Draw) -> Result<Arc<Function>, InvokeError> {
        let found = self.parts.functions.resolve(target, draw);
        found.ok_or_else(|| InvokeError::UnknownFunction {
            target: target.clone(),
        })
    }

    fn try_permit(&self, function: &Function) -> Result<Permit, InvokeError> {
        self.refresh();
        self.concurrency
            .try_acquire(&function.name)
            .map_err(|reason| {
                count_throttle(&function.name, reason);
                InvokeError::Throttled {
                    function: function.name.clone(),
                    reason,
                }
            })
    }

    /// What instances of this revision are started from, unless it was never asked for.
    pub(crate) fn known_spec(&self, function: &Function) -> Option<Arc<Spec>> {
        let key = (function.name.clone(), function.version);
        let known = self.specs.lock().get(&key).cloned();
        known.filter(|spec| spec.revision == function.revision.to_string())
    }

    /// What instances of this revision are started from.
    pub(crate) async fn spec(&self, function: &Function) -> Result<Arc<Spec>, NotRun> {
        let revision = function.revision.to_string();
        if let Some(spec) = self.known_spec(function) {
            return Ok(spec);
        }
        let unavailable = |source| NotRun::Unavailable {
            act: format!("prepare function {}", function.name),
            source,
        };
        let folders = self.parts.functions.folders(function).await;
        let folders = folders.map_err(unavailable)?;
        let spec = self.new_spec(function, revision, folders);
        let spec = Arc::new(spec.map_err(unavailable)?);
        let key = (function.name.clone(), function.version);
        let replaced = self.specs.lock().insert(key, Arc::clone(&spec));
        if let Some(replaced) = replaced.filter(|replaced| replaced.revision != spec.revision) {
            self.parts.pool.retire(&replaced);
        }
        Ok(spec)
    }

    fn new_spec(
        &self,
        function: &Function,
        revision: String,
        folders: Folders,
    ) -> Result<Spec, Box<dyn std::error::Error + Send + Sync>> {
        let settings = &self.parts.settings;
        let mut environment = settings.environment.clone();
        if let Some(keys) = &settings.keys {
            let key = keys.of_role(&RoleName::of_arn(&function.role));
            environment.insert("AWS_ACCESS_KEY_ID".to_owned(), key.id);
            environment.insert("AWS_SECRET_ACCESS_KEY".to_owned(), key.secret);
        }
        environment.extend(function.environment.clone());
        let run = match &function.image {
            Some(code) => Some(code.run().ok_or(function::Error::ImagePending {
                function: function.name.clone(),
            })?),
            None => None,
        };
        Ok(Spec {
            account: function.account.clone(),
            function: function.name.as_str().to_owned(),
            version: function.version.to_string(),
            revision,
            arn: function.arn(&settings.region),
            region: settings.region.clone(),
            runtime: match run {
                Some(_) => Runtime::Provided,
                None => function.runtime.parse()?,
            },
            handler: match &run {
                Some(run) => run.handler.clone(),
                None => function.handler.clone(),
            },
            code: folders.code,
            image: run.map(|run| Image {
                command: run.command,
                environment: run.environment,
                directory: run.working_directory.into(),
            }),
            opt: folders.opt,
            memory_mib: function.memory_mib,
            temporary_mib: function.ephemeral_storage_mib,
            timeout: function.timeout(),
            environment,
            log_group: format!("/aws/lambda/{}", function.name),
            initialization: Initialization::OnDemand,
            log_format: match function.logging {
                Logging::Text => LogFormat::Text,
                Logging::Json {
                    application,
                    system,
                } => LogFormat::Json {
                    application: severity(application),
                    system: severity(system),
                },
            },
        })
    }
}

fn severity(level: LogLevel) -> Severity {
    match level {
        LogLevel::Trace => Severity::Trace,
        LogLevel::Debug => Severity::Debug,
        LogLevel::Info => Severity::Info,
        LogLevel::Warn => Severity::Warn,
        LogLevel::Error => Severity::Error,
        LogLevel::Fatal => Severity::Fatal,
    }
}

fn count_throttle(function: &FunctionName, reason: Throttle) {
    let reason = match reason {
        Throttle::Account => "account",
        Throttle::Reserved => "reserved",
    };
    metrics::counter!(
        "tidemill_throttles_total",
        "function" => function.as_str().to_owned(), "limit" => reason
    )
    .increment(1);
}

impl std::fmt::Debug for Invoker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Invoker").finish_non_exhaustive()
    }
}
