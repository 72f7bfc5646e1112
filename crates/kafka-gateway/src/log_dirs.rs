//! DescribeLogDirs: how much partitions take. Where the log keeps them is not known here: all of it
//! goes by one name.

use event_log::{Partition, TopicName};
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{self, DescribeLogDirsRequest, DescribeLogDirsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::asked;
use crate::broker::Broker;

/// The name of the log as a whole.
const LOG: &str = "tidemill";

/// Says what the partitions asked for take, or all of them. What does not exist is left out, as a
/// Kafka broker does.
pub(crate) fn describe(
    broker: &Broker,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let topics: Vec<DescribeLogDirsTopic> = match request.topics {
        None => {
            let topics = broker.topics().into_iter();
            let topics = topics.map(|topic| {
                let all = 0..topic.config.partitions;
                described(broker, &topic.name, all.collect())
            });
            topics.collect()
        }
        Some(topics) => {
            let topics = asked::once_by(topics, |topic| topic.topic.clone()).into_iter();
            let topics = topics.filter_map(|topic| {
                let name = TopicName::new(topic.topic.as_str()).ok()?;
                broker.topic(&name)?;
                let indexes = asked::once(topic.partitions).into_iter();
                let indexes = indexes.filter_map(|index| u32::try_from(index).ok());
                Some(described(broker, &name, indexes.collect()))
            });
            topics.collect()
        }
    };
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_static_str(LOG))
        .with_topics(topics);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn described(broker: &Broker, topic: &TopicName, indexes: Vec<u32>) -> DescribeLogDirsTopic {
    let partitions = indexes.into_iter().filter_map(|index| {
        let place = topic.partition(Partition::new(index));
        let bytes = broker.stored.stored_bytes(&place).ok()?;
        Some(
            DescribeLogDirsPartition::default()
                .with_partition_index(i32::try_from(index).unwrap_or(i32::MAX))
                .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX)),
        )
    });
    DescribeLogDirsTopic::default()
        .with_name(messages::TopicName(StrBytes::from_string(
            topic.as_str().to_owned(),
        )))
        .with_partitions(partitions.collect())
}
