//! Where to read.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// One partition of a topic on a foreign cluster.
#[derive(Clone)]
pub struct Config {
    /// The user's name for the cluster: part of our topic's name.
    pub connection: String,
    /// `host:port` of brokers, comma separated.
    pub bootstrap_servers: String,
    /// Further client properties in librdkafka's words: security, timeouts. What decides about
    /// offsets and groups cannot be set here.
    pub properties: BTreeMap<String, String>,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Where a source without a position begins.
    pub start: Start,
}

/// Where a source without a position begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record that the cluster still has.
    #[default]
    Earliest,
    /// Behind the last record that it has now.
    Latest,
}

/// Properties hold passwords: shown without them.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("connection", &self.connection)
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Config {
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        for (key, value) in &self.properties {
            client.set(key, value);
        }
        // Last, so that nobody's property changes what the positions rest on.
        client
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("group.id", format!("tidemill-{}", self.connection))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "10000")
            .set_log_level(RDKafkaLogLevel::Warning);
        client
    }
}
