//! The log on Apache Kafka, shared by several nodes.
//!
//! ```text
//! settle ─▶ queue ─▶ committer ─▶ judge ─▶ one transaction: records, checkpoints, offsets ─▶ answer
//!                    (one thread)  ▲                                 │
//!                                  └───────── view ◀── follower ◀────┘ (reads checkpoints, committed)
//! share ◀── member of a consumer group, whose assignment it is
//! read  ◀── ring ◀── tailer (one client, the ends of all partitions) / catch-up readers (a few clients)
//! ```
//!
//! Kafka's topics are the log's topics. Three of its own hold the rest: one that is empty and whose
//! 64 partitions a consumer group hands out (the shards), a compacted one with as many partitions for
//! checkpoints and positions, and a compacted one for what concerns the whole cluster.
//!
//! - **Atomicity**: a settlement is part of one Kafka transaction; many that wait ride in the same
//!   one. Readers, ours included, see committed records only.
//! - **Fencing**: a transaction that moves checkpoints sends offsets for their shards, with the
//!   node's group generation, after everything else has been acknowledged. Kafka refuses a generation
//!   that has passed (KIP-447), so a node that was paused commits nothing that another has taken over.
//! - **Taking over**: a new holder writes its name into each shard by such a transaction and reads
//!   the shard until it sees that name. Whatever an earlier holder had under way is decided by then,
//!   since committed readers pass no open transaction. Only then does its share show the shard.
//! - **Holes**: each transaction ends with a marker that takes an offset. Records of one batch keep
//!   their order, but other writers' may come between them.
//! - **Times**: records that are much older or newer than now go under the present time, and keep
//!   their own in a header `tm-time`: Kafka's retention would have them at once.
//! - **What Kafka does not promise**: it acknowledges when every replica in sync has the record, not
//!   when it is on disk. With one replica, a power cut may lose what was acknowledged.
//!
//! Calls of the client library that block run on threads of their own, few for each kind of call: a
//! broker that does not answer must not gather threads that wait for it. The one thing that is looked for
//! at intervals is the cluster's metadata, and where partitions begin and end: Kafka tells nobody of new
//! topics.

mod catch_up;
mod client;
mod committer;
mod deliveries;
mod draft;
mod ends;
mod fact;
mod follower;
mod log;
mod member;
mod places;
mod reach;
mod start;
mod tailer;
mod times;
mod topics;
mod transaction;
mod view;

use std::collections::BTreeMap;
use std::time::Duration;

pub use log::KafkaLog;

/// Where the cluster is and how the node behaves in it.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub bootstrap_servers: String,
    /// What the log's own topics and groups begin with: nodes of the same name share one log.
    pub cluster: String,
    /// What the names of the log's topics begin with in Kafka. The log shows topics of such names only,
    /// and without it; empty, it shows all that the cluster has.
    pub topic_prefix: String,
    /// The node's name, different for each node. `None` makes one for this run.
    pub node: Option<String>,
    /// Replicas of the topics that the log creates. `None` leaves it to the cluster.
    pub replication_factor: Option<u16>,
    /// Replicas in sync that must have a record before it is acknowledged, for topics that the log
    /// creates. `None` leaves it to the cluster.
    pub min_insync_replicas: Option<u16>,
    /// After how long a silent node is given up and its work goes to others.
    pub session_timeout: Duration,
    /// After how long Kafka ends a transaction that its node has left open.
    pub transaction_timeout: Duration,
    /// How often the cluster is asked which topics there are.
    pub metadata_interval: Duration,
    /// Bytes of batches that may wait to be written: the budget behind
    /// [`reserve`](crate::EventLog::reserve).
    pub write_budget_bytes: usize,
    /// Bytes that one settlement may take.
    pub max_settlement_bytes: usize,
    /// More settings for the client library (librdkafka's names), for example for TLS and SASL.
    pub client: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// Cluster `tidemill`, a made node name, replication as the cluster has it, sessions and
    /// transactions of 10 s, metadata every 2 s, a write budget of 64 MiB, settlements up to 16 MiB.
    #[must_use]
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            cluster: "tidemill".to_owned(),
            topic_prefix: String::new(),
            node: None,
            replication_factor: None,
            min_insync_replicas: None,
            session_timeout: Duration::from_secs(10),
            transaction_timeout: Duration::from_secs(10),
            metadata_interval: Duration::from_secs(2),
            write_budget_bytes: 64 << 20,
            max_settlement_bytes: 16 << 20,
            client: BTreeMap::new(),
        }
    }
}
