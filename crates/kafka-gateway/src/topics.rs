//! Topics: finding, creating and deleting them.

use std::collections::HashSet;

use event_log::{Lifetime, Partition, Topic, TopicConfig, TopicName, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    self, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::Replication;
use crate::broker::{Broker, NODE};
use crate::configs;
use crate::error_code::Refusal;
use crate::topic_settings::{self, Described};

/// The most partitions a client can ask for: each costs memory for as long as the topic exists.
const MAX_PARTITIONS: u32 = 10_000;
/// The most partitions of all topics together for which clients can ask.
const MAX_PARTITIONS_IN_ALL: u64 = 200_000;
/// There is one leader for the life of a partition.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// The place that a request names by topic and index, unless it is hidden. Whether it exists the log
/// says.
pub(crate) fn partition(
    broker: &Broker,
    topic: &TopicName,
    index: i32,
) -> Result<TopicPartition, Refusal> {
    if broker.config.hides(topic.as_str()) {
        return Err(Refusal::unknown(topic.as_str()));
    }
    let index = u32::try_from(index).map_err(|_| Refusal::unknown(topic.as_str()))?;
    Ok(topic.partition(Partition::new(index)))
}

/// Refuses a client that has heard of a leader which never was.
pub(crate) fn check_leader_epoch(known_to_client: i32) -> Result<(), Refusal> {
    if known_to_client > LEADER_EPOCH {
        return Err(Refusal::new(
            ResponseError::UnknownLeaderEpoch,
            format!("leader epoch {known_to_client} never was, {LEADER_EPOCH} is the only one"),
        ));
    }
    Ok(())
}

/// Finds a topic, or creates it with the default number of partitions. Topics of ours are not
/// created for a client.
pub(crate) async fn find_or_create(broker: &Broker, name: &str) -> Result<Topic, Refusal> {
    let topic = TopicName::new(name)?;
    if let Some(topic) = broker.topic(&topic) {
        return Ok(topic);
    }
    if broker.config.protects(name) {
        return Err(Refusal::unknown(name));
    }
    let partitions = default_partitions(broker);
    check_room(broker, partitions)?;
    let created = broker.log.ensure_topic(&topic, config(partitions));
    Ok(created.await?)
}

/// Creates topics, each with its own outcome.
pub(crate) async fn create(
    broker: &Broker,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let repeated = repeated(request.topics.iter().map(|topic| topic.name.as_str()));
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let outcome = if repeated.contains(topic.name.as_str()) {
            Err(Refusal::new(
                ResponseError::InvalidRequest,
                "the request names the topic twice",
            ))
        } else if request.validate_only {
            validate(broker, &topic).map(|(name, config)| Created {
                topic: Topic {
                    name,
                    id: Uuid::nil(),
                    config,
                },
            })
        } else {
            create_one(broker, &topic).await
        };
        results.push(created(broker, topic.name, outcome, version));
    }
    CreateTopicsResponse::default().with_topics(results)
}

