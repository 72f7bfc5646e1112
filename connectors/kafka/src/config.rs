//! Where to read.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// A foreign cluster.
#[derive(Clone)]
pub struct Connection {
    /// The user's name for the cluster: part of our topics' names.
    pub name: String,
    /// `host:port` of brokers, comma separated.
    pub bootstrap_servers: String,
    /// Further client properties in librdkafka's words: security, timeouts. What decides about
    /// offsets and groups cannot be set here.
    pub properties: BTreeMap<String, String>,
}

/// One partition of a topic on a foreign cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster.
    pub connection: Arc<Connection>,
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
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("name", &self.name)
            .field("bootstrap_servers", &self.bootstrap_servers)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("statistics.interval.ms", "10000");
        for (key, value) in &self.properties {
            client.set(key, value);
        }
        // Last, so that nobody's property changes what the positions rest on.
        client
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("group.id", format!("tidemill-{}", self.name))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            // What is fetched ahead, for each source: a few of the batches that it hands over.
            .set("queued.max.messages.kbytes", "4096")
            // Where the client tells of ids of topics. What it logs besides is not passed on.
            .set("debug", "metadata")
            .set_log_level(RDKafkaLogLevel::Debug);
        client
    }
}
