//! [`Change`]s as bytes. Numbers are big-endian; a text or byte string is preceded by its length.
//!
//! The tags and layouts below are on disks: they may be added to, never changed.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use clock::Timestamp;
use event::{SourceId, SourcePosition};
use uuid::Uuid;

use crate::ledger::{Change, Enrolled, Extent, Part, PartitionKey, Sent, Sequences, Staged};
use crate::{
    Aborted, Checkpoint, ConsumerId, Epoch, Lifetime, Offset, Outcome, OwnerId, Partition,
    Producer, ProducerIdentity, Settlement, Topic, TopicConfig, TopicName, TopicSettings,
    TransactionalId,
};

const TOPIC_CREATED: u8 = 1;
const TOPIC_DELETED: u8 = 2;
const APPENDED: u8 = 3;
const APPENDED_BY_PRODUCER: u8 = 4;
const CHECKPOINTED: u8 = 5;
const CONSUMER_FORGOTTEN: u8 = 6;
const POSITIONED: u8 = 7;
const EPOCH_OPENED: u8 = 8;
const PRODUCER_IDS: u8 = 9;
const PARTITION: u8 = 10;
const CHECKPOINT_FORGOTTEN: u8 = 11;
const TOPIC_CREATED_WITH_SETTINGS: u8 = 20;
const TOPIC_CONFIGURED: u8 = 21;
const PARTITIONS_ADDED: u8 = 22;
const RECORDS_DELETED: u8 = 23;
const CLEANED: u8 = 24;
const APPENDED_IN_TRANSACTION: u8 = 40;
const COMMIT_MARKER: u8 = 41;
const ABORT_MARKER: u8 = 42;
const ENROLLED: u8 = 43;
const TRANSACTION_JOINED: u8 = 44;
const STAGED: u8 = 45;
const TRANSACTION_COMMITTED: u8 = 46;
const TRANSACTION_ABORTED: u8 = 47;
const PRODUCER_FORGOTTEN: u8 = 48;
const DECISIONS: u8 = 49;

/// Bytes that the changes of a settlement take at most, its batches not counted.
pub(super) fn weight(settlement: &Settlement) -> usize {
    let checkpoints = settlement.checkpoints.iter().map(|update| {
        64 + update.consumer.as_str().len()
            + update.finished_above.len() * 16
            + update.metadata.len()
    });
    let positions = settlement
        .positions
        .iter()
        .map(|update| 16 + update.source.as_str().len() + update.position.as_bytes().len());
    settlement.appends.len() * 64 + checkpoints.sum::<usize>() + positions.sum::<usize>()
}

