//! Wiring: the parts of a server, in the order in which they need each other.

mod descriptors;
mod expected;
mod foreign;
mod isolation;
mod kafka_door;
mod s3_door;
mod stage;
mod wasm;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access::Keyring;
use anyhow::Context;
use axum::Router;
use axum::routing::get;
use clock::{SharedClock, SystemClock};
use container_image::Source;
use dispatcher::Invoker;
use function::Registry;
use instance::{
    Endpoint, Endpoints, Launchers, Pool, PoolConfig, ProcessConfig, ProcessLauncher, WasmLauncher,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::backing::{Buckets, Log, Store};
use crate::config::Config;
use crate::connectors;
use crate::credentials::{self, Credentials};
use crate::front::Front;
use crate::function_logs::{self, FunctionLogs};
use crate::images::ImageFetcher;
use crate::notifications::RegistryNotifications;
use crate::overview::Overview;
use crate::registry_feed::RegistryFeed;
use crate::status::StatusSource;
use crate::telemetry;
use foreign::Foreign;
use kafka_door::KafkaDoor;
use stage::Stage;

pub(crate) use isolation::Footing;

/// How often recorded latencies are folded into their buckets, so that a server that nobody scrapes
/// does not gather them without end.
const METRICS_UPKEEP: Duration = Duration::from_secs(60);

/// How long what invocations have used may take to be written down when nothing else runs any more.
const LAST_WRITES: Duration = Duration::from_secs(10);

/// A server that runs.
pub(crate) struct Running {
    config: Config,
    http: SocketAddr,
    /// Where Kafka clients begin, and how they speak there when that is not plain.
    bootstrap: String,
    kafka_protocol: Option<String>,
    credentials: Credentials,
    dashboard: String,
    log: Log,
    buckets: Buckets,
    invoker: Arc<Invoker>,
    pool: Arc<Pool>,
    /// Stopped in this order: what dispatches, what comes in, what writes logs, what bills.
    dispatch: Stage,
    intake: Stage,
    logs: Stage,
    billing: Stage,
}

impl Running {
    /// Starts every part, on what [`Footing::find`] has prepared from the same settings. On return the
    /// ports are open and the log has been recovered.
    ///
    /// # Errors
    /// The folder is in use or damaged, a port is taken, a setting is refused by the part it is for.
    pub(crate) async fn start(config: Config, footing: Footing) -> anyhow::Result<Self> {
        let metrics = telemetry::start_metrics()?;
        descriptors::raise_limit();
        let dir = config.data_dir.canonicalize();
        let dir = dir.with_context(|| format!("open {}", config.data_dir.display()))?;
        let clock: SharedClock = Arc::new(SystemClock::new());
        let opened = Log::open(&config, &dir, &clock).await?;
        let log = opened.shared();

        // Ports first: a taken port must not leave half a server.
        let listener = TcpListener::bind(config.http.listen)
            .await
            .with_context(|| format!("listen on {}", config.http.listen))?;
        let http = listener.local_addr()?;
        let store = Store::open(&config, &dir, &log, &clock).await?;
        let credentials = store.credentials(&dir).await?;
        let keys = Arc::new(credentials.keyring(&config)?);
        let kafka = KafkaDoor::open(&config, &keys, &opened).await?;

        let registry = Arc::new(
            Registry::open(
                store.documents.clone(),
                dir.join("cache"),
                clock.clone(),
                store.writers,
                config.functions.images.max_bytes(),
            )
            .await
            .context("open the registry of functions")?,
        );
        let images = ImageFetcher {
            registry: registry.clone(),
            source: Arc::new(Source::new(config.functions.images.source())),
            log: log.clone(),
        };
        let foreign = Foreign::open(&config, &dir, &store, &log, &clock).await?;
        let registry_feed = RegistryFeed::open(
            log.clone(),
            registry.clone(),
            foreign.definitions(),
            clock.clone(),
        )
        .await?;

        let (queue, receiver) = instance::log_queue(function_logs::QUEUE_BYTES);
        let partitions = config.kafka.default_partitions;
        let function_logs = FunctionLogs::open(log.clone(), receiver, partitions).await?;
        let own = Endpoint::at(http);
        let (isolation, endpoint) = isolation::start(footing, own)?;
        let endpoints = Endpoints {
            own: Some(own),
            kafka: kafka.own_port().map(Endpoint::at),
            permitted: config.functions.egress.clone(),
        };
        let places = ProcessConfig {
            instances: dir.join("instances"),
            runtimes: dir.join("runtimes"),
            search_path: search_path(),
            endpoints: endpoints.clone(),
        };
        let queue = Arc::new(queue);
        let wasm = WasmLauncher::new(
            wasm::config(&dir)?,
            isolation.clone(),
            clock.clone(),
            queue.clone(),
        )
        .context("prepare to run WebAssembly functions")?;
        let wasm = Arc::new(wasm);
        let modules = wasm::Compiling {
            launcher: wasm.clone(),
            account: config.account.clone(),
            folder: dir.join("workers"),
        };
        let launcher = ProcessLauncher::new(places, isolation, clock.clone(), queue)
            .context("prepare to start functions")?;
        let launcher = Arc::new(launcher);
        let pool = Arc::new(Pool::new(
            Arc::new(Launchers::new(launcher.clone(), wasm)),
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
            settings: dispatch_settings(&config, endpoint, keys.clone()),
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
        let verifier = api::sigv4::Verifier::new(keys.clone(), clock.clone());
        let lambda = api::router(api::State {
            registry: registry.clone(),
            invoker: invoker.clone(),
            triggers: dispatcher.status(),
            log: log.clone(),
            clock: clock.clone(),
            verifier: verifier.clone(),
            account: config.account.clone(),
            region: config.region.clone(),
            own_kafka: kafka.own_addresses(),
            code_source: store.code.clone(),
            images: images.source.clone(),
            modules: Arc::new(modules),
            table_streams: Arc::new(foreign.door.streams.clone()),
            egress: endpoints,
            default_partitions: partitions,
        });
        let admin = admin::router(Admin {
            log: log.clone(),
            billing: metering.progress(),
            status: status.clone(),
            stop: intake.stop.clone(),
        });
        let admin = admin.merge(connectors::router(foreign.door.clone()));
        let s3 = s3_door::open(&store.buckets, &keys, || RegistryNotifications {
            registry: registry.clone(),
            connectors: foreign.definitions(),
            log: log.clone(),
            clock: clock.clone(),
            account: config.account.clone(),
            region: config.region.clone(),
        });
        let overview = Overview {
            log: log.clone(),
            log_dir: opened.folder(&dir),
            registry: registry.clone(),
            pool: pool.clone(),
            status,
            connectors: foreign.door.clone(),
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
            s3,
            lambda,
            admin: api::sigv4::require(admin, verifier, admin::SERVICE),
            dashboard: dashboard::router(Arc::new(overview), access, hosts),
            notifications: connectors::notifications(foreign.door.around.hints.clone()),
            open: open_routes(metrics.clone(), &kafka.bootstrap()),
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
        logs.spawn("registry feed", |stop| async move {
            registry_feed.run(stop).await;
            Ok(())
        });
        let reaped = pool.clone();
        logs.spawn("instances", |stop| async move {
            reaped.run(stop).await;
            Ok(())
        });
        let functions = registry.clone();
        dispatch.spawn("waiting interpreters", |stop| async move {
            expected::run(launcher, functions, stop).await;
            Ok(())
        });
        let provisioning = invoker.clone();
        dispatch.spawn("provisioned concurrency", |stop| async move {
            provisioning.keep_provisioned(stop).await;
            Ok(())
        });
        dispatch.spawn("dispatcher", |stop| async move {
            Ok(dispatcher.run(stop).await?)
        });
        let (bootstrap, kafka_protocol) = (kafka.bootstrap(), kafka.protocol());
        match kafka {
            KafkaDoor::Open { gateway, .. } => intake.spawn("Kafka port", |stop| async move {
                gateway.run(stop).await;
                Ok(())
            }),
            KafkaDoor::Rests { .. } => {}
        }
        intake.spawn("container images", |stop| async move {
            images.run(stop).await;
            Ok(())
        });
        intake.spawn("connectors", |stop| async move {
            foreign.supervisor.run(stop).await;
            Ok(())
        });
        match &store.buckets {
            Buckets::Own(buckets) => {
                let buckets = buckets.clone();
                intake.spawn("lifecycle of objects", |stop| async move {
                    buckets.run_lifecycle(stop).await;
                    Ok(())
                });
            }
            Buckets::Elsewhere(_) => {}
        }
        intake.spawn("HTTP port", |stop| async move {
            front.run(listener, stop).await;
            Ok(())
        });

        credentials::write_endpoint(&dir, &format!("http://{http}"))?;
        tracing::info!(%http, kafka = %bootstrap, data = %dir.display(), "ready");
        Ok(Self {
            config: Config {
                data_dir: dir,
                ..config
            },
            http,
            bootstrap,
            kafka_protocol,
            credentials,
            dashboard,
            log: opened,
            buckets: store.buckets,
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
        let _ = writeln!(text, "export KAFKA_BOOTSTRAP={}", self.bootstrap);
        if let Some(protocol) = &self.kafka_protocol {
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
        // What began while the ports were closing has ended by now, and may be writing down what it used.
        self.invoker.drain(LAST_WRITES).await;
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
        self.bootstrap.clone()
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

fn dispatch_settings(
    config: &Config,
    endpoint: SocketAddr,
    keys: Arc<Keyring>,
) -> dispatcher::Settings {
    let functions = &config.functions;
    let seconds = |seconds: &u64| Duration::from_secs(*seconds);
    dispatcher::Settings {
        account: config.account.clone(),
        region: config.region.clone(),
        environment: BTreeMap::from([(
            "AWS_ENDPOINT_URL".to_owned(),
            format!("http://{endpoint}"),
        )]),
        keys: Some(keys),
        account_concurrency: functions.concurrency,
        kept_for_synchronous: functions.reserved_for_direct,
        async_backoff: functions.async_retry_seconds.iter().map(seconds).collect(),
        drain: Duration::from_secs(functions.drain_seconds),
        ..dispatcher::Settings::default()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server crate is the one that reads the environment"
)]
fn search_path() -> String {
    std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned())
}

fn open_routes(metrics: PrometheusHandle, kafka: &str) -> Router {
    let health = serde_json::json!({
        "status": "ready",
        "version": env!("CARGO_PKG_VERSION"),
        "kafka": kafka,
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
