//! DescribeTopicPartitions: topics in pages, for clusters that do not fit one answer.

use event_log::{Topic, TopicName};
use kafka_protocol::messages::describe_topic_partitions_request::Cursor as From;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    self, BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::broker::{Broker, NODE};
use crate::error_code::Refusal;
use crate::topics::LEADER_EPOCH;

/// The most partitions in one answer, whatever is asked (Kafka's
/// `max.request.partition.size.limit`).
const MAX_PARTITIONS: usize = 2_000;

/// Describes the topics asked for, by name, from the cursor on; all of them when none is named.
pub(crate) fn describe(
    broker: &Broker,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut room = limit.clamp(1, MAX_PARTITIONS);
    let mut names: Vec<String> = if request.topics.is_empty() {
        let topics = broker.topics().into_iter();
        topics.map(|topic| topic.name.as_str().to_owned()).collect()
    } else {
        let topics = request.topics.iter();
        topics.map(|topic| topic.name.to_string()).collect()
    };
    names.sort_unstable();
    names.dedup();
    if let Some(From { topic_name, .. }) = &request.cursor {
        names.retain(|name| name.as_str() >= topic_name.as_str());
    }
    let mut topics = Vec::new();
    let mut next = None;
    for name in names {
        let first = match &request.cursor {
            Some(from) if from.topic_name.as_str() == name => from.partition_index.max(0),
            _ => 0,
        };
        if room == 0 {
            next = Some(cursor(&name, first));
            break;
        }
        match found(broker, &name) {
            Err(refusal) => topics.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_error_code(refusal.code())
                    .with_name(Some(wire_name(&name))),
            ),
            Ok(topic) => {
                let first = usize::try_from(first).unwrap_or(0);
                let partitions = partitions(&topic, first, room);
                room -= partitions.len();
                let reached = first + partitions.len();
                topics.push(
                    DescribeTopicPartitionsResponseTopic::default()
                        .with_name(Some(wire_name(&name)))
                        .with_topic_id(topic.id)
                        .with_partitions(partitions),
                );
                if reached < topic.config.partitions as usize {
                    next = Some(cursor(&name, i32::try_from(reached).unwrap_or(i32::MAX)));
                    break;
                }
            }
        }
    }
    DescribeTopicPartitionsResponse::default()
        .with_topics(topics)
        .with_next_cursor(next)
}

fn found(broker: &Broker, name: &str) -> Result<Topic, Refusal> {
    let topic = broker.topic(&TopicName::new(name)?);
    topic.ok_or_else(|| Refusal::unknown(name))
}

fn partitions(
    topic: &Topic,
    first: usize,
    room: usize,
) -> Vec<DescribeTopicPartitionsResponsePartition> {
    let here = || vec![BrokerId(NODE)];
    let places = topic.partitions().skip(first).take(room);
    let described = places.map(|place| {
        let index = i32::try_from(place.partition.index()).unwrap_or(i32::MAX);
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(here())
            .with_isr_nodes(here())
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    described.collect()
}

fn cursor(topic: &str, partition: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(wire_name(topic))
        .with_partition_index(partition)
}

fn wire_name(name: &str) -> messages::TopicName {
    messages::TopicName(StrBytes::from_string(name.to_owned()))
}
