//! Settings: one TOML file, every key documented here, unknown keys refused.

mod client_features;
mod images;
mod log;
mod roles;
mod secret;
mod store;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use instance::Permitted;
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::connectors::Definition;
use crate::kafka_port::Kafka;

pub(crate) use images::Images;
pub(crate) use log::{KafkaCluster, Log, LogKind, check_properties, read_properties};
pub(crate) use roles::Roles;
pub(crate) use secret::Secret;
pub(crate) use store::{S3Store, Store, StoreKind};

/// Everything that can be set. `tidemill serve --print-config` shows the effective values.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept; one server at a time.
    pub(crate) data_dir: PathBuf,
    /// The user of this machine that a server which is started as root becomes, before it opens a port or a
    /// file of its data folder. What starts sandboxes stays root's, in processes of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The account that owns everything: twelve digits.
    pub(crate) account: String,
    /// The region in ARNs and signatures.
    pub(crate) region: String,
    /// S3, Lambda API, dashboard.
    pub(crate) http: Http,
    /// The Kafka protocol.
    pub(crate) kafka: Kafka,
    /// The event log.
    pub(crate) log: Log,
    /// The object store.
    pub(crate) store: Store,
    /// How functions run.
    pub(crate) functions: Functions,
    /// What functions may do, by the names of their roles.
    pub(crate) roles: Roles,
    /// Bills.
    pub(crate) billing: Billing,
    /// What the server says of itself.
    pub(crate) telemetry: Telemetry,
    /// Foreign sources to read, each as `tidemill connector add` takes it: `name`, `kind`, and the
    /// kind's settings.
    pub(crate) connectors: Vec<Definition>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Functions {
    /// Invocations that run at once in the whole account.
    pub(crate) concurrency: u32,
    /// How many of them are kept free for direct invocations, so that a backlog of events never
    /// shuts them out.
    pub(crate) reserved_for_direct: u32,
    /// Whether each instance runs in a sandbox of its own. `none` runs functions as ordinary processes
    /// of the server's user, which can read what it can read and reach what it can reach.
    pub(crate) isolation: IsolationKind,
    /// What functions may ask to reach beside this server, as `HOST:PORT`: the host may be `*`, or begin
    /// with `*.` for all names below, and the port may be `*`.
    pub(crate) egress: Vec<Permitted>,
    /// Seconds that an idle instance stays warm.
    pub(crate) idle_seconds: u64,
    /// Seconds between the attempts of an asynchronous invocation.
    pub(crate) async_retry_seconds: Vec<u64>,
    /// Seconds that a stopping server waits for invocations that run.
    pub(crate) drain_seconds: u64,
    /// Container images that functions may be.
    pub(crate) images: Images,
}

/// Whether functions are isolated.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum IsolationKind {
    /// A sandbox for each instance; the server does not start where none can be made
    #[default]
    Sandbox,
    /// No isolation: deploy only code that you trust
    None,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Billing {
    /// Milliseconds that usage may wait before it is folded into the billing topic.
    pub(crate) settle_after_ms: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// How the server's own log is written.
    pub(crate) format: LogFormat,
    /// Which lines: a level, or `tracing` directives such as `info,event_log=debug`.
    pub(crate) filter: String,
}

/// How the server's own log is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "./tidemill-data".into(),
            user: None,
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            http: Http::default(),
            kafka: Kafka::default(),
            log: Log::default(),
            store: Store::default(),
            functions: Functions::default(),
            roles: Roles::default(),
            billing: Billing::default(),
            telemetry: Telemetry::default(),
            connectors: Vec::new(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4566)),
        }
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            concurrency: 100,
            reserved_for_direct: 10,
            isolation: IsolationKind::default(),
            egress: Vec::new(),
            idle_seconds: 300,
            async_retry_seconds: vec![60, 120],
            drain_seconds: 10,
            images: Images::default(),
        }
    }
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            settle_after_ms: 1_000,
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            // s3s reports every refused request, a missing key included, as an error of ours.
            filter: "info,s3s=off".to_owned(),
        }
    }
}

