//! What the API is made of.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use clock::SharedClock;
use container_image::{Image, Source};
use dispatcher::{DispatcherStatus, Invoker};
use event_log::{SharedLog, TopicName};
use function::Registry;
use instance::Endpoints;

use crate::sigv4::Verifier;

/// Everything that operations need. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    /// Functions and triggers.
    pub registry: Arc<Registry>,
    /// Who runs functions.
    pub invoker: Arc<Invoker>,
    /// How the triggers fare.
    pub triggers: DispatcherStatus,
    /// The topics that mappings read.
    pub log: SharedLog,
    /// The time.
    pub clock: SharedClock,
    /// Who may call.
    pub verifier: Verifier,
    /// Where packages lie that are named by bucket and key.
    pub code_source: Arc<dyn CodeSource>,
    /// Where container images are looked up.
    pub images: Arc<dyn Images>,
    /// Who looks at WebAssembly before it is deployed.
    pub modules: Arc<dyn Modules>,
    /// Which tables' changes are in the log.
    pub table_streams: Arc<dyn TableStreams>,
    /// The account that owns everything here: twelve digits.
    pub account: String,
    /// The region that this server stands for.
    pub region: String,
    /// Our own Kafka port: mappings read no other cluster.
    pub own_kafka: OwnKafka,
    /// What functions may be let reach.
    pub egress: Endpoints,
    /// Partitions of a topic that a mapping creates.
    pub default_partitions: u32,
}

/// Where packages lie that are named by bucket and key (`Code.S3Bucket`, `Code.S3Key`).
#[async_trait]
pub trait CodeSource: std::fmt::Debug + Send + Sync + 'static {
    /// The bytes of an object, or of one version of it.
    ///
    /// # Errors
    /// See [`CodeSourceError`].
    async fn fetch(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        max_bytes: u64,
    ) -> Result<Bytes, CodeSourceError>;
}

/// Where container images are looked up (`Code.ImageUri`).
#[async_trait]
pub trait Images: std::fmt::Debug + Send + Sync + 'static {
    /// The image that a name leads to now, with its configuration, and without the content of its layers.
    ///
    /// # Errors
    /// See [`container_image::Error`].
    async fn resolve(&self, uri: &str) -> Result<Image, container_image::Error>;
}

#[async_trait]
impl Images for Source {
    async fn resolve(&self, uri: &str) -> Result<Image, container_image::Error> {
        Self::resolve(self, &uri.parse()?).await
    }
}

/// Looks at WebAssembly before it is deployed.
#[async_trait]
pub trait Modules: std::fmt::Debug + Send + Sync + 'static {
    /// Whether the module that `handler` names in a package can be run as a function of this name. What is
    /// compiled for the answer may be kept for later.
    ///
    /// # Errors
    /// See [`ModuleError`].
    async fn check(&self, function: &str, handler: &str, package: Bytes)
    -> Result<(), ModuleError>;
}

/// Why a module was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// Reject: it cannot be run.
    #[error("{0}")]
    Refused(String),
    /// Retry later: it could not be looked at.
    #[error("look at a WebAssembly module")]
    Unavailable {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Which tables' changes are in the log, by the ARNs of their streams.
pub trait TableStreams: std::fmt::Debug + Send + Sync + 'static {
    /// The stream of that ARN; `None` when nothing writes it.
    fn find(&self, arn: &str) -> Option<TableStream>;
}

/// A table's changes as records of DynamoDB Streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableStream {
    /// The topic that they are written to.
    pub topic: TopicName,
    /// Partitions to create it with, at least 1.
    pub partitions: u32,
}

/// Why a package was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum CodeSourceError {
    /// Reject: there is no such bucket, object or version, or it is too large.
    #[error("{code}: {message}")]
    Refused {
        /// S3's name of the error, for example `NoSuchKey`.
        code: String,
        /// What is wrong.
        message: String,
    },
    /// Retry later: the store failed.
    #[error("fetch a package from its bucket")]
    Unavailable {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The addresses under which clients know the log: those of our own Kafka port, or of the cluster
/// that is the log.
#[derive(Clone, Debug)]
pub struct OwnKafka {
    listen: Option<SocketAddr>,
    advertised: Vec<String>,
}

impl OwnKafka {
    /// The port that is listened on, and further addresses (`host:port`) that lead to it.
    #[must_use]
    pub fn new(listen: SocketAddr, advertised: impl IntoIterator<Item = String>) -> Self {
        Self {
            listen: Some(listen),
            advertised: advertised.into_iter().collect(),
        }
    }

    /// The brokers (`host:port`) of a cluster that is the log itself.
    #[must_use]
    pub fn cluster(brokers: impl IntoIterator<Item = String>) -> Self {
        Self {
            listen: None,
            advertised: brokers.into_iter().collect(),
        }
    }

    /// Whether `address` (`host:port`) leads to it. Every name of this machine's loopback is the
    /// same where loopback is listened on.
    #[must_use]
    pub fn contains(&self, address: &str) -> bool {
        if self.advertised.iter().any(|own| own == address) {
            return true;
        }
        let (Some(listen), Some((host, port))) = (self.listen, address.rsplit_once(':')) else {
            return false;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let ip = host.parse::<std::net::IpAddr>().ok();
        let loopback = host == "localhost" || ip.is_some_and(|ip| ip.is_loopback());
        let listens_on_loopback = listen.ip().is_loopback() || listen.ip().is_unspecified();
        let same_host = (loopback && listens_on_loopback) || ip == Some(listen.ip());
        same_host && port.parse() == Ok(listen.port())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_port_is_known_under_all_its_names_and_no_other() {
        let own = OwnKafka::new(([127, 0, 0, 1], 9092).into(), ["tidemill:9092".to_owned()]);
        for address in [
            "localhost:9092",
            "127.0.0.1:9092",
            "[::1]:9092",
            "tidemill:9092",
        ] {
            assert!(own.contains(address), "{address}");
        }
        for address in [
            "localhost:9093",
            "broker:9092",
            "localhost",
            "",
            "10.0.0.1:9092",
        ] {
            assert!(!own.contains(address), "{address}");
        }
        let every = OwnKafka::new(([0, 0, 0, 0], 9092).into(), []);
        assert!(every.contains("localhost:9092") && !every.contains("broker:9092"));
        let cluster = OwnKafka::cluster(["broker:9092".to_owned()]);
        assert!(cluster.contains("broker:9092") && !cluster.contains("localhost:9092"));
    }
}
