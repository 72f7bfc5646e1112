//! Wiring: the parts of a server, in the order in which they need each other.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::routing::get;
use bucket::BucketStore;
use clock::{SharedClock, SystemClock};
use dispatcher::Invoker;
use event_log::{EmbeddedConfig, EmbeddedLog, Retention, SharedLog};
use function::Registry;
use instance::{Pool, PoolConfig, ProcessConfig, ProcessLauncher};
use metrics_exporter_prometheus::PrometheusHandle;
use sandbox::{MemoryLimit, Spawner};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::code_source::BucketCode;
use crate::config::Config;
use crate::credentials::{self, Credentials};
use crate::front::Front;
use crate::function_logs::{self, FunctionLogs};
use crate::notifications::RegistryNotifications;
use crate::overview::Overview;
use crate::status::StatusSource;
use crate::telemetry;

/// How often recorded latencies are folded into their buckets, so that a server that nobody scrapes
/// does not gather them without end.
const METRICS_UPKEEP: Duration = Duration::from_secs(60);

/// How long a server that was killed may take to vanish: until the processes that it had just forked
/// have noticed, the folder is theirs.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// A server that runs.
pub(crate) struct Running {
    config: Config,
    http: SocketAddr,
    kafka: SocketAddr,
    credentials: Credentials,
    dashboard: String,
    log: Arc<EmbeddedLog>,
    buckets: BucketStore,
    invoker: Arc<Invoker>,
    pool: Arc<Pool>,
    /// Stopped in this order: what dispatches, what comes in, what writes logs, what bills.
    dispatch: Stage,
    intake: Stage,
    logs: Stage,
    billing: Stage,
}

