//! May a request happen, and what would it change?
//!
//! Judging reads the ledger and changes nothing, so a request that is refused half way leaves no
//! trace.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::producer::{self, Verdict};
use super::{Change, Extent, Ledger, Part, PartitionKey, Sent};
use crate::{
    Append, Appended, Checkpoint, CheckpointUpdate, ConsumerId, Epoch, Error, Lifetime, Offset,
    OwnerId, ProducerIdentity, Rule, Settled, Settlement, StoredRecord, Topic, TopicConfig,
    TopicName, TopicPartition, TopicSettings, Writer,
};

/// Partitions that one topic may have: each costs memory whether it is used or not.
const MAX_PARTITIONS: u32 = 100_000;

/// A request that was accepted: what it changes and what its caller is told.
#[derive(Debug)]
pub(crate) struct Judged<T> {
    pub(crate) changes: Vec<Change>,
    pub(crate) answer: T,
}

impl Ledger {
    pub(crate) fn judge_creation(
        &self,
        name: &TopicName,
        config: TopicConfig,
    ) -> Result<Judged<Topic>, Error> {
        if self.names.contains_key(name) {
            return Err(Error::TopicExists {
                topic: name.clone(),
            });
        }
        judge_partitions(name, config.partitions, 1)?;
        let topic = Topic {
            name: name.clone(),
            id: Uuid::new_v4(),
            config,
        };
        Ok(Judged {
            changes: vec![Change::TopicCreated(topic.clone())],
            answer: topic,
        })
    }

    /// Judges the deletion of a topic that lives in the journal `home`.
    pub(crate) fn judge_deletion(
        &self,
        name: &TopicName,
        home: Lifetime,
    ) -> Result<Judged<()>, Error> {
        let topic = self.topic_at(name, home)?;
        Ok(Judged {
            changes: vec![Change::TopicDeleted(topic.id)],
            answer: (),
        })
    }

    /// Judges new settings of a topic that lives in the journal `home`.
    pub(crate) fn judge_configuration(
        &self,
        name: &TopicName,
        settings: TopicSettings,
        home: Lifetime,
    ) -> Result<Judged<Topic>, Error> {
        let mut topic = self.topic_at(name, home)?.clone();
        topic.config.settings = settings;
        Ok(Judged {
            changes: vec![Change::TopicConfigured {
                id: topic.id,
                settings,
            }],
            answer: topic,
        })
    }

    /// Judges the growth of a topic that lives in the journal `home` to `partitions` in all.
    pub(crate) fn judge_growth(
        &self,
        name: &TopicName,
        partitions: u32,
        home: Lifetime,
    ) -> Result<Judged<Topic>, Error> {
        let mut topic = self.topic_at(name, home)?.clone();
        judge_partitions(name, partitions, topic.config.partitions.saturating_add(1))?;
        topic.config.partitions = partitions;
        Ok(Judged {
            changes: vec![Change::PartitionsAdded {
                id: topic.id,
                partitions,
            }],
            answer: topic,
        })
    }

    /// Judges the deletion of records in a partition that lives in the journal `home`.
    pub(crate) fn judge_trimming(
        &self,
        place: &TopicPartition,
        before: Offset,
        home: Lifetime,
    ) -> Result<Judged<()>, Error> {
        self.topic_at(&place.topic, home)?;
        let key = self.key(place)?;
        let (start, end) = (self.start(key), self.end(key));
        if before > end {
            return Err(Error::OffsetOutOfRange {
                partition: place.clone(),
                offset: before,
                first: start,
                end,
            });
        }
        let deleted = (before > start).then_some(Change::RecordsDeleted { key, before });
        Ok(Judged {
            changes: deleted.into_iter().collect(),
            answer: (),
        })
    }

    fn topic_at(&self, name: &TopicName, home: Lifetime) -> Result<&Topic, Error> {
        self.topic(name)
            .filter(|topic| topic.config.lifetime == home)
            .ok_or_else(|| Error::UnknownTopic {
                topic: name.clone(),
            })
    }

    /// Judges what a settlement's batches hold by the settings of their topics. Decodes the batches
    /// of compacted topics.
    pub(crate) fn judge_content(&self, settlement: &Settlement) -> Result<(), Error> {
        for append in &settlement.appends {
            let topic = self.topic(&append.to.topic);
            let settings = topic.map(|topic| topic.config.settings).unwrap_or_default();
            let limit = settings.max_batch_bytes.map(|limit| limit as usize);
            let bytes = append.batch.as_bytes().len();
            if let Some(limit) = limit.filter(|limit| bytes > *limit) {
                return Err(Error::TooLarge { bytes, limit });
            }
            let keyless = |stored: &StoredRecord| stored.record.key.is_none();
            if settings.cleanup.compacts() && append.batch.records()?.iter().any(keyless) {
                return Err(Error::InvalidBatch {
                    reason: format!(
                        "{} is compacted and takes only records with keys",
                        append.to
                    ),
                });
            }
        }
        Ok(())
    }