/// Deletes topics, each with its own outcome.
pub(crate) async fn delete(
    broker: &Broker,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if version >= 6 {
        request.topics
    } else {
        let names = request.topic_names.into_iter();
        names
            .map(|name| DeleteTopicState::default().with_name(Some(name)))
            .collect()
    };
    let mut responses = Vec::with_capacity(asked.len());
    for topic in asked {
        let mut result = DeletableTopicResult::default();
        if let Err(refusal) = delete_one(broker, &topic).await {
            result.error_code = refusal.code();
            result.error_message = (version >= 5).then(|| refusal.message());
        }
        if version >= 6 {
            result.topic_id = topic.topic_id;
        }
        responses.push(result.with_name(topic.name));
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

/// A topic that was created, or would have been.
struct Created {
    /// Without an id when it was only checked.
    topic: Topic,
}

async fn create_one(broker: &Broker, asked: &CreatableTopic) -> Result<Created, Refusal> {
    let (name, config) = validate(broker, asked)?;
    let topic = broker.log.create_topic(&name, config).await?;
    tracing::info!(topic = %name, partitions = config.partitions, "topic created");
    Ok(Created { topic })
}

fn validate(broker: &Broker, asked: &CreatableTopic) -> Result<(TopicName, TopicConfig), Refusal> {
    let name = TopicName::new(asked.name.as_str())?;
    if broker.config.protects(name.as_str()) {
        return Err(Refusal::protected(name.as_str()));
    }
    if broker.log.topic(&name).is_some() {
        return Err(event_log::Error::TopicExists { topic: name }.into());
    }
    let partitions = partitions(broker, asked)?;
    check_room(broker, partitions)?;
    let settings = asked.configs.iter();
    let settings = settings.map(|setting| (setting.name.as_str(), setting.value.as_deref()));
    let settings = configs::settings_of(settings)?;
    Ok((name, config(partitions).with(settings)))
}

fn partitions(broker: &Broker, asked: &CreatableTopic) -> Result<u32, Refusal> {
    if !asked.assignments.is_empty() {
        let here = |brokers: &[messages::BrokerId]| matches!(brokers, [broker] if broker.0 == NODE);
        let indexes: HashSet<i32> = asked
            .assignments
            .iter()
            .map(|a| a.partition_index)
            .collect();
        let all = i32::try_from(asked.assignments.len()).unwrap_or(i32::MAX);
        if indexes.len() != asked.assignments.len()
            || !indexes.iter().all(|index| (0..all).contains(index))
            || !asked.assignments.iter().all(|a| here(&a.broker_ids))
        {
            return Err(Refusal::new(
                ResponseError::InvalidReplicaAssignment,
                format!("every partition from 0 on has one replica, on broker {NODE}"),
            ));
        }
        return in_limit(all);
    }
    let is_one = match broker.config.replication {
        Replication::AsAsked => matches!(asked.replication_factor, -1 | 1),
        Replication::One => matches!(asked.replication_factor, -1 | 1..),
    };
    if !is_one {
        return Err(Refusal::new(
            ResponseError::InvalidReplicationFactor,
            "there is one broker: the replication factor is 1",
        ));
    }
    match asked.num_partitions {
        -1 => Ok(default_partitions(broker)),
        count => in_limit(count),
    }
}

/// A number of partitions that a client may ask for.
pub(crate) fn in_limit(count: i32) -> Result<u32, Refusal> {
    let count = u32::try_from(count).ok();
    count
        .filter(|count| (1..=MAX_PARTITIONS).contains(count))
        .ok_or_else(|| {
            Refusal::new(
                ResponseError::InvalidPartitions,
                format!("a topic has 1 to {MAX_PARTITIONS} partitions"),
            )
        })
}

/// Refuses `more` partitions where there would be too many in all.
pub(crate) fn check_room(broker: &Broker, more: u32) -> Result<(), Refusal> {
    let topics = broker.log.topics().into_iter();
    let there: u64 = topics.map(|topic| u64::from(topic.config.partitions)).sum();
    if there + u64::from(more) > MAX_PARTITIONS_IN_ALL {
        return Err(Refusal::new(
            ResponseError::PolicyViolation,
            format!("there are {there} partitions, and at most {MAX_PARTITIONS_IN_ALL} in all"),
        ));
    }
    Ok(())
}

async fn delete_one(broker: &Broker, asked: &DeleteTopicState) -> Result<(), Refusal> {
    let name = match &asked.name {
        Some(name) => TopicName::new(name.as_str())?,
        None => {
            let topic = broker.topic_by_id(asked.topic_id).ok_or_else(|| {
                Refusal::new(ResponseError::UnknownTopicId, "no topic has that id")
            })?;
            topic.name
        }
    };
    if broker.config.protects(name.as_str()) {
        return Err(Refusal::protected(name.as_str()));
    }
    broker.log.delete_topic(&name).await?;
    tracing::info!(topic = %name, "topic deleted");
    Ok(())
}

fn created(
    broker: &Broker,
    name: messages::TopicName,
    outcome: Result<Created, Refusal>,
    version: i16,
) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default().with_name(name);
    match outcome {
        Ok(Created { topic }) => {
            if version >= 5 {
                result.num_partitions = i32::try_from(topic.config.partitions).unwrap_or(i32::MAX);
                result.replication_factor = 1;
                let settings = topic_settings::describe(broker, &topic).map(setting);
                result.configs = Some(settings.collect());
            }
            if version >= 7 {
                result.topic_id = topic.id;
            }
        }
        Err(refusal) => {
            result.error_code = refusal.code();
            result.error_message = Some(refusal.message());
        }
    }
    result
}

fn setting(described: Described) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(StrBytes::from_static_str(described.setting.name))
        .with_value(Some(StrBytes::from_string(described.value)))
        .with_read_only(described.setting.is_fixed())
        .with_config_source(described.source as i8)
}

fn config(partitions: u32) -> TopicConfig {
    TopicConfig::new(partitions, Lifetime::Events)
}

fn default_partitions(broker: &Broker) -> u32 {
    broker.config.default_partitions
}

/// Names that occur more than once.
fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> HashSet<String> {
    let mut seen = HashSet::new();
    names
        .filter(|name| !seen.insert(*name))
        .map(str::to_owned)
        .collect()
}
