//! The steps in which a ledger moves.

use clock::Timestamp;
use event::{SourceId, SourcePosition};
use uuid::Uuid;

use super::transactions::{Enrolled, Staged};
use super::{Consumer, Ledger, PartitionKey, Sequences, Source};
use crate::{
    Aborted, Checkpoint, ConsumerId, Epoch, Lifetime, Offset, Outcome, OwnerId, Partition,
    Producer, RecordBatch, Topic, TopicSettings, TransactionalId,
};

/// One step. What a log writes beside record bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    TopicCreated(Topic),
    /// Takes records and checkpoints with it, whichever journal those live in.
    TopicDeleted(Uuid),
    TopicConfigured {
        id: Uuid,
        settings: TopicSettings,
    },
    /// A topic has grown to this many partitions.
    PartitionsAdded {
        id: Uuid,
        partitions: u32,
    },
    /// Records below `before` are gone for readers, whatever is still on the disk.
    RecordsDeleted {
        key: PartitionKey,
        before: Offset,
    },
    /// Only in rewritten segments: the batches of a partition that follow are what is left of these
    /// offsets.
    Cleaned {
        key: PartitionKey,
        base: Offset,
        end: Offset,
    },
    Appended(Extent),
    Checkpointed {
        consumer: ConsumerId,
        key: PartitionKey,
        checkpoint: Checkpoint,
    },
    ConsumerForgotten(ConsumerId),
    CheckpointForgotten {
        consumer: ConsumerId,
        key: PartitionKey,
    },
    Positioned {
        source: SourceId,
        position: SourcePosition,
    },
    EpochOpened {
        owner: OwnerId,
        epoch: Epoch,
    },
    /// Every producer id below `next` has been handed out.
    ProducerIds {
        next: i64,
    },
    /// A transactional id has begun a life.
    Enrolled(Enrolled),
    /// A transaction has grown; the first time it begins.
    TransactionJoined {
        id: TransactionalId,
        since: Timestamp,
        partitions: Vec<PartitionKey>,
        consumers: Vec<ConsumerId>,
    },
    /// An offset waits for its transaction.
    Staged {
        id: TransactionalId,
        staged: Staged,
    },
    /// Follows the control batches and checkpoints that it is about.
    TransactionEnded {
        id: TransactionalId,
        outcome: Outcome,
    },
    ProducerForgotten(TransactionalId),
    /// Only in snapshots: which producers have transactions open in a partition, from which offset
    /// on, and which were aborted.
    Decisions {
        key: PartitionKey,
        open: Vec<(i64, Offset)>,
        aborted: Vec<Aborted>,
    },
    /// Only in snapshots: where a partition ends and what its producers sent last.
    Partition {
        key: PartitionKey,
        end: Offset,
        sequences: Sequences,
    },
}

/// One batch and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) key: PartitionKey,
    pub(crate) base: Offset,
    pub(crate) offsets: u32,
    /// Bytes of the batch.
    pub(crate) len: u32,
    pub(crate) max_timestamp: Timestamp,
    pub(crate) producer: Option<Producer>,
    pub(crate) part: Part,
}

/// Which part a batch plays in a transaction. All but `None` have a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    None,
    /// Its records count when the transaction commits.
    Inside,
    /// It is the control batch.
    End(Outcome),
}

impl Extent {
    /// The place of a batch.
    pub(crate) fn of(key: PartitionKey, base: Offset, batch: &RecordBatch, part: Part) -> Self {
        let header = batch.header();
        Self {
            key,
            base,
            offsets: u32::try_from(header.offsets()).expect("a batch counts its records in i32"),
            len: u32::try_from(header.len()).expect("a batch counts its bytes in i32"),
            max_timestamp: header.max_timestamp,
            producer: header.producer,
            part,
        }
    }

    pub(crate) fn end(&self) -> Offset {
        self.base.plus(u64::from(self.offsets))
    }
}