pub(super) fn put(out: &mut Vec<u8>, change: &Change) {
    match change {
        Change::TopicCreated(topic) => {
            let settings = topic.config.settings;
            let plain = settings == TopicSettings::DEFAULT;
            out.put_u8(if plain {
                TOPIC_CREATED
            } else {
                TOPIC_CREATED_WITH_SETTINGS
            });
            out.put_slice(topic.id.as_bytes());
            out.put_u8(lifetime_tag(topic.config.lifetime));
            out.put_u32(topic.config.partitions);
            put_bytes(out, topic.name.as_str().as_bytes());
            if !plain {
                put_settings(out, &settings);
            }
        }
        Change::TopicConfigured { id, settings } => {
            out.put_u8(TOPIC_CONFIGURED);
            out.put_slice(id.as_bytes());
            put_settings(out, settings);
        }
        Change::PartitionsAdded { id, partitions } => {
            out.put_u8(PARTITIONS_ADDED);
            out.put_slice(id.as_bytes());
            out.put_u32(*partitions);
        }
        Change::RecordsDeleted { key, before } => {
            out.put_u8(RECORDS_DELETED);
            put_key(out, *key);
            out.put_u64(before.get());
        }
        Change::TopicDeleted(id) => {
            out.put_u8(TOPIC_DELETED);
            out.put_slice(id.as_bytes());
        }
        Change::Cleaned { key, base, end } => {
            out.put_u8(CLEANED);
            put_key(out, *key);
            out.put_u64(base.get());
            out.put_u64(end.get());
        }
        Change::Appended(extent) => put_extent(out, extent),
        Change::Checkpointed {
            consumer,
            key,
            checkpoint,
        } => {
            out.put_u8(CHECKPOINTED);
            put_bytes(out, consumer.as_str().as_bytes());
            put_key(out, *key);
            out.put_u64(checkpoint.next.get());
            out.put_u64(checkpoint.revision);
            out.put_u32(count(checkpoint.finished_above.len()));
            for range in &checkpoint.finished_above {
                out.put_u64(range.start.get());
                out.put_u64(range.end.get());
            }
            put_bytes(out, &checkpoint.metadata);
        }
        Change::ConsumerForgotten(consumer) => {
            out.put_u8(CONSUMER_FORGOTTEN);
            put_bytes(out, consumer.as_str().as_bytes());
        }
        Change::CheckpointForgotten { consumer, key } => {
            out.put_u8(CHECKPOINT_FORGOTTEN);
            put_bytes(out, consumer.as_str().as_bytes());
            put_key(out, *key);
        }
        Change::Positioned { source, position } => {
            out.put_u8(POSITIONED);
            put_bytes(out, source.as_str().as_bytes());
            put_bytes(out, position.as_bytes());
        }
        Change::EpochOpened { owner, epoch } => {
            out.put_u8(EPOCH_OPENED);
            put_bytes(out, owner.as_str().as_bytes());
            out.put_u64(epoch.get());
        }
        Change::ProducerIds { next } => {
            out.put_u8(PRODUCER_IDS);
            out.put_i64(*next);
        }
        Change::Enrolled(enrolled) => {
            out.put_u8(ENROLLED);
            put_bytes(out, enrolled.id.as_str().as_bytes());
            put_identity(out, enrolled.producer);
            let nobody = ProducerIdentity { id: -1, epoch: -1 };
            put_identity(out, enrolled.before.unwrap_or(nobody));
            let timeout = u64::try_from(enrolled.timeout.as_millis());
            out.put_u64(timeout.unwrap_or(u64::MAX));
            out.put_i64(enrolled.at.as_millis());
        }
        Change::TransactionJoined {
            id,
            since,
            partitions,
            consumers,
        } => {
            out.put_u8(TRANSACTION_JOINED);
            put_bytes(out, id.as_str().as_bytes());
            out.put_i64(since.as_millis());
            out.put_u32(count(partitions.len()));
            for key in partitions {
                put_key(out, *key);
            }
            out.put_u32(count(consumers.len()));
            for consumer in consumers {
                put_bytes(out, consumer.as_str().as_bytes());
            }
        }
        Change::Staged { id, staged } => {
            out.put_u8(STAGED);
            put_bytes(out, id.as_str().as_bytes());
            put_bytes(out, staged.consumer.as_str().as_bytes());
            put_key(out, staged.key);
            out.put_u64(staged.next.get());
            put_bytes(out, &staged.metadata);
        }
        Change::TransactionEnded { id, outcome } => {
            out.put_u8(match outcome {
                Outcome::Commit => TRANSACTION_COMMITTED,
                Outcome::Abort => TRANSACTION_ABORTED,
            });
            put_bytes(out, id.as_str().as_bytes());
        }
        Change::ProducerForgotten(id) => {
            out.put_u8(PRODUCER_FORGOTTEN);
            put_bytes(out, id.as_str().as_bytes());
        }
        Change::Decisions { key, open, aborted } => {
            out.put_u8(DECISIONS);
            put_key(out, *key);
            out.put_u32(count(open.len()));
            for (producer, first) in open {
                out.put_i64(*producer);
                out.put_u64(first.get());
            }
            out.put_u32(count(aborted.len()));
            for one in aborted {
                out.put_i64(one.producer_id);
                out.put_u64(one.first.get());
                out.put_u64(one.marker.get());
            }
        }
        Change::Partition {
            key,
            end,
            sequences,
        } => put_partition(out, *key, *end, sequences),
    }
}

