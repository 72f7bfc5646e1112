//! The records of the log's own topics, as JSON: keys say what they are about, values what is so.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use event::{SourceId, SourcePosition};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    Checkpoint, ConsumerId, Epoch, Lifetime, Offset, OwnerId, Shard, TopicConfig, TopicName,
    TopicPartition,
};

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject {
    /// A consumer's checkpoint on a partition. In the partition of its shard.
    Checkpoint(ConsumerId, TopicPartition),
    /// The place that a source has reached. In the partition of its shard.
    Position(SourceId),
    /// Who holds a shard. In the shard's partition.
    Holder(u32),
    /// A topic's identity and settings.
    Topic(TopicName),
    /// An owner's epoch on a node.
    Epoch(String, OwnerId),
    /// A node's latest run.
    Node(String),
}

/// A record: what is so from its offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Checkpoint {
        consumer: ConsumerId,
        partition: TopicPartition,
        /// Which topic of that name.
        incarnation: u64,
        home: Lifetime,
        /// `None`: it is forgotten.
        checkpoint: Option<Checkpoint>,
    },
    Position {
        source: SourceId,
        home: Lifetime,
        position: SourcePosition,
    },
    Holder {
        shard: Shard,
        holder: Holder,
    },
    Topic {
        name: TopicName,
        topic: TopicFact,
    },
    Epoch {
        node: String,
        owner: OwnerId,
        epoch: Epoch,
    },
    Node {
        node: String,
        run: Uuid,
    },
}

/// Who holds a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    pub(super) node: String,
    pub(super) run: Uuid,
    /// Counts the assignments of the run.
    pub(super) term: u64,
}

/// What is known of a topic beyond Kafka's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicFact {
    /// How often a topic of this name has ended.
    pub(super) incarnation: u64,
    /// What it was created or configured with, if that was done through the log.
    pub(super) config: Option<TopicConfig>,
    /// Whether what Kafka may still have under the name is about to go.
    #[serde(default)]
    pub(super) ending: bool,
}

#[derive(Serialize, Deserialize)]
struct CheckpointValue {
    incarnation: u64,
    home: Lifetime,
    next: Offset,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    finished_above: Vec<Range<Offset>>,
    /// Base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metadata: String,
    revision: u64,
}

#[derive(Serialize, Deserialize)]
struct PositionValue {
    home: Lifetime,
    /// Base64.
    position: String,
}

impl Fact {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::Checkpoint {
                consumer,
                partition,
                ..
            } => Subject::Checkpoint(consumer.clone(), partition.clone()),
            Self::Position { source, .. } => Subject::Position(source.clone()),
            Self::Holder { shard, .. } => Subject::Holder(shard.index()),
            Self::Topic { name, .. } => Subject::Topic(name.clone()),
            Self::Epoch { node, owner, .. } => Subject::Epoch(node.clone(), owner.clone()),
            Self::Node { node, .. } => Subject::Node(node.clone()),
        }
    }

    /// The shard in whose partition of the checkpoint topic it lies; `None` for the control topic.
    pub(super) fn shard(&self) -> Option<Shard> {
        match self {
            Self::Checkpoint {
                consumer,
                partition,
                ..
            } => Some(Shard::of(consumer, partition)),
            Self::Position { source, .. } => Some(Shard::of_source(source)),
            Self::Holder { shard, .. } => Some(*shard),
            Self::Topic { .. } | Self::Epoch { .. } | Self::Node { .. } => None,
        }
    }

    /// Key and value.
    pub(super) fn encode(&self) -> (Bytes, Option<Bytes>) {
        let key = json(&self.subject());
        let value = match self {
            Self::Checkpoint {
                checkpoint: None, ..
            } => None,
            Self::Checkpoint {
                incarnation,
                home,
                checkpoint: Some(checkpoint),
                ..
            } => Some(json(&CheckpointValue {
                incarnation: *incarnation,
                home: *home,
                next: checkpoint.next,
                finished_above: checkpoint.finished_above.clone(),
                metadata: STANDARD.encode(&checkpoint.metadata),
                revision: checkpoint.revision,
            })),
            Self::Position { home, position, .. } => Some(json(&PositionValue {
                home: *home,
                position: STANDARD.encode(position.as_bytes()),
            })),
            Self::Holder { holder, .. } => Some(json(holder)),
            Self::Topic { topic, .. } => Some(json(topic)),
            Self::Epoch { epoch, .. } => Some(json(epoch)),
            Self::Node { run, .. } => Some(json(run)),
        };
        (key, value)
    }

    /// Reads a record; `None` for one that is none of ours, or of a later version.
    pub(super) fn decode(key: &[u8], value: Option<&[u8]>) -> Option<Self> {
        Some(match serde_json::from_slice(key).ok()? {
            Subject::Checkpoint(consumer, partition) => {
                let value: Option<CheckpointValue> = match value {
                    Some(value) => Some(read(value)?),
                    None => None,
                };
                Self::Checkpoint {
                    consumer,
                    partition,
                    incarnation: value.as_ref().map_or(0, |value| value.incarnation),
                    home: value.as_ref().map_or(Lifetime::Events, |value| value.home),
                    checkpoint: match value {
                        Some(value) => Some(value.checkpoint()?),
                        None => None,
                    },
                }
            }
            Subject::Position(source) => {
                let PositionValue { home, position } = read(value?)?;
                Self::Position {
                    source,
                    home,
                    position: SourcePosition::new(STANDARD.decode(position).ok()?),
                }
            }
            Subject::Holder(shard) => Self::Holder {
                shard: Shard::new(shard)?,
                holder: read(value?)?,
            },
            Subject::Topic(name) => Self::Topic {
                name,
                topic: read(value?)?,
            },
            Subject::Epoch(node, owner) => Self::Epoch {
                node,
                owner,
                epoch: read(value?)?,
            },
            Subject::Node(node) => Self::Node {
                node,
                run: read(value?)?,
            },
        })
    }
}