impl Config {
    /// The file's settings under the command line's, checked.
    ///
    /// # Errors
    /// The file cannot be read, has an unknown key, or a value is out of range.
    pub(crate) fn load(arguments: &cli::Serve) -> anyhow::Result<Self> {
        let mut config = match &arguments.config {
            Some(path) => Self::read(path)?,
            None => Self::default(),
        };
        if let Some(dir) = &arguments.data_dir {
            config.data_dir.clone_from(dir);
        }
        if let Some(user) = &arguments.user {
            config.user = Some(user.clone());
        }
        if let Some(listen) = arguments.http {
            config.http.listen = listen;
        }
        if let Some(listen) = arguments.kafka {
            config.kafka.listen = listen;
        }
        if let Some(isolation) = arguments.isolation {
            config.functions.isolation = isolation;
        }
        config.check()?;
        Ok(config)
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("read the configuration {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("in the configuration {}", path.display()))
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.account.len() != 12 || !self.account.bytes().all(|byte| byte.is_ascii_digit()) {
            bail!("account {:?} must be twelve digits", self.account);
        }
        if self.region.is_empty() {
            bail!("region must not be empty");
        }
        self.kafka.check()?;
        if self.functions.concurrency <= self.functions.reserved_for_direct {
            bail!("functions.concurrency must be larger than functions.reserved_for_direct");
        }
        self.functions.images.check()?;
        self.log.check()?;
        self.store.check()?;
        crate::connectors::check_declared(&self.connectors)?;
        if self.log.kind == LogKind::Kafka && self.kafka.listen != Kafka::default().listen {
            bail!(
                "log.kind is \"kafka\" and kafka.listen is set: clients talk to the cluster's own brokers and this server's Kafka port rests, so leave kafka.listen (and --kafka) out"
            );
        }
        if self.log.kind == LogKind::Kafka && self.store.kind == StoreKind::Folder {
            bail!(
                "log.kind is \"kafka\" and store.kind is \"folder\": nodes on a cluster share an object store, so set store.kind = \"s3\" and store.s3"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_configuration_is_read_back_the_same() {
        let set =
            "[kafka]\nadvertised = 'a:1'\nsasl = true\ntls = { certificate = 'c', key = 'k' }";
        let images = "[functions.images]\nregistries = ['*.r.example:5000', '127.0.0.1:5000']\ndocker_config = 'c'\nlayouts = 'l'\nmax_mib = 1";
        let connector = "[[connectors]]\nname = 'shop'\nkind = 'postgres'\nurl = 'postgres://u@h/d'\npassword = 'env:P'\ntables = ['a']";
        let roles = "[roles]\nadmin = 'admin.json'\n'*' = 'others.json'";
        for config in [
            Config::default(),
            toml::from_str(roles).unwrap(),
            toml::from_str(set).unwrap(),
            toml::from_str(images).unwrap(),
            toml::from_str(connector).unwrap(),
        ] {
            let printed = toml::to_string_pretty(&config).unwrap();
            let read: Config = toml::from_str(&printed).unwrap();
            assert_eq!(toml::to_string_pretty(&read).unwrap(), printed);
        }
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = toml::from_str::<Config>("[http]\nlisten_on = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.to_string().contains("listen_on"), "{error}");
    }

    #[test]
    fn a_cluster_is_refused_without_a_store_that_its_nodes_share() {
        let text = "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap = [\"a:9092\"]\n";
        let alone: Config = toml::from_str(text).unwrap();
        let error = alone.check().unwrap_err().to_string();
        assert!(error.contains("store.kind = \"s3\""), "{error}");
        let store = "[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"\n";
        let shared: Config = toml::from_str(&format!("{text}{store}")).unwrap();
        shared.check().unwrap();
        let printed = toml::to_string_pretty(&shared).unwrap();
        let read: Config = toml::from_str(&printed).unwrap();
        assert_eq!(toml::to_string_pretty(&read).unwrap(), printed);
    }

    #[test]
    fn settings_of_the_kind_that_is_not_chosen_are_refused() {
        for text in [
            "[log.kafka]\nbootstrap = [\"a:9092\"]",
            "[store.s3]\nbucket = \"b\"",
            "[store]\nkind = \"s3\"",
            "[log]\nkind = \"kafka\"\n[store]\nkind = \"s3\"\n[store.s3]\nbucket = \"b\"",
        ] {
            let config: Config = toml::from_str(text).unwrap();
            assert!(config.check().is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_must_be_twelve_digits() {
        let config = Config {
            account: "12".to_owned(),
            ..Config::default()
        };
        assert!(config.check().is_err());
    }
}
