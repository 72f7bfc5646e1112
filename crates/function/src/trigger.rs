//! What makes a function run: an event source mapping or a bucket notification.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clock::Timestamp;
use event_log::{ConsumerId, Offset, TopicName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Destination, FunctionName, QualifiedName, Qualifier};

/// Topic → function, with the rules in between. One document of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its identity; AWS's UUID of an event source mapping.
    pub id: TriggerId,
    /// The function it runs.
    pub function: FunctionName,
    /// Which version of it; `None` for `$LATEST` without saying so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qualifier: Option<Qualifier>,
    /// What it reads.
    pub source: TriggerSource,
    /// Event patterns (EventBridge language, JSON texts): an event must match one of them; none at
    /// all matches everything.
    pub filters: Vec<String>,
    /// How events are grouped.
    pub batch: BatchPolicy,
    /// What happens when the function fails.
    pub retry: RetryPolicy,
    /// Which events must wait for each other.
    pub ordering: Ordering,
    /// Whether the function may answer with the items of a batch that failed
    /// (`ReportBatchItemFailures`).
    pub report_batch_item_failures: bool,
    /// Whether it runs.
    pub enabled: bool,
    /// Why the server itself switched it off; `None` when it did not.
    #[serde(default)]
    pub problem: Option<Problem>,
    /// Tags, shown to whoever asks.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Where it begins when it has no checkpoint yet.
    pub starting_position: StartingPosition,
    /// When it last changed.
    pub last_modified: Timestamp,
    /// Changes with every change.
    pub revision: Uuid,
}

/// Why the server switched a trigger off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Its function, or the version or alias of it, was deleted.
    FunctionNotFound,
}

/// A trigger's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TriggerId(Uuid);

/// What a trigger reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TriggerSource {
    /// A topic of our log through an event source mapping (AWS: self-managed Kafka whose bootstrap
    /// servers are our own port).
    Topic {
        /// The topic.
        topic: TopicName,
        /// The bootstrap servers as the user gave them: events show them.
        bootstrap_servers: String,
        /// The consumer group id shown by the API.
        consumer_group_id: String,
    },
    /// The changes of a database's table, which a connector writes in the shape of DynamoDB Streams,
    /// through an event source mapping of the stream's ARN.
    TableStream {
        /// The topic of the changes.
        topic: TopicName,
        /// The stream's ARN as the user gave it.
        stream_arn: String,
    },
    /// A bucket's notification configuration.
    Bucket {
        /// The bucket; its events are in the topic `bucket.<name>`.
        bucket: String,
        /// The configuration's id within the bucket.
        configuration_id: String,
        /// Event names, for example `s3:ObjectCreated:*`.
        events: Vec<String>,
        /// Keys must begin with this.
        prefix: Option<String>,
        /// Keys must end with this.
        suffix: Option<String>,
    },
}

/// How events are grouped into one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchPolicy {
    /// Events in one invocation at most, 1 to 10,000.
    pub batch_size: u32,
    /// Milliseconds to wait for a batch to fill, 0 to 300,000.
    pub maximum_batching_window_ms: u32,
}

/// What happens when the function fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts after the first; `None` retries until the record expires (AWS's -1).
    pub maximum_retry_attempts: Option<u32>,
    /// Seconds after which a record is given up; `None` never (AWS's -1).
    pub maximum_record_age_seconds: Option<u32>,
    /// Whether a failing batch of several is split in two.
    pub bisect_batch_on_function_error: bool,
    /// Pauses between attempts.
    pub backoff: Backoff,
    /// Where records go that were given up.
    pub on_failure: Destination,
}

/// Pauses between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Doubling from 100 ms to 30 s: for event source mappings, whose partition waits.
    Exponential,
    /// One minute, then two (AWS's asynchronous invocation, which bucket notifications are).
    Asynchronous,
}

/// Which events must wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// One batch of a partition at a time, in log order.
    Partition,
    /// Events of one key in log order, different keys in parallel.
    Key,
    /// Everything in parallel.
    None,
}

/// Where a trigger begins when it has no checkpoint yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartingPosition {
    /// The oldest kept record (`TRIM_HORIZON`).
    TrimHorizon,
    /// What comes after the trigger was made (`LATEST`): the partitions' ends at that moment, so
    /// that nothing published from then on is missed. Partitions not listed begin at zero.
    Latest {
        /// End offset by partition index.
        ends: BTreeMap<u32, Offset>,
    },
    /// The first record not older than this (`AT_TIMESTAMP`).
    AtTimestamp {
        /// That moment.
        time: Timestamp,
    },
}

impl Trigger {
    /// The topic whose records it reads.
    ///
    /// # Panics
    /// Never: bucket names are legal in topic names, which the bucket door enforces.
    #[must_use]
    pub fn topic(&self) -> TopicName {
        match &self.source {
            TriggerSource::Topic { topic, .. } | TriggerSource::TableStream { topic, .. } => {
                topic.clone()
            }
            TriggerSource::Bucket { bucket, .. } => TopicName::new(format!("bucket.{bucket}"))
                .expect("a bucket's name is legal in a topic's"),
        }
    }

    /// What it runs.
    #[must_use]
    pub fn target(&self) -> QualifiedName {
        QualifiedName {
            name: self.function.clone(),
            qualifier: self.qualifier.clone(),
        }
    }

    /// The consumer that checkpoints for it.
    #[must_use]
    pub fn consumer(&self) -> ConsumerId {
        ConsumerId::new(format!("trigger/{}", self.id))
    }
}

impl TriggerSource {
    /// Whether both are notifications of the same events of the same bucket. What a configuration is
    /// called makes no difference, nor does the order of its events.
    pub(crate) fn wants_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Bucket {
                    bucket,
                    configuration_id: _,
                    events,
                    prefix,
                    suffix,
                },
                Self::Bucket {
                    bucket: other_bucket,
                    configuration_id: _,
                    events: other_events,
                    prefix: other_prefix,
                    suffix: other_suffix,
                },
            ) => {
                let set = |events: &[String]| events.iter().cloned().collect::<BTreeSet<_>>();
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                bucket == other_bucket
                    && set(events) == set(other_events)
                    && text(prefix) == text(other_prefix)
                    && text(suffix) == text(other_suffix)
            }
            (
                Self::Topic { .. } | Self::TableStream { .. },
                Self::Topic { .. } | Self::TableStream { .. } | Self::Bucket { .. },
            )
            | (Self::Bucket { .. }, Self::Topic { .. } | Self::TableStream { .. }) => false,
        }
    }
}

impl TriggerId {
    /// A new identity.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity as a UUID.
    #[must_use]
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Wraps an identity read from outside.
    #[must_use]
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FunctionNotFound => "the function does not exist",
        })
    }
}

impl fmt::Display for TriggerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