impl CheckpointValue {
    fn checkpoint(self) -> Option<Checkpoint> {
        Some(Checkpoint {
            next: self.next,
            finished_above: self.finished_above,
            metadata: STANDARD.decode(self.metadata).ok()?.into(),
            revision: self.revision,
        })
    }
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value)
        .expect("facts are plain data")
        .into()
}

fn read<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Partition;

    fn facts() -> Vec<Fact> {
        let partition = TopicName::new("orders")
            .unwrap()
            .partition(Partition::new(3));
        let checkpoint = Checkpoint {
            next: Offset::new(7),
            finished_above: vec![Offset::new(9)..Offset::new(11)],
            metadata: Bytes::from_static(b"\0notes"),
            revision: 4,
        };
        let of = |checkpoint| Fact::Checkpoint {
            consumer: ConsumerId::new("async"),
            partition: partition.clone(),
            incarnation: 0,
            home: Lifetime::Events,
            checkpoint,
        };
        vec![
            of(Some(checkpoint)),
            of(None),
            Fact::Position {
                source: SourceId::new("s3/orders"),
                home: Lifetime::LongLived,
                position: SourcePosition::new("12"),
            },
            Fact::Holder {
                shard: Shard::new(63).unwrap(),
                holder: Holder {
                    node: "n".to_owned(),
                    run: Uuid::nil(),
                    term: 2,
                },
            },
            Fact::Topic {
                name: TopicName::new("orders").unwrap(),
                topic: TopicFact {
                    incarnation: 1,
                    config: Some(TopicConfig::new(4, Lifetime::Events)),
                    ending: true,
                },
            },
            Fact::Epoch {
                node: "n".to_owned(),
                owner: OwnerId::new("dispatcher"),
                epoch: Epoch::new(3),
            },
            Fact::Node {
                node: "n".to_owned(),
                run: Uuid::nil(),
            },
        ]
    }

    #[test]
    fn every_fact_reads_as_it_was_written() {
        for fact in facts() {
            let (key, value) = fact.encode();
            assert_eq!(Fact::decode(&key, value.as_deref()), Some(fact));
        }
    }

    #[test]
    fn records_of_earlier_versions_can_be_read() {
        let (key, value) = facts()[0].encode();
        let golden = r#"{"checkpoint":["async",{"topic":"orders","partition":3}]}"#;
        assert_eq!(key, golden);
        let golden = r#"{"incarnation":0,"home":"events","next":7,"finished_above":[{"start":9,"end":11}],"metadata":"AG5vdGVz","revision":4}"#;
        assert_eq!(value.unwrap(), golden);
    }

    #[test]
    fn what_is_no_fact_is_passed_over() {
        for (key, value) in [
            (&b"x"[..], &b"{}"[..]),
            (br#"{"node":"n"}"#, b"{}"),
            (b"", b""),
        ] {
            assert_eq!(Fact::decode(key, Some(value)), None);
        }
    }
}
