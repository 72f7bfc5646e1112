//! `[log]`: where events, usage and bills are kept.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{Secret, client_features};

/// Properties of a Kafka client that an operator may set: how to reach the cluster and how to prove
/// who one is. What a record's safety depends on is not among them.
const CLIENT_PROPERTIES: [&str; 4] = ["security.", "ssl.", "sasl.", "socket."];
/// Properties whose value must not stand in a configuration file.
const SECRET_PROPERTIES: [&str; 5] = [
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// The event log.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `embedded`: in the data folder. `kafka`: on an Apache Kafka cluster, whose work several
    /// nodes share.
    pub(crate) kind: LogKind,
    /// Embedded: bytes of one segment of the event journal.
    pub(crate) segment_bytes: u64,
    /// Embedded: hours after which events may go, once every trigger has finished them.
    pub(crate) retention_hours: u64,
    /// Embedded: bytes of events above which the oldest may go, once every trigger has finished them.
    pub(crate) retention_bytes: u64,
    /// The cluster, when `kind = "kafka"`.
    pub(crate) kafka: KafkaCluster,
}

/// Which log.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogKind {
    /// Our own, in the data folder.
    Embedded,
    /// Apache Kafka.
    Kafka,
}

/// An Apache Kafka cluster, 4.0 or newer, and this node's place in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KafkaCluster {
    /// Brokers to begin with: `host:port`.
    pub(crate) bootstrap: Vec<String>,
    /// The name of this Tidemill on the cluster: nodes of the same name share the work, and groups
    /// and transactions begin with it.
    pub(crate) cluster: String,
    /// This node's name among them; empty: made on the first start and kept in the data folder.
    pub(crate) node: String,
    /// Copies of every topic that Tidemill creates.
    pub(crate) replication: u16,
    /// Copies that must have a record before it is acknowledged, for topics that Tidemill creates.
    pub(crate) min_insync: u16,
    /// Milliseconds without a sign of life after which others take over a node's work.
    pub(crate) session_timeout_ms: u32,
    /// Further properties of the Kafka client in librdkafka's words: `security.*`, `ssl.*`,
    /// `sasl.*`, `socket.*`.
    pub(crate) client: BTreeMap<String, String>,
    /// Properties that are secret, such as `sasl.password`: `file:PATH` or `env:NAME` of the value.
    pub(crate) secrets: BTreeMap<String, Secret>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            kind: LogKind::Embedded,
            segment_bytes: 64 << 20,
            retention_hours: 7 * 24,
            retention_bytes: 10 << 30,
            kafka: KafkaCluster::default(),
        }
    }
}

impl Default for KafkaCluster {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            cluster: "tidemill".to_owned(),
            node: String::new(),
            replication: 3,
            min_insync: 2,
            session_timeout_ms: 10_000,
            client: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }
}

impl Log {
    /// # Errors
    /// A value is out of range, or a key is set that the kind of log has no use for.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self.kind {
            LogKind::Embedded => {
                if !((1 << 20)..=(1 << 30)).contains(&self.segment_bytes) {
                    bail!("log.segment_bytes must be 1 MiB to 1 GiB");
                }
                if !self.kafka.bootstrap.is_empty() {
                    bail!(
                        "log.kafka.bootstrap is set and log.kind is \"embedded\": set log.kind = \"kafka\" to use the cluster, or remove it"
                    );
                }
                Ok(())
            }
            LogKind::Kafka => self.kafka.check(),
        }
    }
}

impl KafkaCluster {
    fn check(&self) -> anyhow::Result<()> {
        if self.bootstrap.is_empty() {
            bail!("log.kind is \"kafka\": name its brokers in log.kafka.bootstrap");
        }
        for broker in &self.bootstrap {
            let port = broker.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            if !matches!(port, Some(Ok(_))) {
                bail!("log.kafka.bootstrap: {broker:?} is not host:port");
            }
        }
        check_name("log.kafka.cluster", &self.cluster)?;
        if !self.node.is_empty() {
            check_name("log.kafka.node", &self.node)?;
        }
        if self.min_insync == 0 || self.replication < self.min_insync {
            bail!("log.kafka.min_insync must be 1 to log.kafka.replication");
        }
        if !(6_000..=300_000).contains(&self.session_timeout_ms) {
            bail!("log.kafka.session_timeout_ms must be 6000 to 300000");
        }
        check_properties("log.kafka", &self.client, &self.secrets)
    }