    /// Judges the end of a consumer whose checkpoints live in the journal `home`.
    pub(crate) fn judge_forgetting(&self, consumer: &ConsumerId, home: Lifetime) -> Judged<()> {
        let known = self.home(consumer) == Some(home);
        Judged {
            changes: known
                .then(|| Change::ConsumerForgotten(consumer.clone()))
                .into_iter()
                .collect(),
            answer: (),
        }
    }

    /// Judges the end of those checkpoints that are in the revision named.
    pub(crate) fn judge_forgetting_some(
        &self,
        consumer: &ConsumerId,
        revisions: &[(TopicPartition, u64)],
        home: Lifetime,
    ) -> Judged<Vec<TopicPartition>> {
        let mut gone = BTreeMap::new();
        for (place, revision) in revisions {
            let Ok(key) = self.key(place) else { continue };
            let known = self.home(consumer) == Some(home);
            if known && self.revision(consumer, key) == *revision {
                gone.insert(key, place.clone());
            }
        }
        let changes = gone.keys().map(|key| Change::CheckpointForgotten {
            consumer: consumer.clone(),
            key: *key,
        });
        Judged {
            changes: changes.collect(),
            answer: gone.into_values().collect(),
        }
    }

    pub(crate) fn judge_epoch(&self, owner: &OwnerId) -> Judged<Epoch> {
        let epoch = self.epochs.get(owner).copied().unwrap_or_default().next();
        Judged {
            changes: vec![Change::EpochOpened {
                owner: owner.clone(),
                epoch,
            }],
            answer: epoch,
        }
    }

    pub(crate) fn judge_producer_id(&self) -> Judged<i64> {
        let id = self.next_producer_id;
        Judged {
            changes: vec![Change::ProducerIds { next: id + 1 }],
            answer: id,
        }
    }

    /// The journal that a settlement belongs to: that of its appends; without any, that in which its
    /// checkpoints and positions already live; else the events journal.
    pub(crate) fn home_of(&self, settlement: &Settlement) -> Result<Lifetime, Error> {
        let mut home = None;
        for append in &settlement.appends {
            let topic = &append.to.topic;
            let lifetime = self.topic(topic).map(|topic| topic.config.lifetime);
            let lifetime = lifetime.ok_or_else(|| Error::UnknownTopic {
                topic: topic.clone(),
            })?;
            if *home.get_or_insert(lifetime) != lifetime {
                return Err(invalid(format!(
                    "{topic} lives in another journal than the appends before it"
                )));
            }
        }
        let consumers = settlement
            .checkpoints
            .iter()
            .map(|update| (self.home(&update.consumer), update.consumer.as_str()));
        let sources = settlement
            .positions
            .iter()
            .map(|update| (self.sources.get(&update.source), update.source.as_str()))
            .map(|(source, name)| (source.map(|source| source.home), name));
        for (lives, name) in consumers.chain(sources) {
            if let Some(lives) = lives
                && *home.get_or_insert(lives) != lives
            {
                return Err(invalid(format!(
                    "the checkpoints or the position of {name} live in the other journal"
                )));
            }
        }
        Ok(home.unwrap_or(Lifetime::Events))
    }

    pub(crate) fn judge_settlement(
        &self,
        settlement: &Settlement,
    ) -> Result<Judged<Settled>, Error> {
        if let Some(writer) = &settlement.writer {
            self.judge_writer(writer)?;
        }
        let mut changes = Vec::with_capacity(
            settlement.appends.len() + settlement.checkpoints.len() + settlement.positions.len(),
        );
        let mut ahead = Ahead::default();
        let mut settled = Settled::default();
        for append in &settlement.appends {
            let appended = self.judge_append(append, &mut ahead, &mut changes)?;
            settled.appended.push(appended);
        }
        let mut named = HashSet::new();
        for update in &settlement.checkpoints {
            let key = self.key(&update.partition)?;
            if !named.insert((&update.consumer, key)) {
                return Err(invalid(format!(
                    "the checkpoint of {} on {} is named twice",
                    update.consumer, update.partition
                )));
            }
            changes.push(self.judge_checkpoint(update, key)?);
        }
        for update in &settlement.positions {
            changes.push(Change::Positioned {
                source: update.source.clone(),
                position: update.position.clone(),
            });
        }
        Ok(Judged {
            changes,
            answer: settled,
        })
    }