fn put_extent(out: &mut Vec<u8>, extent: &Extent) {
    out.put_u8(match extent.part {
        Part::None if extent.producer.is_none() => APPENDED,
        Part::None => APPENDED_BY_PRODUCER,
        Part::Inside => APPENDED_IN_TRANSACTION,
        Part::End(Outcome::Commit) => COMMIT_MARKER,
        Part::End(Outcome::Abort) => ABORT_MARKER,
    });
    put_key(out, extent.key);
    out.put_u64(extent.base.get());
    out.put_u32(extent.offsets);
    out.put_u32(extent.len);
    out.put_i64(extent.max_timestamp.as_millis());
    if let Some(producer) = extent.producer {
        out.put_i64(producer.id);
        out.put_i16(producer.epoch);
        out.put_i32(producer.base_sequence);
    }
}

fn put_partition(out: &mut Vec<u8>, key: PartitionKey, end: Offset, sequences: &Sequences) {
    out.put_u8(PARTITION);
    put_key(out, key);
    out.put_u64(end.get());
    out.put_u32(count(sequences.iter().count()));
    for (id, sent) in sequences.iter() {
        out.put_i64(id);
        out.put_i16(sent.epoch);
        out.put_u32(count(sent.batches.len()));
        for (first, last, base) in &sent.batches {
            out.put_i32(*first);
            out.put_i32(*last);
            out.put_u64(base.get());
        }
    }
}

/// Reads every change in `from`; `None` when the bytes are not changes.
pub(super) fn take_all(mut from: &[u8]) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    while !from.is_empty() {
        changes.push(take(&mut from)?);
    }
    Some(changes)
}

