//! Where Kafka clients go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use access::Keyring;
use anyhow::Context;
use kafka_gateway::Gateway;

use crate::backing::Log;
use crate::config::Config;

/// Where Kafka clients go.
pub(super) enum KafkaDoor {
    /// To our own port over the embedded log.
    Open {
        gateway: Gateway,
        /// Where clients are told to connect, when that is not where it listens.
        advertised: Option<String>,
        /// How they must speak, when that is not plain.
        protocol: Option<String>,
    },
    /// To the cluster that is the log: our port rests.
    Rests {
        /// Its brokers.
        brokers: Vec<String>,
        protocol: Option<String>,
    },
}

impl KafkaDoor {
    /// # Errors
    /// The port is taken, or its certificate cannot be used.
    pub(super) async fn open(
        config: &Config,
        keys: &Arc<Keyring>,
        log: &Log,
    ) -> anyhow::Result<Self> {
        match log {
            Log::Embedded(log) => {
                let kafka = &config.kafka;
                let retention = Duration::from_secs(config.log.retention_hours * 3_600);
                let settings = kafka.gateway(keys, retention)?;
                let gateway = Gateway::bind(kafka.listen, settings, log.clone())
                    .await
                    .context("open the Kafka port")?;
                let plain = !kafka.sasl && kafka.tls.is_none();
                Ok(Self::Open {
                    gateway,
                    advertised: kafka.advertised.clone(),
                    protocol: (!plain).then(|| kafka.protocol().to_owned()),
                })
            }
            Log::Kafka(_) => {
                let cluster = &config.log.kafka;
                tracing::info!(
                    "the Kafka port rests: clients talk to the cluster at {}",
                    cluster.bootstrap.join(",")
                );
                Ok(Self::Rests {
                    brokers: cluster.bootstrap.clone(),
                    protocol: cluster.client.get("security.protocol").cloned(),
                })
            }
        }
    }

    /// What clients begin with.
    pub(super) fn bootstrap(&self) -> String {
        match self {
            Self::Open {
                gateway,
                advertised,
                ..
            } => advertised
                .clone()
                .unwrap_or_else(|| gateway.local_addr().to_string()),
            Self::Rests { brokers, .. } => brokers.join(","),
        }
    }

    /// Where our own port listens, if there is one.
    pub(super) fn own_port(&self) -> Option<SocketAddr> {
        match self {
            Self::Open { gateway, .. } => Some(gateway.local_addr()),
            Self::Rests { .. } => None,
        }
    }

    /// How clients must speak, in librdkafka's words, when that is not plain.
    pub(super) fn protocol(&self) -> Option<String> {
        match self {
            Self::Open { protocol, .. } | Self::Rests { protocol, .. } => protocol.clone(),
        }
    }

    /// What event source mappings may name as the log's own address.
    pub(super) fn own_addresses(&self) -> api::OwnKafka {
        match self {
            Self::Open {
                gateway,
                advertised,
                ..
            } => api::OwnKafka::new(gateway.local_addr(), advertised.clone()),
            Self::Rests { brokers, .. } => api::OwnKafka::cluster(brokers.clone()),
        }
    }
}
