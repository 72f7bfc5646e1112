//! What a gateway is told when it is made.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clock::{SharedClock, SystemClock};

use crate::{Error, Security, TopicDefaults};

/// How the gateway behaves. The defaults suit one machine.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where clients are told to connect; `None` for the address that was bound.
    pub advertised: Option<Advertised>,
    /// Who may connect.
    pub security: Security,
    /// Partitions of a topic that is created without a number, at least 1.
    pub default_partitions: u32,
    /// Whether naming a topic in a request for its metadata creates it, when the client asks for
    /// that.
    pub topic_creation: TopicCreation,
    /// What happens to a topic that is asked for with more replicas than there are brokers.
    pub replication: Replication,
    /// What holds for topics that do not say otherwise. The log applies it; this is what clients are
    /// told.
    pub topic_defaults: TopicDefaults,
    /// Topics whose name begins with one of these can be read, but neither written, created nor
    /// deleted by clients.
    pub protected_prefixes: Vec<String>,
    /// Topics whose name begins with one of these do not exist as far as clients can tell.
    pub hidden_prefixes: Vec<String>,
    /// How long a member of a group of the consumer protocol may be silent (in the classic protocol
    /// each member says so itself).
    pub member_session: Duration,
    /// How long the offsets are kept of a group that has no members and commits nothing (Kafka's
    /// `offsets.retention.minutes`); they go up to an eighth of that later.
    pub offsets_retention: Duration,
    /// The largest request that is read, in bytes.
    pub max_request_bytes: usize,
    /// Connections served at once; one more is closed when it arrives. With SASL, a quarter of them
    /// may belong to clients that are not yet known; one more of those closes the oldest.
    pub max_connections: usize,
    /// A connection on which nothing is asked and nothing answered for so long is closed (Kafka's
    /// `connections.max.idle.ms`).
    pub max_idle: Duration,
    /// What says how long a transaction has been open.
    pub clock: SharedClock,
}

/// What happens to a topic that is asked for with more than one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// It is refused, as a single Kafka broker does.
    AsAsked,
    /// It gets the one that there can be. For programs that ask for three and cannot be told.
    One,
}

/// Where topics come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCreation {
    /// A client that names a topic creates it, and so does a request that does nothing else.
    OnUse,
    /// Only a request that does nothing else.
    OnRequest,
}

/// An address as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl FromStr for Advertised {
    type Err = Error;

    /// From `host:port`; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            let host = bare.unwrap_or(host);
            let is_named = !host.is_empty() && (bare.is_some() || !host.contains(':'));
            let port = port.parse().ok().filter(|port| *port > 0)?;
            is_named.then(|| Self {
                host: host.to_owned(),
                port,
            })
        });
        parsed.ok_or(Error::InvalidSetting {
            setting: "advertised",
            reason: "an address is written host:port",
        })
    }
}

impl Default for GatewayConfig {
    /// 8 partitions, topics made on use, `tidemill.*` and `bucket.*` protected, 7 days, 100 MiB,
    /// 1,000 connections, 10 minutes. Hidden are
    /// `bucket.tidemill-*`, the server's own buckets: they hold functions' code and environment.
    fn default() -> Self {
        Self {
            advertised: None,
            security: Security::default(),
            default_partitions: 8,
            topic_creation: TopicCreation::OnUse,
            replication: Replication::AsAsked,
            topic_defaults: TopicDefaults::default(),
            protected_prefixes: vec!["tidemill.".to_owned(), "bucket.".to_owned()],
            hidden_prefixes: vec!["bucket.tidemill-".to_owned()],
            member_session: Duration::from_secs(45),
            offsets_retention: Duration::from_secs(7 * 24 * 3_600),
            max_request_bytes: 100 << 20,
            max_connections: 1_000,
            max_idle: Duration::from_secs(600),
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl GatewayConfig {
    /// Whether clients may at most read the topic of that name.
    pub(crate) fn protects(&self, topic: &str) -> bool {
        begins_with_one(topic, &self.protected_prefixes) || self.hides(topic)
    }

    /// Whether clients must not learn that there is a topic of that name.
    pub(crate) fn hides(&self, topic: &str) -> bool {
        begins_with_one(topic, &self.hidden_prefixes)
    }
}

fn begins_with_one(topic: &str, prefixes: &[String]) -> bool {
    prefixes
        .iter()
        .any(|prefix| topic.starts_with(prefix.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_have_a_host_and_a_port() {
        for (text, host, port) in [
            ("kafka.example.org:9092", "kafka.example.org", 9092),
            ("10.1.2.3:1", "10.1.2.3", 1),
            ("[::1]:9092", "::1", 9092),
        ] {
            let parsed: Advertised = text.parse().unwrap();
            assert_eq!((parsed.host.as_str(), parsed.port), (host, port));
        }
        for text in [
            "",
            "host",
            "host:",
            ":9092",
            "host:0",
            "host:99999",
            "::1:9092",
        ] {
            assert!(text.parse::<Advertised>().is_err(), "{text}");
        }
    }
}