fn take(from: &mut &[u8]) -> Option<Change> {
    Some(match from.try_get_u8().ok()? {
        TOPIC_CREATED => Change::TopicCreated(take_topic(from)?),
        TOPIC_CREATED_WITH_SETTINGS => {
            let mut topic = take_topic(from)?;
            topic.config.settings = take_settings(from)?;
            Change::TopicCreated(topic)
        }
        TOPIC_CONFIGURED => Change::TopicConfigured {
            id: take_uuid(from)?,
            settings: take_settings(from)?,
        },
        PARTITIONS_ADDED => Change::PartitionsAdded {
            id: take_uuid(from)?,
            partitions: from.try_get_u32().ok()?,
        },
        CLEANED => Change::Cleaned {
            key: take_key(from)?,
            base: Offset::new(from.try_get_u64().ok()?),
            end: Offset::new(from.try_get_u64().ok()?),
        },
        RECORDS_DELETED => Change::RecordsDeleted {
            key: take_key(from)?,
            before: Offset::new(from.try_get_u64().ok()?),
        },
        TOPIC_DELETED => Change::TopicDeleted(take_uuid(from)?),
        APPENDED => Change::Appended(take_extent(from)?),
        tag @ (APPENDED_BY_PRODUCER | APPENDED_IN_TRANSACTION | COMMIT_MARKER | ABORT_MARKER) => {
            let extent = take_extent(from)?;
            let producer = Producer {
                id: from.try_get_i64().ok()?,
                epoch: from.try_get_i16().ok()?,
                base_sequence: from.try_get_i32().ok()?,
            };
            Change::Appended(Extent {
                producer: Some(producer),
                part: match tag {
                    APPENDED_IN_TRANSACTION => Part::Inside,
                    COMMIT_MARKER => Part::End(Outcome::Commit),
                    ABORT_MARKER => Part::End(Outcome::Abort),
                    _ => Part::None,
                },
                ..extent
            })
        }
        CHECKPOINTED => Change::Checkpointed {
            consumer: ConsumerId::new(take_text(from)?),
            key: take_key(from)?,
            checkpoint: take_checkpoint(from)?,
        },
        CONSUMER_FORGOTTEN => Change::ConsumerForgotten(ConsumerId::new(take_text(from)?)),
        CHECKPOINT_FORGOTTEN => Change::CheckpointForgotten {
            consumer: ConsumerId::new(take_text(from)?),
            key: take_key(from)?,
        },
        POSITIONED => Change::Positioned {
            source: SourceId::new(take_text(from)?),
            position: SourcePosition::new(Bytes::copy_from_slice(take_bytes(from)?)),
        },
        EPOCH_OPENED => Change::EpochOpened {
            owner: OwnerId::new(take_text(from)?),
            epoch: Epoch::new(from.try_get_u64().ok()?),
        },
        PRODUCER_IDS => Change::ProducerIds {
            next: from.try_get_i64().ok()?,
        },
        ENROLLED => {
            let id = TransactionalId::new(take_text(from)?);
            let producer = take_identity(from)?;
            let before = take_identity(from)?;
            Change::Enrolled(Enrolled {
                id,
                producer,
                before: (before.id >= 0).then_some(before),
                timeout: Duration::from_millis(from.try_get_u64().ok()?),
                at: Timestamp::from_millis(from.try_get_i64().ok()?),
            })
        }
        TRANSACTION_JOINED => take_joined(from)?,
        STAGED => Change::Staged {
            id: TransactionalId::new(take_text(from)?),
            staged: Staged {
                consumer: ConsumerId::new(take_text(from)?),
                key: take_key(from)?,
                next: Offset::new(from.try_get_u64().ok()?),
                metadata: Bytes::copy_from_slice(take_bytes(from)?),
            },
        },
        TRANSACTION_COMMITTED => Change::TransactionEnded {
            id: TransactionalId::new(take_text(from)?),
            outcome: Outcome::Commit,
        },
        TRANSACTION_ABORTED => Change::TransactionEnded {
            id: TransactionalId::new(take_text(from)?),
            outcome: Outcome::Abort,
        },
        PRODUCER_FORGOTTEN => Change::ProducerForgotten(TransactionalId::new(take_text(from)?)),
        DECISIONS => take_decisions(from)?,
        PARTITION => Change::Partition {
            key: take_key(from)?,
            end: Offset::new(from.try_get_u64().ok()?),
            sequences: take_sequences(from)?,
        },
        _ => return None,
    })
}

fn take_topic(from: &mut &[u8]) -> Option<Topic> {
    let id = take_uuid(from)?;
    let lifetime = lifetime_of(from.try_get_u8().ok()?)?;
    let config = TopicConfig::new(from.try_get_u32().ok()?, lifetime);
    let name = TopicName::new(take_text(from)?).ok()?;
    Some(Topic { name, id, config })
}

/// As JSON, so that a setting can be added: they are written a few times in a topic's life.
fn put_settings(out: &mut Vec<u8>, settings: &TopicSettings) {
    let json = serde_json::to_vec(settings).expect("settings are plain numbers and names");
    put_bytes(out, &json);
}

fn take_settings(from: &mut &[u8]) -> Option<TopicSettings> {
    serde_json::from_slice(take_bytes(from)?).ok()
}

fn take_joined(from: &mut &[u8]) -> Option<Change> {
    let id = TransactionalId::new(take_text(from)?);
    let since = Timestamp::from_millis(from.try_get_i64().ok()?);
    let mut partitions = Vec::new();
    for _ in 0..from.try_get_u32().ok()? {
        partitions.push(take_key(from)?);
    }
    let mut consumers = Vec::new();
    for _ in 0..from.try_get_u32().ok()? {
        consumers.push(ConsumerId::new(take_text(from)?));
    }
    Some(Change::TransactionJoined {
        id,
        since,
        partitions,
        consumers,
    })
}

