//! ListOffsets and OffsetForLeaderEpoch: where a partition begins, ends, and was at a time.

use std::collections::HashSet;

use clock::Timestamp;
use event_log::{Isolation, Offset, TopicName, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ListOffsetsRequest, ListOffsetsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};

use crate::broker::Broker;
use crate::error_code::Refusal;
use crate::fetch;
use crate::topics::{self, LEADER_EPOCH};

/// Kafka's numbers in place of a time.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// What stands for "none" in an answer.
const NONE: i64 = -1;

/// An offset and the time of its record, where a time was asked for.
type Found = (i64, i64);

/// Finds an offset in each partition asked for.
pub(crate) async fn list(
    broker: &Broker,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let isolation = fetch::isolation(request.isolation_level);
    let mut seen = HashSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let found = if seen.insert((topic.name.clone(), asked.partition_index)) {
                list_one(broker, &topic.name, &asked, isolation).await
            } else {
                Err(Refusal::new(
                    ResponseError::InvalidRequest,
                    "the request names the partition twice",
                ))
            };
            let mut response =
                ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
            match found {
                Ok((offset, timestamp)) => {
                    response.offset = offset;
                    response.timestamp = timestamp;
                    if version >= 4 {
                        response.leader_epoch = LEADER_EPOCH;
                    }
                }
                Err(refusal) => response.error_code = refusal.code(),
            }
            partitions.push(response);
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// Says where the only leader epoch ends: at the end of the partition.
pub(crate) fn for_leader_epoch(
    broker: &Broker,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|asked| {
            let response = EpochEndOffset::default().with_partition(asked.partition);
            match epoch_end(broker, &topic.topic, &asked) {
                Ok((epoch, end)) => response.with_leader_epoch(epoch).with_end_offset(end),
                Err(refusal) => response.with_error_code(refusal.code()),
            }
        });
        OffsetForLeaderTopicResult::default()
            .with_partitions(partitions.collect())
            .with_topic(topic.topic)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn epoch_end(
    broker: &Broker,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), Refusal> {
    let place = topics::partition(broker, &TopicName::new(topic)?, asked.partition)?;
    let bounds = broker.stored.stored_bounds(&place)?;
    topics::check_leader_epoch(asked.current_leader_epoch)?;
    if asked.leader_epoch == LEADER_EPOCH {
        Ok((LEADER_EPOCH, bounds.end.get().cast_signed()))
    } else {
        Ok((-1, NONE))
    }
}

async fn list_one(
    broker: &Broker,
    topic: &str,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<Found, Refusal> {
    let place = topics::partition(broker, &TopicName::new(topic)?, asked.partition_index)?;
    let bounds = match isolation {
        Isolation::Uncommitted => broker.stored.stored_bounds(&place)?,
        Isolation::Committed => broker.log.bounds(&place)?,
    };
    topics::check_leader_epoch(asked.current_leader_epoch)?;
    match asked.timestamp {
        LATEST => Ok((bounds.end.get().cast_signed(), NONE)),
        EARLIEST => Ok((bounds.start.get().cast_signed(), NONE)),
        MAX_TIMESTAMP => latest_record(broker, &place).await,
        time if time >= 0 => {
            let found = first_not_older(broker, &place, Timestamp::from_millis(time)).await?;
            Ok(found.map_or((NONE, NONE), as_found))
        }
        other => Err(Refusal::new(
            ResponseError::InvalidRequest,
            format!("no offset is known by the name of {other}"),
        )),
    }
}

fn as_found((offset, time): (Offset, Timestamp)) -> Found {
    (offset.get().cast_signed(), time.as_millis())
}

/// The first record that is not older than `time`: the log knows the batch, which is opened to find
/// the record in it.
async fn first_not_older(
    broker: &Broker,
    place: &TopicPartition,
    time: Timestamp,
) -> Result<Option<(Offset, Timestamp)>, Refusal> {
    // Batches are opened to find a time; others have their turn in between.
    tokio::task::yield_now().await;
    let Some(found) = broker.log.offset_at(place, time).await? else {
        return Ok(None);
    };
    let stored = broker
        .stored
        .read_stored(place, found.0, 1, Isolation::Uncommitted);
    let stored = stored.await?;
    let Some(batch) = stored.batches.first() else {
        return Ok(Some(found));
    };
    let records = batch.records()?;
    let exact = records
        .iter()
        .find(|stored| stored.record.timestamp >= time)
        .map(|stored| (stored.offset, stored.record.timestamp));
    Ok(Some(exact.unwrap_or(found)))
}

/// The first record with the latest time of all, found by halving: records need not be in the
/// order of their times.
async fn latest_record(broker: &Broker, place: &TopicPartition) -> Result<Found, Refusal> {
    let mut latest = None;
    let (mut low, mut high) = (0i64, i64::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_not_older(broker, place, Timestamp::from_millis(middle)).await? {
            Some(found) => {
                low = found.1.as_millis().max(middle).saturating_add(1);
                latest = Some(found);
            }
            None => high = middle,
        }
    }
    Ok(latest.map_or((NONE, NONE), as_found))
}
