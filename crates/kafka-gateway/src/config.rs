//! What a gateway is told when it is made.

/// How the gateway behaves. The defaults suit one machine.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where clients are told to connect; `None` for the address that was bound.
    pub advertised: Option<Advertised>,
    /// Partitions of a topic that is created without a number, at least 1.
    pub default_partitions: u32,
    /// Topics whose name begins with one of these can be read, but neither written, created nor
    /// deleted by clients.
    pub protected_prefixes: Vec<String>,
    /// Topics whose name begins with one of these do not exist as far as clients can tell.
    pub hidden_prefixes: Vec<String>,
    /// The largest request that is read, in bytes.
    pub max_request_bytes: usize,
    /// Connections served at once; one more is closed when it arrives.
    pub max_connections: usize,
}

/// An address as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Default for GatewayConfig {
    /// 8 partitions, `tidemill.*` and `bucket.*` protected, 100 MiB, 1,000 connections. Hidden are
    /// `bucket.tidemill-*`, the server's own buckets: they hold functions' code and environment.
    fn default() -> Self {
        Self {
            advertised: None,
            default_partitions: 8,
            protected_prefixes: vec!["tidemill.".to_owned(), "bucket.".to_owned()],
            hidden_prefixes: vec!["bucket.tidemill-".to_owned()],
            max_request_bytes: 100 << 20,
            max_connections: 1_000,
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