fn take_decisions(from: &mut &[u8]) -> Option<Change> {
    let key = take_key(from)?;
    let mut open = Vec::new();
    for _ in 0..from.try_get_u32().ok()? {
        let producer = from.try_get_i64().ok()?;
        open.push((producer, Offset::new(from.try_get_u64().ok()?)));
    }
    let mut aborted = Vec::new();
    for _ in 0..from.try_get_u32().ok()? {
        aborted.push(Aborted {
            producer_id: from.try_get_i64().ok()?,
            first: Offset::new(from.try_get_u64().ok()?),
            marker: Offset::new(from.try_get_u64().ok()?),
        });
    }
    Some(Change::Decisions { key, open, aborted })
}

fn put_identity(out: &mut Vec<u8>, producer: ProducerIdentity) {
    out.put_i64(producer.id);
    out.put_i16(producer.epoch);
}

fn take_identity(from: &mut &[u8]) -> Option<ProducerIdentity> {
    Some(ProducerIdentity {
        id: from.try_get_i64().ok()?,
        epoch: from.try_get_i16().ok()?,
    })
}

fn take_extent(from: &mut &[u8]) -> Option<Extent> {
    Some(Extent {
        key: take_key(from)?,
        base: Offset::new(from.try_get_u64().ok()?),
        offsets: from.try_get_u32().ok()?,
        len: from.try_get_u32().ok()?,
        max_timestamp: Timestamp::from_millis(from.try_get_i64().ok()?),
        producer: None,
        part: Part::None,
    })
}

fn take_checkpoint(from: &mut &[u8]) -> Option<Checkpoint> {
    let next = Offset::new(from.try_get_u64().ok()?);
    let revision = from.try_get_u64().ok()?;
    let mut finished_above = Vec::new();
    for _ in 0..from.try_get_u32().ok()? {
        let start = Offset::new(from.try_get_u64().ok()?);
        finished_above.push(start..Offset::new(from.try_get_u64().ok()?));
    }
    Some(Checkpoint {
        next,
        finished_above,
        metadata: Bytes::copy_from_slice(take_bytes(from)?),
        revision,
    })
}

fn take_sequences(from: &mut &[u8]) -> Option<Sequences> {
    let mut sequences = Sequences::default();
    for _ in 0..from.try_get_u32().ok()? {
        let id = from.try_get_i64().ok()?;
        let epoch = from.try_get_i16().ok()?;
        let mut batches = VecDeque::new();
        for _ in 0..from.try_get_u32().ok()? {
            let first = from.try_get_i32().ok()?;
            let last = from.try_get_i32().ok()?;
            batches.push_back((first, last, Offset::new(from.try_get_u64().ok()?)));
        }
        sequences.insert(id, Sent { epoch, batches });
    }
    Some(sequences)
}

fn lifetime_tag(lifetime: Lifetime) -> u8 {
    match lifetime {
        Lifetime::Events => 0,
        Lifetime::LongLived => 1,
    }
}

fn lifetime_of(tag: u8) -> Option<Lifetime> {
    match tag {
        0 => Some(Lifetime::Events),
        1 => Some(Lifetime::LongLived),
        _ => None,
    }
}

fn put_key(out: &mut Vec<u8>, key: PartitionKey) {
    out.put_slice(key.topic.as_bytes());
    out.put_u32(key.partition.index());
}

fn take_key(from: &mut &[u8]) -> Option<PartitionKey> {
    Some(PartitionKey {
        topic: take_uuid(from)?,
        partition: Partition::new(from.try_get_u32().ok()?),
    })
}

fn take_uuid(from: &mut &[u8]) -> Option<Uuid> {
    let (id, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(Uuid::from_bytes(*id))
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(count(bytes.len()));
    out.put_slice(bytes);
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(from.try_get_u32().ok()?).ok()?;
    from.split_off(..len)
}

fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(from)?).ok()
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a settlement is held far below 4 GiB")
}

#[cfg(test)]
mod tests;
