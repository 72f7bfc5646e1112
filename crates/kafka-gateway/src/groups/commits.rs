//! OffsetCommit and OffsetFetch: checkpoints of the log under Kafka's names.

use std::collections::BTreeMap;

use event_log::{
    Checkpoint, CheckpointUpdate, ConsumerId, Offset, Rule, Settlement, TopicName, TopicPartition,
};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    self, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::member::Caller;
use super::note::Note;
use crate::asked;
use crate::broker::Broker;
use crate::error_code::Refusal;
use crate::topics::{self, LEADER_EPOCH};

/// The longest note that a commit may carry, in bytes (Kafka's `offset.metadata.max.bytes`).
pub(super) const MAX_METADATA: usize = 4_096;

/// From this version of OffsetFetch on an offset comes with the leader epoch of its record: there is
/// one only.
const LEADER_EPOCHS: i16 = 5;

/// Commits offsets. Those that can be are written as one settlement and are durable on return.
pub(super) async fn commit(broker: &Broker, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let allowed = may_commit(broker, &request);
    let consumer = super::consumer(&request.group_id);
    let mut updates = Vec::new();
    let mut outcomes = Vec::new();
    for topic in request.topics {
        let mut codes = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let update = match &allowed {
                Ok(()) => update(broker, &consumer, &topic, asked),
                Err(refusal) => Err(refusal.clone()),
            };
            codes.push((
                asked.partition_index,
                update.as_ref().err().map(Refusal::code),
            ));
            updates.extend(update);
        }
        outcomes.push((topic.name, codes));
    }
    let written = if updates.is_empty() {
        0
    } else {
        let settlement = Settlement {
            checkpoints: updates,
            ..Settlement::default()
        };
        let settled = broker.log.commit(settlement).await;
        settled.err().map_or(0, |error| Refusal::from(error).code())
    };
    let topics = outcomes.into_iter().map(|(name, codes)| {
        let partitions = codes.into_iter().map(|(index, refused)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(refused.unwrap_or(written))
        });
        OffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// Says what was committed; -1 where nothing was.
pub(super) fn fetch(
    broker: &Broker,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let stability = if request.require_stable {
        Stability::Required
    } else {
        Stability::Waived
    };
    if version >= 8 {
        let groups = asked::once_by(request.groups, |group| group.group_id.clone());
        let groups = groups.into_iter().map(|asked| {
            if let Err(refusal) = may_fetch(broker, &asked) {
                return OffsetFetchResponseGroup::default()
                    .with_group_id(asked.group_id)
                    .with_error_code(refusal.code());
            }
            let wanted = asked.topics.map(|topics| {
                let topics = topics.into_iter();
                topics.map(|t| (t.name, t.partition_indexes)).collect()
            });
            let topics = committed(broker, &asked.group_id, wanted, stability);
            let topics = topics.into_iter().map(|(name, partitions)| {
                OffsetFetchResponseTopics::default()
                    .with_name(name)
                    .with_partitions(partitions.into_iter().map(grouped).collect())
            });
            OffsetFetchResponseGroup::default()
                .with_topics(topics.collect())
                .with_group_id(asked.group_id)
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let wanted = request.topics.map(|topics| {
        let topics = topics.into_iter();
        topics.map(|t| (t.name, t.partition_indexes)).collect()
    });
    let topics = committed(broker, &request.group_id, wanted, stability);
    let topics = topics.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter();
        OffsetFetchResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.map(|it| single(it, version)).collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

/// The partitions asked for, by topic.
type Wanted = Vec<(messages::TopicName, Vec<i32>)>;

/// One partition's checkpoint, if it has one.
type Committed = (i32, Result<Option<Checkpoint>, Refusal>);

/// Whether a checkpoint may be told that an open transaction is about to move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stability {
    Required,
    Waived,
}

fn may_commit(broker: &Broker, request: &OffsetCommitRequest) -> Result<(), Refusal> {
    super::check_id(&request.group_id)?;
    if request.retention_time_ms >= 0 {
        return Err(Refusal::new(
            ResponseError::InvalidRequest,
            "retention of single commits is not supported",
        ));
    }
    let caller = Caller {
        member: request.member_id.to_string(),
        instance: request
            .group_instance_id
            .as_ref()
            .map(|name| name.to_string()),
        generation: request.generation_id_or_member_epoch,
    };
    broker
        .groups
        .may_commit(&request.group_id, &caller)
        .map_err(|code| Refusal::new(code, "the committer is not a member of this generation"))
}

/// A member of the consumer protocol says who it is, so that it learns of its end; anybody else may
/// read what is committed.
fn may_fetch(broker: &Broker, asked: &OffsetFetchRequestGroup) -> Result<(), Refusal> {
    let Some(member) = asked.member_id.as_ref().filter(|_| asked.member_epoch >= 0) else {
        return Ok(());
    };
    let caller = Caller {
        member: member.to_string(),
        instance: None,
        generation: asked.member_epoch,
    };
    let may = broker.groups.may_fetch(&asked.group_id, &caller);
    may.map_err(|code| Refusal::new(code, "the reader is not a member of this epoch"))
}

fn update(
    broker: &Broker,
    consumer: &ConsumerId,
    topic: &OffsetCommitRequestTopic,
    asked: &OffsetCommitRequestPartition,
) -> Result<CheckpointUpdate, Refusal> {
    let name = TopicName::new(topic.name.as_str())?;
    let partition = topics::partition(broker, &name, asked.partition_index)?;
    broker.log.bounds(&partition)?;
    let next = u64::try_from(asked.committed_offset).map_err(|_| {
        Refusal::new(
            ResponseError::InvalidRequest,
            format!("offset {} is negative", asked.committed_offset),
        )
    })?;
    let metadata = asked.committed_metadata.as_ref();
    let words = metadata.map_or("", |words| words.as_str());
    if words.len() > MAX_METADATA {
        return Err(Refusal::new(
            ResponseError::OffsetMetadataTooLarge,
            format!("a commit's metadata has at most {MAX_METADATA} bytes"),
        ));
    }
    Ok(CheckpointUpdate {
        consumer: consumer.clone(),
        partition,
        next: Offset::new(next),
        finished_above: Vec::new(),
        metadata: Note::stamped(words.as_bytes(), broker.config.clock.now()).encode(),
        rule: Rule::Reset,
    })
}

/// The checkpoints of a group: those wanted, or all there are.
fn committed(
    broker: &Broker,
    group: &str,
    wanted: Option<Wanted>,
    stability: Stability,
) -> Vec<(messages::TopicName, Vec<Committed>)> {
    let consumer = super::consumer(group);
    let stable = |place: &TopicPartition, checkpoint| match stability {
        Stability::Required if broker.stored.is_staged(&consumer, place) => Err(Refusal::new(
            ResponseError::UnstableOffsetCommit,
            format!("a transaction has staged an offset on {place}"),
        )),
        Stability::Required | Stability::Waived => Ok(checkpoint),
    };
    let Some(wanted) = wanted else {
        let mut topics = BTreeMap::<TopicName, Vec<Committed>>::new();
        for (place, checkpoint) in broker.log.checkpoints(&consumer) {
            let index = i32::try_from(place.partition.index()).unwrap_or(i32::MAX);
            let checkpoint = stable(&place, Some(checkpoint));
            let topic = topics.entry(place.topic).or_default();
            topic.push((index, checkpoint));
        }
        let topics = topics.into_iter();
        return topics
            .map(|(name, found)| (wire_name(&name), found))
            .collect();
    };
    let wanted = wanted.into_iter().map(|(name, indexes)| {
        let topic = TopicName::new(name.as_str()).ok();
        let found = indexes.into_iter().map(|index| {
            let place: Option<TopicPartition> = topic
                .as_ref()
                .and_then(|topic| topics::partition(broker, topic, index).ok());
            let checkpoint = place.map_or(Ok(None), |place| {
                stable(&place, broker.log.checkpoint(&consumer, &place))
            });
            (index, checkpoint)
        });
        (name, found.collect())
    });
    wanted.collect()
}

fn single((index, checkpoint): Committed, version: i16) -> OffsetFetchResponsePartition {
    let (offset, metadata, code) = on_the_wire(checkpoint);
    let response = OffsetFetchResponsePartition::default();
    let response = if version >= LEADER_EPOCHS && offset >= 0 {
        response.with_committed_leader_epoch(LEADER_EPOCH)
    } else {
        response
    };
    response
        .with_error_code(code)
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_metadata(Some(metadata))
}

fn grouped((index, checkpoint): Committed) -> OffsetFetchResponsePartitions {
    let (offset, metadata, code) = on_the_wire(checkpoint);
    let epoch = if offset >= 0 { LEADER_EPOCH } else { -1 };
    OffsetFetchResponsePartitions::default()
        .with_error_code(code)
        .with_committed_leader_epoch(epoch)
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_metadata(Some(metadata))
}

fn on_the_wire(checkpoint: Result<Option<Checkpoint>, Refusal>) -> (i64, StrBytes, i16) {
    match checkpoint {
        Ok(None) => (-1, StrBytes::new(), 0),
        Ok(Some(checkpoint)) => {
            let words = Note::decode(checkpoint.metadata).words;
            let metadata = StrBytes::from_utf8(words).unwrap_or_default();
            (checkpoint.next.get().cast_signed(), metadata, 0)
        }
        Err(refusal) => (-1, StrBytes::new(), refusal.code()),
    }
}

fn wire_name(topic: &TopicName) -> messages::TopicName {
    messages::TopicName(StrBytes::from_string(topic.as_str().to_owned()))
}