/// Parts that stop together.
struct Stage {
    stop: CancellationToken,
    parts: JoinSet<(&'static str, anyhow::Result<()>)>,
}

impl Running {
    /// Starts every part. On return the ports are open and the log has been recovered.
    ///
    /// # Errors
    /// The folder is in use or damaged, a port is taken, a setting is refused by the part it is for.
    pub(crate) async fn start(config: Config) -> anyhow::Result<Self> {
        let metrics = telemetry::start_metrics()?;
        let dir = config.data_dir.clone();
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("make the data folder {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("open the data folder {}", dir.display()))?;
        let clock: SharedClock = Arc::new(SystemClock::new());
        let embedded = open_log(&config, &dir, &clock).await?;
        let log: SharedLog = embedded.clone();
        let credentials = credentials::load_or_create(&dir)?;

        // Ports first: a taken port must not leave half a server.
        let settings = config.kafka.gateway(&credentials)?;
        let gateway = kafka_gateway::Gateway::bind(config.kafka.listen, settings, embedded.clone())
            .await
            .context("open the Kafka port")?;
        let listener = TcpListener::bind(config.http.listen)
            .await
            .with_context(|| format!("listen on {}", config.http.listen))?;
        let (http, kafka) = (listener.local_addr()?, gateway.local_addr());

        let buckets = open_buckets(&config, &dir, &log, &clock).await?;
        let documents = bucket::BucketObjectStore::new(
            buckets.clone(),
            bucket::BucketName::new(bucket::REGISTRY_BUCKET)?,
        );
        let registry = Arc::new(
            Registry::open(Arc::new(documents), dir.join("cache"), clock.clone())
                .await
                .context("open the registry of functions")?,
        );

        let (queue, receiver) = instance::log_queue(function_logs::QUEUE_BYTES);
        let partitions = config.kafka.default_partitions;
        let function_logs = FunctionLogs::open(log.clone(), receiver, partitions).await?;
        let spawner = Spawner::start().context("prepare to start processes")?;
        say_what_is_not_isolated(&spawner);
        let places = ProcessConfig {
            instances: dir.join("instances"),
            runtimes: dir.join("runtimes"),
            search_path: search_path(),
        };
        let launcher = ProcessLauncher::new(places, spawner, clock.clone(), Arc::new(queue))
            .context("prepare to start functions")?;
        let pool = Arc::new(Pool::new(
            Arc::new(launcher),
            PoolConfig {
                idle: Duration::from_secs(config.functions.idle_seconds),
                ..PoolConfig::default()
            },
        ));
        let parts = dispatcher::InvokerParts {
            log: log.clone(),
            functions: registry.clone(),
            pool: pool.clone(),
            clock: clock.clone(),
            settings: dispatch_settings(&config, http, &credentials),
        };
        let invoker = Arc::new(Invoker::new(parts));
        let dispatcher = dispatcher::Dispatcher::new(dispatcher::DispatcherParts {
            invoker: invoker.clone(),
            payloads: Arc::new(api::LambdaPayloads),
        });
        let metering = metering::Metering::new(
            log.clone(),
            clock.clone(),
            metering::Settings {
                settle_after: Duration::from_millis(config.billing.settle_after_ms),
                partitions,
            },
        );

        let mut intake = Stage::new();
        let status = Arc::new(StatusSource {
            registry: registry.clone(),
            dispatcher: dispatcher.status(),
        });
        let keys =
            api::sigv4::Keys::new(&credentials.access_key_id, &credentials.secret_access_key);
        let verifier = api::sigv4::Verifier::new(keys, clock.clone());
        let lambda = api::router(api::State {
            registry: registry.clone(),
            invoker: invoker.clone(),
            triggers: dispatcher.status(),
            log: log.clone(),
            clock: clock.clone(),
            verifier: verifier.clone(),
            account: config.account.clone(),
            region: config.region.clone(),
            own_kafka: api::OwnKafka::new(kafka, config.kafka.advertised.clone()),
            code_source: Arc::new(BucketCode(buckets.clone())),
            default_partitions: partitions,
        });
        let admin = admin::router(Admin {
            log: log.clone(),
            billing: metering.progress(),
            status: status.clone(),
            stop: intake.stop.clone(),
        });
        let notifications = RegistryNotifications {
            registry: registry.clone(),
            log: log.clone(),
            clock: clock.clone(),
            account: config.account.clone(),
            region: config.region.clone(),
        };
        let overview = Overview {
            log: log.clone(),
            log_dir: dir.join("log"),
            registry: registry.clone(),
            pool: pool.clone(),
            status,
            started_at: clock.now(),
            clock: clock.clone(),
            account: config.account.clone(),
            region: config.region.clone(),
            read: Mutex::default(),
        };
        let access = dashboard::Access::random();
        let dashboard = access.link(&format!("http://{http}"));
        let hosts = dashboard::Hosts::loopback_and([http.ip().to_string()]);
        let front = Front {
            s3: bucket::s3::service(
                buckets.clone(),
                [bucket::s3::Credential {
                    access_key_id: credentials.access_key_id.clone(),
                    secret_access_key: credentials.secret_access_key.clone(),
                }],
                Arc::new(notifications),
            ),
            lambda,
            admin: api::sigv4::require(admin, verifier, admin::SERVICE),
            dashboard: dashboard::router(Arc::new(overview), access, hosts),
            open: open_routes(metrics.clone(), kafka),
        };

        let mut dispatch = Stage::new();
        let mut logs = Stage::new();
        let mut billing = Stage::new();
        billing.spawn(
            "metering",
            |stop| async move { Ok(metering.run(stop).await?) },
        );
        logs.spawn("function logs", |stop| async move {
            function_logs.run(stop).await;
            Ok(())
        });
        logs.spawn("metrics", |stop| upkeep(metrics, stop));
        let reaped = pool.clone();
        logs.spawn("instances", |stop| async move {
            reaped.run(stop).await;
            Ok(())
        });
        dispatch.spawn("dispatcher", |stop| async move {
            Ok(dispatcher.run(stop).await?)
        });
        intake.spawn("Kafka port", |stop| async move {
            gateway.run(stop).await;
            Ok(())
        });
        intake.spawn("HTTP port", |stop| async move {
            front.run(listener, stop).await;
            Ok(())
        });

        credentials::write_endpoint(&dir, &format!("http://{http}"))?;
        tracing::info!(%http, %kafka, data = %dir.display(), "ready");
        Ok(Self {
            config: Config {
                data_dir: dir,
                ..config
            },
            http,
            kafka,
            credentials,
            dashboard,
            log: embedded,
            buckets,
            invoker,
            pool,
            intake,
            dispatch,
            logs,
            billing,
        })
    }

    /// The lines that a user exports to reach this server with ordinary clients.
    pub(crate) fn exports(&self) -> String {
        let mut text = String::new();
        let file = credentials::file_in(&self.config.data_dir);
        let _ = writeln!(text, "# Dashboard: {}", self.dashboard);
        let _ = writeln!(
            text,
            "export AWS_SHARED_CREDENTIALS_FILE={}",
            file.display()
        );
        let _ = writeln!(text, "export AWS_REGION={}", self.config.region);
        let _ = writeln!(text, "export AWS_DEFAULT_REGION={}", self.config.region);
        let _ = writeln!(text, "export KAFKA_BOOTSTRAP={}", self.bootstrap());
        if self.config.kafka.sasl || self.config.kafka.tls.is_some() {
            let protocol = self.config.kafka.protocol();
            let _ = writeln!(text, "export KAFKA_SECURITY_PROTOCOL={protocol}");
        }
        let _ = writeln!(text, "export AWS_ENDPOINT_URL=http://{}", self.http);
        text
    }

    /// Waits until a part ends that should not, and says which and why.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            failure = self.intake.ended() => failure,
            failure = self.dispatch.ended() => failure,
            failure = self.logs.ended() => failure,
            failure = self.billing.ended() => failure,
        }
    }

    /// Lets what runs finish, closes the ports, bills what was used, and closes the log. The ports
    /// stay open while functions finish: they write their results through them.
    pub(crate) async fn stop(self) {
        let grace = Duration::from_secs(self.config.functions.drain_seconds);
        self.dispatch.end().await;
        self.invoker.drain(grace).await;
        self.intake.end().await;
        self.buckets.drain().await;
        let killed = self.pool.shutdown(Duration::ZERO).await;
        if killed > 0 {
            tracing::warn!(killed, "invocations were cut off");
        }
        self.logs.end().await;
        self.billing.end().await;
        self.log.close().await;
        tracing::info!("stopped");
    }