    fn judge_writer(&self, writer: &Writer) -> Result<(), Error> {
        let current = self.epochs.get(&writer.owner).copied().unwrap_or_default();
        if writer.epoch < current {
            return Err(Error::Fenced {
                owner: writer.owner.clone(),
                epoch: writer.epoch,
                current,
            });
        }
        if writer.epoch > current || current == Epoch::default() {
            return Err(invalid(format!(
                "epoch {} of {} was never opened",
                writer.epoch.get(),
                writer.owner
            )));
        }
        Ok(())
    }

    fn judge_append(
        &self,
        append: &Append,
        ahead: &mut Ahead,
        changes: &mut Vec<Change>,
    ) -> Result<Appended, Error> {
        let key = self.key(&append.to)?;
        let header = append.batch.header();
        if !header.is_dense() {
            return Err(Error::InvalidBatch {
                reason: "record count and last offset disagree".to_owned(),
            });
        }
        let base = match ahead.ends.get(&key) {
            Some(end) => *end,
            None => self.end(key),
        };
        if header.is_control() {
            return Err(Error::InvalidBatch {
                reason: "control batches are the log's own".to_owned(),
            });
        }
        let part = if header.is_transactional() {
            Part::Inside
        } else {
            Part::None
        };
        let extent = Extent::of(key, base, &append.batch, part);
        if let Some(producer) = header.producer {
            if producer.base_sequence < 0 {
                return Err(Error::InvalidBatch {
                    reason: "it names a producer but no sequence".to_owned(),
                });
            }
            let (id, epoch) = (producer.id, producer.epoch);
            self.judge_producer(ProducerIdentity { id, epoch }, &append.to)?;
            let known = self.partitions.get(&key);
            let known = known.and_then(|partition| partition.sequences.get(producer.id));
            let sent = ahead.sent.get(&(key, producer.id)).or(known);
            if let Verdict::Duplicate(copy) =
                producer::judge(sent, producer, extent.offsets, &append.to)?
            {
                return Ok(Appended::Duplicate(copy));
            }
            let mut sent = sent.cloned().unwrap_or_default();
            sent.note(producer, &extent);
            ahead.sent.insert((key, producer.id), sent);
        }
        self.judge_part(&append.batch, key, &append.to)?;
        ahead.ends.insert(key, extent.end());
        changes.push(Change::Appended(extent));
        Ok(Appended::At(base))
    }

    fn stored(&self, consumer: &ConsumerId, key: PartitionKey) -> Option<&Checkpoint> {
        self.consumers.get(consumer)?.checkpoints.get(&key)
    }

    /// How often a checkpoint has been written.
    pub(super) fn revision(&self, consumer: &ConsumerId, key: PartitionKey) -> u64 {
        self.stored(consumer, key)
            .map_or(0, |stored| stored.revision)
    }

    fn judge_checkpoint(
        &self,
        update: &CheckpointUpdate,
        key: PartitionKey,
    ) -> Result<Change, Error> {
        let stored = self.stored(&update.consumer, key);
        let revision = self.revision(&update.consumer, key);
        let next = stored.map_or(Offset::ZERO, |stored| stored.next);
        let conflict = |reason| Error::CheckpointConflict {
            consumer: update.consumer.clone(),
            partition: update.partition.clone(),
            reason,
        };
        match update.rule {
            Rule::Advance { expected_revision } if expected_revision != revision => {
                return Err(conflict(format!(
                    "revision {expected_revision} was expected, {revision} is stored"
                )));
            }
            Rule::Advance { .. } if update.next < next => {
                return Err(conflict(format!(
                    "it would go back from {next} to {}",
                    update.next
                )));
            }
            Rule::Advance { .. } | Rule::Reset => {}
        }
        let mut floor = update.next.next();
        for range in &update.finished_above {
            if range.start < floor || range.end <= range.start {
                return Err(invalid(format!(
                    "finished offsets of {} on {} are not ascending, disjoint and above the checkpoint",
                    update.consumer, update.partition
                )));
            }
            floor = range.end;
        }
        Ok(Change::Checkpointed {
            consumer: update.consumer.clone(),
            key,
            checkpoint: Checkpoint {
                next: update.next,
                finished_above: update.finished_above.clone(),
                metadata: update.metadata.clone(),
                revision: revision + 1,
            },
        })
    }
}

/// What the earlier appends of the same settlement will have changed.
#[derive(Default)]
struct Ahead {
    ends: HashMap<PartitionKey, Offset>,
    sent: HashMap<(PartitionKey, i64), Sent>,
}

fn judge_partitions(name: &TopicName, partitions: u32, least: u32) -> Result<(), Error> {
    if (least..=MAX_PARTITIONS).contains(&partitions) {
        return Ok(());
    }
    Err(Error::InvalidTopicConfig {
        topic: name.clone(),
        reason: format!("{partitions} partitions are not between {least} and {MAX_PARTITIONS}"),
    })
}

fn invalid(reason: String) -> Error {
    Error::InvalidSettlement { reason }
}
