//! TxnOffsetCommit: offsets that become checkpoints if their producer's transaction commits.

use event_log::{Offset, StagedOffset, TopicName, TransactionStep, TransactionalId};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::commits::MAX_METADATA;
use super::member::Caller;
use super::note::Note;
use crate::broker::Broker;
use crate::error_code::Refusal;
use crate::{topics, transactions};

/// Stages offsets. Those that can be are durable on return.
pub(crate) async fn stage(
    broker: &Broker,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let allowed = may_stage(broker, &request);
    let mut staged = Vec::new();
    let mut outcomes = Vec::new();
    for topic in request.topics {
        let mut codes = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let index = asked.partition_index;
            let offset = allowed
                .clone()
                .and_then(|()| stage_one(broker, &topic.name, asked));
            codes.push((index, offset.as_ref().err().map(Refusal::code)));
            staged.extend(offset);
        }
        outcomes.push((topic.name, codes));
    }
    let written = if staged.is_empty() {
        0
    } else {
        let id = TransactionalId::new(request.transactional_id.as_str());
        let step = TransactionStep::Stage {
            by: transactions::identity(request.producer_id, request.producer_epoch),
            consumer: super::consumer(&request.group_id),
            offsets: staged,
        };
        let taken = broker.stored.transact(&id, step).await;
        // A group's coordinator knows epochs alone.
        let refusal = taken
            .err()
            .map(|error| Refusal::from(error).fenced_since(1, 0));
        refusal.map_or(0, |refusal| refusal.code())
    };
    let topics = outcomes.into_iter().map(|(name, codes)| {
        let partitions = codes.into_iter().map(|(index, refused)| {
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(refused.unwrap_or(written))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions.collect())
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// A producer that says for which member it commits is checked like that member; one that does not
/// is fenced by its own epoch.
fn may_stage(broker: &Broker, request: &TxnOffsetCommitRequest) -> Result<(), Refusal> {
    super::check_id(&request.group_id)?;
    let caller = Caller {
        member: request.member_id.to_string(),
        instance: request
            .group_instance_id
            .as_ref()
            .map(|name| name.to_string()),
        generation: request.generation_id,
    };
    if caller.generation < 0 && caller.member.is_empty() && caller.instance.is_none() {
        return Ok(());
    }
    broker
        .groups
        .may_commit(&request.group_id, &caller)
        .map_err(|code| Refusal::new(code, "the committer is not a member of this generation"))
}

fn stage_one(
    broker: &Broker,
    topic: &str,
    asked: TxnOffsetCommitRequestPartition,
) -> Result<StagedOffset, Refusal> {
    let partition = topics::partition(broker, &TopicName::new(topic)?, asked.partition_index)?;
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
    Ok(StagedOffset {
        partition,
        next: Offset::new(next),
        metadata: Note::stamped(words.as_bytes(), broker.config.clock.now()).encode(),
    })
}