    /// The server's address for HTTP clients.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The server's address for Kafka clients.
    pub(crate) fn bootstrap(&self) -> String {
        let advertised = self.config.kafka.advertised.clone();
        advertised.unwrap_or_else(|| self.kafka.to_string())
    }

    /// Its credentials.
    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Its settings.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}

impl Stage {
    fn new() -> Self {
        Self {
            stop: CancellationToken::new(),
            parts: JoinSet::new(),
        }
    }

    fn spawn<F>(&mut self, name: &'static str, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let part = part(self.stop.clone());
        self.parts.spawn(async move { (name, part.await) });
    }

    async fn ended(&mut self) -> anyhow::Error {
        match self.parts.join_next().await {
            Some(Ok((name, Ok(())))) => anyhow!("the part {name} ended by itself"),
            Some(Ok((name, Err(error)))) => error.context(format!("the part {name} failed")),
            Some(Err(error)) => anyhow::Error::new(error).context("a part panicked"),
            None => std::future::pending().await,
        }
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.parts.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => tracing::error!(part = name, "{error:#}"),
                Err(error) => tracing::error!(%error, "a part panicked"),
            }
        }
    }
}

async fn open_log(
    config: &Config,
    dir: &Path,
    clock: &SharedClock,
) -> anyhow::Result<Arc<EmbeddedLog>> {
    let embedded = EmbeddedConfig {
        segment_bytes: config.log.segment_bytes,
        retention: Retention {
            age: Some(Duration::from_secs(config.log.retention_hours * 3_600)),
            bytes: Some(config.log.retention_bytes),
        },
        ..EmbeddedConfig::new(dir.join("log"))
    };
    let patience = Instant::now() + PREDECESSOR;
    loop {
        match EmbeddedLog::open(embedded.clone(), clock.clone()) {
            Err(event_log::Error::Locked { .. }) if Instant::now() < patience => {
                tokio::time::sleep_until(Instant::now() + PREDECESSOR / 40).await;
            }
            opened => return opened.context("open the event log"),
        }
    }
}

async fn open_buckets(
    config: &Config,
    dir: &Path,
    log: &SharedLog,
    clock: &SharedClock,
) -> anyhow::Result<BucketStore> {
    let settings = bucket::Config {
        folder: dir.join("objects"),
        region: config.region.clone(),
        account: config.account.clone(),
        partitions: NonZeroU32::new(config.kafka.default_partitions)
            .context("kafka.default_partitions must not be zero")?,
    };
    BucketStore::open(settings, log.clone(), clock.clone())
        .await
        .context("open the buckets")
}

fn dispatch_settings(
    config: &Config,
    http: SocketAddr,
    credentials: &Credentials,
) -> dispatcher::Settings {
    let functions = &config.functions;
    let seconds = |seconds: &u64| Duration::from_secs(*seconds);
    dispatcher::Settings {
        account: config.account.clone(),
        region: config.region.clone(),
        environment: BTreeMap::from([
            ("AWS_ENDPOINT_URL".to_owned(), format!("http://{http}")),
            (
                "AWS_ACCESS_KEY_ID".to_owned(),
                credentials.access_key_id.clone(),
            ),
            (
                "AWS_SECRET_ACCESS_KEY".to_owned(),
                credentials.secret_access_key.clone(),
            ),
        ]),
        account_concurrency: functions.concurrency,
        kept_for_synchronous: functions.reserved_for_direct,
        async_backoff: functions.async_retry_seconds.iter().map(seconds).collect(),
        drain: Duration::from_secs(functions.drain_seconds),
        ..dispatcher::Settings::default()
    }
}

/// Functions are plain processes for now, and a user must know it before deploying anybody's code.
fn say_what_is_not_isolated(spawner: &Spawner) {
    tracing::warn!(
        "functions are NOT isolated: each runs as an ordinary process of this user, can read what this user can read and reach the network; deploy only code that you trust"
    );
    match &spawner.limits().memory {
        MemoryLimit::Enforced => {}
        MemoryLimit::NotEnforced(reason) => {
            tracing::warn!("the memory size of functions is billed but not enforced: {reason}")
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server crate is the one that reads the environment"
)]
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned())
}

fn open_routes(metrics: PrometheusHandle, kafka: SocketAddr) -> Router {
    let health = serde_json::json!({
        "status": "ready",
        "version": env!("CARGO_PKG_VERSION"),
        "kafka": kafka.to_string(),
    });
    Router::new()
        .route("/health", get(async move || axum::Json(health)))
        .route("/metrics", get(async move || metrics.render()))
}

async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) -> anyhow::Result<()> {
    let mut due = tokio::time::interval(METRICS_UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = due.tick() => metrics.run_upkeep(),
        }
    }
}
