//! What a log knows besides the bytes of its records: topics, ends, checkpoints, epochs, producers.
//!
//! Pure state, no I/O. A request is judged against it ([`judge`]) and, when accepted, becomes
//! [`Change`]s; applying changes in the order of acceptance is the only way the ledger moves. A log
//! on disk writes the changes and rebuilds its ledger from them; a log in memory just applies them.

mod change;
mod judge;
mod producer;
mod transact;
mod transactions;

use std::collections::{BTreeMap, HashMap};

use event::{SourceId, SourcePosition};
use uuid::Uuid;

use crate::{
    Aborted, Checkpoint, ConsumerId, Epoch, Error, Lifetime, Offset, OwnerId, Partition, Topic,
    TopicName, TopicPartition,
};

pub(crate) use change::{Change, Extent, Part};
pub(crate) use judge::Judged;
pub(crate) use producer::{Sent, Sequences};
pub(crate) use transact::Transacted;
pub(crate) use transactions::{Enrolled, Staged, Transactions};

/// One partition by its topic's identity: a topic created again under the same name is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PartitionKey {
    pub(crate) topic: Uuid,
    pub(crate) partition: Partition,
}

/// The state of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    topics: HashMap<Uuid, Topic>,
    names: BTreeMap<TopicName, Uuid>,
    partitions: HashMap<PartitionKey, PartitionState>,
    consumers: BTreeMap<ConsumerId, Consumer>,
    sources: BTreeMap<SourceId, Source>,
    epochs: BTreeMap<OwnerId, Epoch>,
    next_producer_id: i64,
    transactions: Transactions,
}

#[derive(Clone, Debug, Default)]
struct PartitionState {
    /// Everything below has been deleted on request or past its retention.
    start: Offset,
    end: Offset,
    sequences: Sequences,
    /// The first record of each producer's open transaction.
    open: BTreeMap<i64, Offset>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
}

/// A consumer's checkpoints all live in one journal, its home.
#[derive(Clone, Debug)]
struct Consumer {
    home: Lifetime,
    checkpoints: BTreeMap<PartitionKey, Checkpoint>,
}

#[derive(Clone, Debug)]
struct Source {
    home: Lifetime,
    position: SourcePosition,
}

impl Ledger {
    pub(crate) fn topic(&self, name: &TopicName) -> Option<&Topic> {
        self.topics.get(self.names.get(name)?)
    }

    /// Every topic, by name.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// The identity of a partition.
    pub(crate) fn key(&self, place: &TopicPartition) -> Result<PartitionKey, Error> {
        let topic = self
            .topic(&place.topic)
            .ok_or_else(|| Error::UnknownTopic {
                topic: place.topic.clone(),
            })?;
        if place.partition.index() >= topic.config.partitions {
            return Err(Error::UnknownPartition {
                partition: place.clone(),
            });
        }
        Ok(PartitionKey {
            topic: topic.id,
            partition: place.partition,
        })
    }

    /// The name of a partition whose topic exists.
    pub(crate) fn place(&self, key: PartitionKey) -> Option<TopicPartition> {
        Some(self.topics.get(&key.topic)?.name.partition(key.partition))
    }

    /// Every partition of the topics that a journal holds.
    pub(crate) fn partitions_of(&self, home: Lifetime) -> Vec<PartitionKey> {
        let topics = self.topics.values();
        topics
            .filter(|topic| topic.config.lifetime == home)
            .flat_map(|topic| self.partitions_in(topic.id))
            .collect()
    }

    /// Every partition of a topic; none when it does not exist.
    pub(crate) fn partitions_in(&self, topic: Uuid) -> Vec<PartitionKey> {
        let partitions = self.topics.get(&topic).map(|topic| topic.config.partitions);
        let partitions = (0..partitions.unwrap_or(0)).map(Partition::new);
        partitions
            .map(|partition| PartitionKey { topic, partition })
            .collect()
    }

    /// One past the last offset.
    pub(crate) fn end(&self, key: PartitionKey) -> Offset {
        self.partitions
            .get(&key)
            .map_or(Offset::ZERO, |partition| partition.end)
    }

    /// One past the last offset below which every transaction has been decided.
    pub(crate) fn last_stable(&self, key: PartitionKey) -> Offset {
        self.partitions.get(&key).map_or(Offset::ZERO, |partition| {
            let open = partition.open.values().min();
            open.copied().unwrap_or(partition.end)
        })
    }

    /// The first offset that has not been deleted. Whole segments may have gone beyond it.
    pub(crate) fn start(&self, key: PartitionKey) -> Offset {
        self.partitions
            .get(&key)
            .map_or(Offset::ZERO, |partition| partition.start)
    }

    pub(crate) fn checkpoint(
        &self,
        consumer: &ConsumerId,
        place: &TopicPartition,
    ) -> Option<Checkpoint> {
        let key = self.key(place).ok()?;
        let consumer = self.consumers.get(consumer)?;
        consumer.checkpoints.get(&key).cloned()
    }

    pub(crate) fn checkpoints(&self, consumer: &ConsumerId) -> Vec<(TopicPartition, Checkpoint)> {
        let Some(consumer) = self.consumers.get(consumer) else {
            return Vec::new();
        };
        let named = consumer
            .checkpoints
            .iter()
            .filter_map(|(key, checkpoint)| Some((self.place(*key)?, checkpoint.clone())));
        let mut checkpoints: Vec<_> = named.collect();
        checkpoints.sort_by(|(a, _), (b, _)| a.cmp(b));
        checkpoints
    }

    pub(crate) fn consumers(&self) -> impl Iterator<Item = &ConsumerId> {
        self.consumers.keys()
    }

    /// The journal that holds a consumer's checkpoints, if it has any.
    pub(crate) fn home(&self, consumer: &ConsumerId) -> Option<Lifetime> {
        Some(self.consumers.get(consumer)?.home)
    }

    /// For every partition with checkpoints on it, the lowest offset that some consumer still needs
    /// whose records are held for it.
    pub(crate) fn lowest_checkpoints(&self) -> HashMap<PartitionKey, Offset> {
        let mut lowest = HashMap::new();
        let holding = self.consumers.iter().filter(|(id, _)| id.holds_records());
        for (_, consumer) in holding {
            for (key, checkpoint) in &consumer.checkpoints {
                lowest
                    .entry(*key)
                    .and_modify(|next: &mut Offset| *next = (*next).min(checkpoint.next))
                    .or_insert(checkpoint.next);
            }
        }
        lowest
    }

    pub(crate) fn position(&self, source: &SourceId) -> Option<SourcePosition> {
        Some(self.sources.get(source)?.position.clone())
    }
}
