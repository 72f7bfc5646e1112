//! Clients of the cluster: names, settings, errors.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::KafkaConfig;
use crate::{Error, TopicName};

/// How long a start, or a change of the cluster's topics, may take before it counts as failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// How long a question may take before it counts as failed: brokers that are up answer within
/// milliseconds, and partitions of one that is gone have another leader by then.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Longest wait of a thread for an event: how soon it notices that the log is closed.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The log's own topics and groups.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Empty; its partitions are the shards.
    pub(super) shards: Arc<str>,
    /// Checkpoints and positions, by shard.
    pub(super) checkpoints: Arc<str>,
    /// Topics, epochs and nodes.
    pub(super) control: Arc<str>,
    /// The group whose assignment is each node's share.
    pub(super) nodes: String,
    /// Named by readers, who never join it.
    pub(super) readers: String,
    /// Of the topics that the log shows.
    prefix: String,
}

impl Names {
    pub(super) fn of(config: &KafkaConfig) -> Self {
        let cluster = &config.cluster;
        Self {
            prefix: config.topic_prefix.clone(),
            shards: format!("{cluster}.shards").into(),
            checkpoints: format!("{cluster}.checkpoints").into(),
            control: format!("{cluster}.control").into(),
            nodes: format!("{cluster}.nodes"),
            readers: format!("{cluster}.readers"),
        }
    }

    /// What a topic of the log is called in Kafka.
    pub(super) fn outside(&self, topic: &TopicName) -> Arc<str> {
        format!("{}{topic}", self.prefix).into()
    }

    /// What a topic of Kafka is called in the log; `None` for the log's own, Kafka's own, and those
    /// without the prefix.
    pub(super) fn inside(&self, topic: &str) -> Option<TopicName> {
        let ours = [&self.shards, &self.checkpoints, &self.control];
        if topic.starts_with("__") || ours.iter().any(|name| ***name == *topic) {
            return None;
        }
        TopicName::new(topic.strip_prefix(self.prefix.as_str())?).ok()
    }
}

/// Settings of the different clients.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    config: KafkaConfig,
    names: Names,
    node: String,
}

impl Clients {
    pub(super) fn new(config: KafkaConfig, names: Names, node: String) -> Self {
        Self {
            config,
            names,
            node,
        }
    }

    pub(super) fn base(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.config.bootstrap_servers)
            .set("client.id", format!("tidemill-{}", self.node))
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.ms", "20")
            .set("retry.backoff.max.ms", "500")
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.refresh.fast.interval.ms", "50")
            // A broker that has not heard of a new topic yet says that there is none, and the client
            // believes it until it asks again.
            .set("topic.metadata.refresh.interval.ms", "2000")
            .set("topic.metadata.propagation.max.ms", "2000")
            .set("log_level", "3");
        for (name, value) in &self.config.client {
            client.set(name, value);
        }
        client
    }

    /// The producer of all settlements. A new process of the same node takes the id over, which
    /// ends whatever the old one had under way.
    pub(super) fn producer(&self) -> ClientConfig {
        let timeout = self.config.transaction_timeout.as_millis().to_string();
        let largest = (self.config.max_settlement_bytes * 2).to_string();
        let mut client = self.base();
        client
            .set(
                "transactional.id",
                format!("{}-{}", self.config.cluster, self.node),
            )
            .set("transaction.timeout.ms", &timeout)
            .set("message.timeout.ms", &timeout)
            // Whoever sends offsets waits for the group's coordinator without an end when that broker
            // has left the metadata meanwhile: the library asks for another only once some connection
            // comes or goes (its issues 5456 and 5511). With this, one does.
            .set("connections.max.idle.ms", "6000")
            .set("message.max.bytes", largest)
            .set("linger.ms", "0")
            .set("queue.buffering.max.messages", "1000000")
            .set("queue.buffering.max.kbytes", "1048576");
        client
    }

    /// The member of the group of nodes.
    pub(super) fn member(&self) -> ClientConfig {
        let session = self.config.session_timeout;
        let mut client = self.base();
        client
            .set("group.id", &self.names.nodes)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.as_millis().to_string())
            .set(
                "heartbeat.interval.ms",
                (session.as_millis() / 10).to_string(),
            )
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest");
        client
    }

    /// A reader of committed records that joins no group. `wait` is how long the broker holds a
    /// fetch that finds nothing, and so how long a change of what is fetched may take.
    pub(super) fn reader(&self, wait: Duration) -> ClientConfig {
        let mut client = self.base();
        client
            .set("group.id", &self.names.readers)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", wait.as_millis().to_string())
            .set("fetch.error.backoff.ms", "50")
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", "8192")
            .set("check.crcs", "true");
        client
    }
}

/// An error of the client library, for the act named. Once there is a client, it is the cluster that
/// has not answered, or not as it should.
pub(super) fn failed(act: impl Into<String>, error: KafkaError) -> Error {
    let act = act.into();
    let useless = matches!(
        error,
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_)
    );
    let source = io::Error::other(error);
    match useless {
        true => Error::Io { act, source },
        false => Error::Unavailable { act, source },
    }
}
