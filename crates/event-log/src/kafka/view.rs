//! What the node knows of the log: its ledger, kept by the log's own topics and Kafka's metadata.
//!
//! A fact holds from its offset on. The committer applies those that it has committed, the follower
//! everybody's; each is applied once, in the order of offsets, whoever is first.

use std::collections::HashMap;

use uuid::Uuid;

use super::fact::{Fact, Holder, Subject, TopicFact};
use crate::ledger::{Change, Ledger, PartitionKey};
use crate::{Lifetime, Shard, Topic, TopicConfig, TopicName};

/// Topics of the same name that ended and began again differ by their incarnation; identities are
/// made from it, so that all nodes have the same.
const TOPIC_IDS: Uuid = Uuid::from_u128(0x7c1d_3f5e_5e0a_4b6f_9a53_3f3c_5d0e_11aa);

#[derive(Debug)]
pub(super) struct View {
    pub(super) ledger: Ledger,
    node: String,
    topics: HashMap<TopicName, TopicFact>,
    seen: HashMap<Subject, i64>,
    holders: HashMap<Shard, Holder>,
    /// The newest run of this node, which may be another process.
    run: Option<Uuid>,
}

impl View {
    pub(super) fn new(node: String) -> Self {
        Self {
            ledger: Ledger::default(),
            node,
            topics: HashMap::new(),
            seen: HashMap::new(),
            holders: HashMap::new(),
            run: None,
        }
    }

    /// Takes in a fact that was committed at `offset` of its partition.
    pub(super) fn apply(&mut self, fact: &Fact, offset: i64) {
        let last = self.seen.entry(fact.subject()).or_insert(-1);
        if offset <= *last {
            return;
        }
        *last = offset;
        match fact {
            Fact::Checkpoint {
                consumer,
                partition,
                incarnation,
                home,
                checkpoint,
            } => {
                let id = topic_id(&partition.topic, *incarnation);
                let current = self.topic_fact(&partition.topic).incarnation;
                let key = PartitionKey {
                    topic: id,
                    partition: partition.partition,
                };
                match checkpoint {
                    Some(_) if *incarnation < current => {}
                    Some(checkpoint) => self.ledger.apply(
                        *home,
                        &Change::Checkpointed {
                            consumer: consumer.clone(),
                            key,
                            checkpoint: checkpoint.clone(),
                        },
                    ),
                    None => self
                        .ledger
                        .forget_checkpoint(consumer, partition.partition, |id| {
                            (0..=current).any(|past| topic_id(&partition.topic, past) == id)
                        }),
                }
            }
            Fact::Position {
                source,
                home,
                position,
            } => self.ledger.apply(
                *home,
                &Change::Positioned {
                    source: source.clone(),
                    position: position.clone(),
                },
            ),
            Fact::Holder { shard, holder } => {
                self.holders.insert(*shard, holder.clone());
            }
            Fact::Topic { name, topic } => {
                let before = self.topic_fact(name).incarnation;
                self.topics.insert(name.clone(), *topic);
                for ended in before..topic.incarnation {
                    let id = topic_id(name, ended);
                    self.ledger
                        .apply(Lifetime::Events, &Change::TopicDeleted(id));
                }
            }
            Fact::Epoch { node, owner, epoch } => {
                if *node == self.node {
                    let (owner, epoch) = (owner.clone(), *epoch);
                    let opened = Change::EpochOpened { owner, epoch };
                    self.ledger.apply(Lifetime::Events, &opened);
                }
            }
            Fact::Node { node, run } => {
                if *node == self.node {
                    self.run = Some(*run);
                }
            }
        }
    }

    pub(super) fn topic_fact(&self, name: &TopicName) -> TopicFact {
        self.topics.get(name).copied().unwrap_or(TopicFact {
            incarnation: 0,
            config: None,
            ending: false,
        })
    }

    /// The identity of the topic that now has that name.
    pub(super) fn identity(&self, name: &TopicName) -> Uuid {
        topic_id(name, self.topic_fact(name).incarnation)
    }

    pub(super) fn holder(&self, shard: Shard) -> Option<&Holder> {
        self.holders.get(&shard)
    }

    /// The newest run of this node.
    pub(super) fn run(&self) -> Option<Uuid> {
        self.run
    }

    /// Shows the topics that Kafka has, by name and number of partitions, and no others.
    pub(super) fn show(&mut self, there: &HashMap<TopicName, u32>) {
        let known: Vec<Topic> = self.ledger.topics().cloned().collect();
        for topic in known {
            let current = topic_id(&topic.name, self.topic_fact(&topic.name).incarnation);
            if !there.contains_key(&topic.name) || topic.id != current {
                self.ledger.hide_topic(topic.id);
            }
        }
        for (name, partitions) in there {
            let fact = self.topic_fact(name);
            let config = TopicConfig {
                partitions: *partitions,
                ..fact
                    .config
                    .unwrap_or_else(|| TopicConfig::new(*partitions, Lifetime::Events))
            };
            let topic = Topic {
                name: name.clone(),
                id: topic_id(name, fact.incarnation),
                config,
            };
            if self.ledger.topic(name) != Some(&topic) {
                let created = Change::TopicCreated(topic);
                self.ledger.apply(Lifetime::Events, &created);
            }
        }
    }
}

fn topic_id(name: &TopicName, incarnation: u64) -> Uuid {
    Uuid::new_v5(&TOPIC_IDS, format!("{name}/{incarnation}").as_bytes())
}
