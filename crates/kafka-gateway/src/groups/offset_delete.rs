//! OffsetDelete: single offsets of a group go, those of topics that no member reads.

use std::collections::HashSet;

use event_log::{TopicName, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::coordinator::Reading;
use crate::broker::Broker;
use crate::error_code::Refusal;
use crate::topics;

/// Forgets the offsets that can be, together and durably.
pub(super) async fn delete(broker: &Broker, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    match delete_some(broker, request).await {
        Ok(topics) => OffsetDeleteResponse::default().with_topics(topics),
        Err(refusal) => OffsetDeleteResponse::default().with_error_code(refusal.code()),
    }
}

async fn delete_some(
    broker: &Broker,
    request: OffsetDeleteRequest,
) -> Result<Vec<OffsetDeleteResponseTopic>, Refusal> {
    let group = request.group_id.as_str();
    super::check_id(group)?;
    let consumer = super::consumer(group);
    let committed = broker.log.checkpoints(&consumer);
    let reading = broker.groups.reading(broker, group);
    if committed.is_empty() && reading == Reading::Nothing {
        return Err(Refusal::new(
            ResponseError::GroupIdNotFound,
            format!("group {group} does not exist"),
        ));
    }
    if reading == Reading::Unknown {
        return Err(Refusal::new(
            ResponseError::NonEmptyGroup,
            format!("group {group} has members, and what they read is not known"),
        ));
    }
    let mut wanted = HashSet::new();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let index = asked.partition_index;
            let place = place(broker, &topic.name, index, &reading);
            let code = place.as_ref().err().map_or(0, Refusal::code);
            wanted.extend(place);
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code)
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    let topics = topics.collect();
    // What is committed from now on stays.
    let revisions = committed.into_iter();
    let revisions = revisions.filter(|(place, _)| wanted.contains(place));
    let revisions: Vec<_> = revisions
        .map(|(place, checkpoint)| (place, checkpoint.revision))
        .collect();
    let stored = &broker.stored;
    stored.forget_checkpoints(&consumer, revisions).await?;
    Ok(topics)
}

/// A partition of which the group may forget where it is.
fn place(
    broker: &Broker,
    topic: &str,
    index: i32,
    reading: &Reading,
) -> Result<TopicPartition, Refusal> {
    let name = TopicName::new(topic)?;
    let place = topics::partition(broker, &name, index)?;
    broker.log.bounds(&place)?;
    if let Reading::Topics(topics) = reading
        && topics.contains(topic)
    {
        return Err(Refusal::new(
            ResponseError::GroupSubscribedToTopic,
            format!("members of the group read {topic}"),
        ));
    }
    Ok(place)
}