    /// The client's properties with its secrets, as read now.
    ///
    /// # Errors
    /// A secret cannot be read; the text names the property and the place, never a value.
    pub(crate) fn properties(&self) -> anyhow::Result<BTreeMap<String, String>> {
        read_properties("log.kafka", &self.client, &self.secrets)
    }
}

/// Refuses properties that decide about a record's safety, secrets that stand in the open, and what this
/// build of the client cannot do.
/// `section` is what holds `client` and `secrets`.
///
/// # Errors
/// Names the property.
pub(crate) fn check_properties(
    section: &str,
    client: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, Secret>,
) -> anyhow::Result<()> {
    for name in client.keys() {
        if SECRET_PROPERTIES.contains(&name.as_str()) {
            bail!(
                "{section}.client.{name:?} is a secret: put \"file:PATH\" or \"env:NAME\" of it into {section}.secrets"
            );
        }
    }
    for name in client.keys().chain(secrets.keys()) {
        if !CLIENT_PROPERTIES
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            bail!(
                "{section} takes the client properties security.*, ssl.*, sasl.* and socket.*, and {name:?} is none of them"
            );
        }
    }
    client_features::check(section, client)
}

/// `client` with the secrets as they are read now.
///
/// # Errors
/// A secret cannot be read; the text names the property and the place, never a value.
pub(crate) fn read_properties(
    section: &str,
    client: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, Secret>,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut properties = client.clone();
    for (name, secret) in secrets {
        let value = secret
            .read()
            .with_context(|| format!("read {section}.secrets.{name:?}"))?;
        properties.insert(name.clone(), value);
    }
    Ok(properties)
}

fn check_name(key: &str, name: &str) -> anyhow::Result<()> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(legal) {
        bail!("{key} {name:?} must be 1 to 64 of a-z A-Z 0-9 . _ -");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_kafka() -> Log {
        Log {
            kind: LogKind::Kafka,
            kafka: KafkaCluster {
                bootstrap: vec!["a:9092".to_owned(), "b:9092".to_owned()],
                ..KafkaCluster::default()
            },
            ..Log::default()
        }
    }

    #[test]
    fn secrets_are_references_and_read_when_needed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        std::fs::write(&file, "hush\n").unwrap();
        let text = format!(
            "kind = \"kafka\"\n[kafka]\nbootstrap = [\"a:1\"]\n[kafka.client]\n\"sasl.username\" = \"u\"\n[kafka.secrets]\n\"sasl.password\" = \"file:{}\"",
            file.display()
        );
        let log: Log = toml::from_str(&text).unwrap();
        log.check().unwrap();
        assert!(!toml::to_string(&log).unwrap().contains("hush"));
        let properties = log.kafka.properties().unwrap();
        assert_eq!(properties["sasl.password"], "hush");
        assert_eq!(properties["sasl.username"], "u");
    }

    #[test]
    fn a_password_in_the_file_is_refused_and_not_repeated() {
        let error = toml::from_str::<Log>("[kafka.secrets]\n\"sasl.password\" = \"hush\"");
        let error = error.unwrap_err();
        assert!(error.message().contains("file:PATH"), "{error}");
        assert!(!error.message().contains("hush"), "{error}");
        let mut log = on_kafka();
        let client = &mut log.kafka.client;
        client.insert("sasl.password".to_owned(), "hush".to_owned());
        let error = log.check().unwrap_err().to_string();
        assert!(
            error.contains("log.kafka.secrets") && !error.contains("hush"),
            "{error}"
        );
    }

    #[test]
    fn what_safety_depends_on_cannot_be_set() {
        for name in ["enable.idempotence", "transactional.id", "group.id", "acks"] {
            let mut log = on_kafka();
            log.kafka.client.insert(name.to_owned(), "x".to_owned());
            let error = log.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn brokers_are_named_with_their_ports() {
        on_kafka().check().unwrap();
        for brokers in [vec![], vec!["a".to_owned()], vec!["a:x".to_owned()]] {
            let mut log = on_kafka();
            log.kafka.bootstrap = brokers;
            assert!(log.check().is_err());
        }
    }
}