impl Ledger {
    /// Moves by one step that was recorded in the journal `home`.
    pub(crate) fn apply(&mut self, home: Lifetime, change: &Change) {
        match change {
            Change::TopicCreated(topic) => {
                self.names.insert(topic.name.clone(), topic.id);
                self.topics.insert(topic.id, topic.clone());
            }
            Change::TopicDeleted(id) => self.delete_topic(*id),
            Change::Cleaned { key, end, .. } => {
                let partition = self.partitions.entry(*key).or_default();
                partition.end = partition.end.max(*end);
            }
            Change::TopicConfigured { id, settings } => {
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.config.settings = *settings;
                }
            }
            Change::PartitionsAdded { id, partitions } => {
                if let Some(topic) = self.topics.get_mut(id) {
                    topic.config.partitions = *partitions;
                }
            }
            Change::RecordsDeleted { key, before } => {
                let partition = self.partitions.entry(*key).or_default();
                partition.start = partition.start.max(*before);
            }
            Change::Appended(extent) => {
                let partition = self.partitions.entry(extent.key).or_default();
                partition.end = partition.end.max(extent.end());
                if let Some(producer) = extent.producer {
                    partition.sequences.note(producer, extent);
                    self.note_part(producer.id, extent);
                }
            }
            Change::Checkpointed {
                consumer,
                key,
                checkpoint,
            } => {
                let consumer = self
                    .consumers
                    .entry(consumer.clone())
                    .or_insert_with(|| Consumer::at(home));
                consumer.checkpoints.insert(*key, checkpoint.clone());
            }
            Change::ConsumerForgotten(consumer) => {
                self.consumers.remove(consumer);
            }
            Change::CheckpointForgotten { consumer, key } => {
                if let Some(known) = self.consumers.get_mut(consumer) {
                    known.checkpoints.remove(key);
                    if known.checkpoints.is_empty() {
                        self.consumers.remove(consumer);
                    }
                }
            }
            Change::Positioned { source, position } => {
                let position = position.clone();
                self.sources
                    .insert(source.clone(), Source { home, position });
            }
            Change::EpochOpened { owner, epoch } => {
                self.epochs.insert(owner.clone(), *epoch);
            }
            Change::ProducerIds { next } => self.next_producer_id = *next,
            Change::Enrolled(enrolled) => self.enroll(enrolled),
            Change::TransactionJoined {
                id,
                since,
                partitions,
                consumers,
            } => self.join_transaction(id, *since, partitions, consumers),
            Change::Staged { id, staged } => self.stage(id, staged),
            Change::TransactionEnded { id, outcome } => self.end_transaction(id, *outcome),
            Change::ProducerForgotten(id) => self.forget_producer(id),
            Change::Decisions { key, open, aborted } => {
                let partition = self.partitions.entry(*key).or_default();
                partition.open = open.iter().copied().collect();
                partition.aborted = aborted.clone();
            }
            Change::Partition {
                key,
                end,
                sequences,
            } => {
                let partition = self.partitions.entry(*key).or_default();
                partition.end = *end;
                partition.sequences = sequences.clone();
            }
        }
    }

    fn delete_topic(&mut self, id: Uuid) {
        self.remove_topic(id);
        self.drop_checkpoints(|key| key.topic == id);
    }

    fn remove_topic(&mut self, id: Uuid) {
        if let Some(topic) = self.topics.remove(&id)
            && self.names.get(&topic.name) == Some(&id)
        {
            self.names.remove(&topic.name);
        }
        self.partitions.retain(|key, _| key.topic != id);
        self.leave_transactions(id);
    }

    fn drop_checkpoints(&mut self, gone: impl Fn(&PartitionKey) -> bool) {
        self.consumers.retain(|_, consumer| {
            consumer.checkpoints.retain(|key, _| !gone(key));
            !consumer.checkpoints.is_empty()
        });
    }

    /// Shows a topic no more, but keeps the checkpoints on it.
    #[cfg(feature = "kafka")]
    pub(crate) fn hide_topic(&mut self, id: Uuid) {
        self.remove_topic(id);
    }

    /// Forgets a consumer's checkpoint on one partition of those topics.
    #[cfg(feature = "kafka")]
    pub(crate) fn forget_checkpoint(
        &mut self,
        consumer: &ConsumerId,
        partition: Partition,
        topics: impl Fn(Uuid) -> bool,
    ) {
        let Some(known) = self.consumers.get_mut(consumer) else {
            return;
        };
        let gone = |key: &PartitionKey| key.partition == partition && topics(key.topic);
        known.checkpoints.retain(|key, _| !gone(key));
        if known.checkpoints.is_empty() {
            self.consumers.remove(consumer);
        }
    }

    /// The changes that rebuild, from nothing, what the journal `home` has told.
    pub(crate) fn snapshot(&self, home: Lifetime) -> Vec<Change> {
        let mut changes = Vec::new();
        for topic in self.topics_at(home) {
            changes.push(Change::TopicCreated(topic.clone()));
            for index in 0..topic.config.partitions {
                let key = PartitionKey {
                    topic: topic.id,
                    partition: Partition::new(index),
                };
                let partition = self.partitions.get(&key).cloned().unwrap_or_default();
                changes.push(Change::Partition {
                    key,
                    end: partition.end,
                    sequences: partition.sequences,
                });
                if !partition.open.is_empty() || !partition.aborted.is_empty() {
                    changes.push(Change::Decisions {
                        key,
                        open: partition.open.into_iter().collect(),
                        aborted: partition.aborted,
                    });
                }
                if partition.start > Offset::ZERO {
                    changes.push(Change::RecordsDeleted {
                        key,
                        before: partition.start,
                    });
                }
            }
        }
        for (id, consumer) in self.consumers.iter().filter(|(_, at)| at.home == home) {
            for (key, checkpoint) in &consumer.checkpoints {
                changes.push(Change::Checkpointed {
                    consumer: id.clone(),
                    key: *key,
                    checkpoint: checkpoint.clone(),
                });
            }
        }
        for (id, source) in self.sources.iter().filter(|(_, at)| at.home == home) {
            changes.push(Change::Positioned {
                source: id.clone(),
                position: source.position.clone(),
            });
        }
        if home == Lifetime::Events {
            for (owner, epoch) in &self.epochs {
                changes.push(Change::EpochOpened {
                    owner: owner.clone(),
                    epoch: *epoch,
                });
            }
            changes.push(Change::ProducerIds {
                next: self.next_producer_id,
            });
            changes.extend(self.transactions_snapshot());
        }
        changes
    }

    /// Adds what another journal's replay has built. A checkpoint on a topic that exists in neither
    /// goes first, and with its last checkpoint a consumer: the other journal has told of the topic's
    /// end, and the consumer may have begun again there.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.topics.extend(std::mem::take(&mut other.topics));
        self.names.extend(std::mem::take(&mut other.names));
        let topics = std::mem::take(&mut self.topics);
        for ledger in [&mut *self, &mut other] {
            let gone = |key: &PartitionKey| !topics.contains_key(&key.topic);
            ledger.partitions.retain(|key, _| !gone(key));
            ledger.drop_checkpoints(gone);
        }
        self.topics = topics;
        self.partitions.extend(other.partitions);
        self.consumers.extend(other.consumers);
        self.sources.extend(other.sources);
        self.epochs.extend(other.epochs);
        self.next_producer_id = self.next_producer_id.max(other.next_producer_id);
        if !other.transactions.is_empty() {
            self.transactions = other.transactions;
        }
    }

    /// Moves the end of a partition past offsets whose records are lost.
    pub(crate) fn skip_to(&mut self, key: PartitionKey, end: Offset) {
        self.partitions.entry(key).or_default().end = end;
    }

    fn topics_at(&self, home: Lifetime) -> impl Iterator<Item = &Topic> {
        self.topics
            .values()
            .filter(move |topic| topic.config.lifetime == home)
    }
}

impl Consumer {
    fn at(home: Lifetime) -> Self {
        Self {
            home,
            checkpoints: std::collections::BTreeMap::new(),
        }
    }
}
