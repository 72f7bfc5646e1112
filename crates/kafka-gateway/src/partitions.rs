//! CreatePartitions and DeleteRecords: what is done to the partitions of a topic.

use std::collections::HashSet;

use event_log::{Offset, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, DeleteRecordsRequest,
    DeleteRecordsResponse,
};

use crate::broker::{Broker, NODE};
use crate::error_code::Refusal;
use crate::topics;

/// What stands for the end of a partition in place of an offset.
const END: i64 = -1;
/// What stands for "none" in an answer.
const NONE: i64 = -1;

/// Gives topics more partitions, each with its own outcome.
pub(crate) async fn create(
    broker: &Broker,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut seen = HashSet::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let outcome = if seen.insert(topic.name.clone()) {
            create_one(broker, &topic, request.validate_only).await
        } else {
            Err(Refusal::new(
                ResponseError::InvalidRequest,
                "the request names the topic twice",
            ))
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        results.push(match outcome {
            Ok(()) => result,
            Err(refusal) => result
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.message())),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn create_one(
    broker: &Broker,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let name = TopicName::new(asked.name.as_str())?;
    let topic = broker.topic(&name);
    let topic = topic.ok_or_else(|| Refusal::unknown(name.as_str()))?;
    if broker.config.protects(name.as_str()) {
        return Err(Refusal::protected(name.as_str()));
    }
    let (count, now) = (topics::in_limit(asked.count)?, topic.config.partitions);
    if count <= now {
        return Err(Refusal::new(
            ResponseError::InvalidPartitions,
            format!("topic {name} has {now} partitions and can only be given more, not {count}"),
        ));
    }
    if let Some(assignments) = &asked.assignments {
        let here = |brokers: &[BrokerId]| matches!(brokers, [broker] if broker.0 == NODE);
        if assignments.len() != (count - now) as usize
            || !assignments.iter().all(|new| here(&new.broker_ids))
        {
            return Err(Refusal::new(
                ResponseError::InvalidReplicaAssignment,
                format!("every new partition has one replica, on broker {NODE}"),
            ));
        }
    }
    topics::check_room(broker, count - now)?;
    if validate_only {
        return Ok(());
    }
    broker.log.add_partitions(&name, count).await?;
    tracing::info!(topic = %name, partitions = count, "topic given partitions");
    Ok(())
}

/// Deletes the oldest records of partitions, each with its own outcome.
pub(crate) async fn delete_records(
    broker: &Broker,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let result =
                DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
            let deleted = delete_before(broker, &topic.name, &asked).await;
            partitions.push(match deleted {
                Ok(start) => result.with_low_watermark(start.get().cast_signed()),
                Err(refusal) => result
                    .with_low_watermark(NONE)
                    .with_error_code(refusal.code()),
            });
        }
        let result = DeleteRecordsTopicResult::default().with_name(topic.name);
        topics.push(result.with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

async fn delete_before(
    broker: &Broker,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<Offset, Refusal> {
    let name = TopicName::new(topic)?;
    let place = topics::partition(broker, &name, asked.partition_index)?;
    let bounds = broker.log.bounds(&place)?;
    if broker.config.protects(name.as_str()) {
        return Err(Refusal::protected(name.as_str()));
    }
    let cleanup = broker
        .topic(&name)
        .map(|topic| topic.config.settings.cleanup);
    if cleanup.is_some_and(|cleanup| !cleanup.deletes()) {
        return Err(Refusal::new(
            ResponseError::PolicyViolation,
            format!("records of {name} are not deleted but compacted"),
        ));
    }
    let before = match asked.offset {
        END => bounds.end,
        offset => u64::try_from(offset).map(Offset::new).map_err(|_| {
            Refusal::new(
                ResponseError::OffsetOutOfRange,
                format!("offset {offset} is negative"),
            )
        })?,
    };
    let start = broker.log.delete_records(&place, before).await?;
    tracing::info!(partition = %place, %start, "records deleted");
    Ok(start)
}
