//! Settings: one TOML file, every key documented here, unknown keys refused.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::cli;
use crate::kafka_port::Kafka;

/// Everything that can be set. `tidemill serve --print-config` shows the effective values.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept; one server at a time.
    pub(crate) data_dir: PathBuf,
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
    /// How functions run.
    pub(crate) functions: Functions,
    /// Bills.
    pub(crate) billing: Billing,
    /// What the server says of itself.
    pub(crate) telemetry: Telemetry,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Http {
    /// Where it listens.
    pub(crate) listen: SocketAddr,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Bytes of one segment of the event journal.
    pub(crate) segment_bytes: u64,
    /// Hours after which events may go, once every trigger has finished them.
    pub(crate) retention_hours: u64,
    /// Bytes of events above which the oldest may go, once every trigger has finished them.
    pub(crate) retention_bytes: u64,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Functions {
    /// Invocations that run at once in the whole account.
    pub(crate) concurrency: u32,
    /// How many of them are kept free for direct invocations, so that a backlog of events never
    /// shuts them out.
    pub(crate) reserved_for_direct: u32,
    /// Seconds that an idle instance stays warm.
    pub(crate) idle_seconds: u64,
    /// Seconds between the attempts of an asynchronous invocation.
    pub(crate) async_retry_seconds: Vec<u64>,
    /// Seconds that a stopping server waits for invocations that run.
    pub(crate) drain_seconds: u64,
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
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            http: Http::default(),
            kafka: Kafka::default(),
            log: Log::default(),
            functions: Functions::default(),
            billing: Billing::default(),
            telemetry: Telemetry::default(),
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

impl Default for Log {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            retention_hours: 7 * 24,
            retention_bytes: 10 << 30,
        }
    }
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            concurrency: 100,
            reserved_for_direct: 10,
            idle_seconds: 300,
            async_retry_seconds: vec![60, 120],
            drain_seconds: 10,
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
        if let Some(listen) = arguments.http {
            config.http.listen = listen;
        }
        if let Some(listen) = arguments.kafka {
            config.kafka.listen = listen;
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
        if !((1 << 20)..=(1 << 30)).contains(&self.log.segment_bytes) {
            bail!("log.segment_bytes must be 1 MiB to 1 GiB");
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
        for config in [Config::default(), toml::from_str(set).unwrap()] {
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
    fn an_account_must_be_twelve_digits() {
        let config = Config {
            account: "12".to_owned(),
            ..Config::default()
        };
        assert!(config.check().is_err());
    }
}
