//! The event log: our own in the data folder, or an Apache Kafka cluster that nodes share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clock::SharedClock;
use event_log::{EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Retention, SharedLog};
use tokio::time::Instant;

use super::node;
use crate::config::{Config, LogKind};

/// How long a server that was killed may take to vanish: until the processes that it had just forked
/// have noticed, the folder is theirs.
const PREDECESSOR: Duration = Duration::from_secs(2);

/// The log, open.
pub(crate) enum Log {
    /// In the data folder.
    Embedded(Arc<EmbeddedLog>),
    /// On a cluster.
    Kafka(Arc<KafkaLog>),
}

impl Log {
    /// Opens it, recovered.
    ///
    /// # Errors
    /// The folder is in use or damaged.
    pub(crate) async fn open(
        config: &Config,
        dir: &Path,
        clock: &SharedClock,
    ) -> anyhow::Result<Self> {
        match config.log.kind {
            LogKind::Embedded => open_embedded(config, dir, clock).await.map(Self::Embedded),
            LogKind::Kafka => {
                let cluster = &config.log.kafka;
                let node = node::name(cluster, dir)?;
                tracing::info!(
                    cluster = cluster.cluster,
                    node,
                    "one of the cluster's nodes"
                );
                let settings = KafkaConfig {
                    cluster: cluster.cluster.clone(),
                    node: Some(node),
                    replication_factor: Some(cluster.replication),
                    min_insync_replicas: Some(cluster.min_insync),
                    session_timeout: Duration::from_millis(cluster.session_timeout_ms.into()),
                    client: cluster.properties()?,
                    ..KafkaConfig::new(cluster.bootstrap.join(","))
                };
                let log = KafkaLog::open(settings, clock.clone()).await;
                log.context("open the event log on Kafka").map(Self::Kafka)
            }
        }
    }

    /// The log for whoever uses it.
    pub(crate) fn shared(&self) -> SharedLog {
        match self {
            Self::Embedded(log) => log.clone(),
            Self::Kafka(log) => log.clone(),
        }
    }

    /// The folder with its files, when it keeps them here.
    pub(crate) fn folder(&self, dir: &Path) -> Option<PathBuf> {
        match self {
            Self::Embedded(_) => Some(dir.join("log")),
            Self::Kafka(_) => None,
        }
    }

    /// Closes it; what was accepted is durable. A node leaves its cluster, so that others take over
    /// its work at once.
    pub(crate) async fn close(&self) {
        match self {
            Self::Embedded(log) => log.close().await,
            Self::Kafka(log) => log.close().await,
        }
    }
}

async fn open_embedded(
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
