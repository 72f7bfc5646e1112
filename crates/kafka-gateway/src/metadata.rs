//! Where things are: always here.

use event_log::{Topic, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    self, BrokerId, DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::TopicCreation;
use crate::asked;
use crate::broker::{ANSWER_ROOM, Broker, CLUSTER, NODE, Space};
use crate::error_code::Refusal;
use crate::topics::{self, LEADER_EPOCH};

/// Kafka's number for a coordinator of consumer groups.
const GROUP: i8 = 0;
/// Bytes of one partition in an answer.
const PARTITION: usize = 64;
/// Kafka's number for a coordinator of transactions.
const TRANSACTION: i8 = 1;

/// Describes the broker and topics; creates those that are asked for by name and absent, when the
/// client lets us. The answer takes the room that comes with it.
pub(crate) async fn metadata(
    broker: &Broker,
    request: MetadataRequest,
    version: i16,
) -> (MetadataResponse, Space) {
    // Before version 1 an empty list stood for all.
    let asked = request
        .topics
        .filter(|topics| version > 0 || !topics.is_empty());
    let create =
        request.allow_auto_topic_creation && broker.config.topic_creation == TopicCreation::OnUse;
    let found = match asked {
        None => broker.topics().into_iter().map(Ok).collect(),
        Some(asked) => {
            let mut topics = Vec::with_capacity(asked.len());
            for topic in asked::once_by(asked, |topic| (topic.name.clone(), topic.topic_id)) {
                let found = find(broker, &topic, create).await;
                topics.push(found.map_err(|refusal| refused(topic, &refusal, version)));
            }
            topics
        }
    };
    let partitions = found.iter().filter_map(|found| found.as_ref().ok());
    let partitions = partitions.map(|topic| topic.config.partitions as usize);
    let bytes = partitions.sum::<usize>() * PARTITION;
    let space = broker.answers.take(bytes.min(ANSWER_ROOM)).await;
    let topics = found.into_iter();
    let topics = topics.map(|found| found.map_or_else(|refused| refused, described));
    let node = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE))
        .with_host(host(broker))
        .with_port(port(broker));
    let response = MetadataResponse::default()
        .with_brokers(vec![node])
        .with_cluster_id(Some(StrBytes::from_static_str(CLUSTER)))
        .with_controller_id(BrokerId(NODE))
        .with_topics(topics.collect());
    (response, space)
}

/// Describes the broker.
pub(crate) fn cluster(
    broker: &Broker,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_static_str(CLUSTER))
        .with_controller_id(BrokerId(NODE));
    // 1 asks for brokers, 2 for controllers, which cannot be reached apart from brokers.
    if request.endpoint_type != 1 {
        let refusal = Refusal::new(
            ResponseError::MismatchedEndpointType,
            "this is a broker's port",
        );
        return response
            .with_error_code(refusal.code())
            .with_error_message(Some(refusal.message()));
    }
    let node = DescribeClusterBroker::default()
        .with_broker_id(BrokerId(NODE))
        .with_host(host(broker))
        .with_port(port(broker));
    response.with_brokers(vec![node])
}

/// Names the coordinator of groups; there is none of transactions.
pub(crate) fn coordinator(
    broker: &Broker,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let refusal = match request.key_type {
        GROUP | TRANSACTION => None,
        other => Some(Refusal::new(
            ResponseError::InvalidRequest,
            format!("there are no coordinators of type {other}"),
        )),
    };
    if version >= 4 {
        let keys = request.coordinator_keys.into_iter();
        let keys = keys.map(|key| match &refusal {
            None => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(NODE))
                .with_host(host(broker))
                .with_port(port(broker)),
            Some(refusal) => Coordinator::default()
                .with_key(key)
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.message())),
        });
        return FindCoordinatorResponse::default().with_coordinators(keys.collect());
    }
    match refusal {
        None => FindCoordinatorResponse::default()
            .with_node_id(BrokerId(NODE))
            .with_host(host(broker))
            .with_port(port(broker)),
        Some(refusal) => FindCoordinatorResponse::default()
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(refusal.code())
            .with_error_message((version >= 1).then(|| refusal.message())),
    }
}

async fn find(
    broker: &Broker,
    asked: &MetadataRequestTopic,
    create_if_absent: bool,
) -> Result<Topic, Refusal> {
    let Some(name) = &asked.name else {
        let topic = broker.topic_by_id(asked.topic_id);
        return topic
            .ok_or_else(|| Refusal::new(ResponseError::UnknownTopicId, "no topic has that id"));
    };
    if create_if_absent {
        return topics::find_or_create(broker, name).await;
    }
    let topic = broker.topic(&TopicName::new(name.as_str())?);
    topic.ok_or_else(|| Refusal::unknown(name))
}

fn described(topic: Topic) -> MetadataResponseTopic {
    let here = || vec![BrokerId(NODE)];
    let partitions = topic.partitions().map(|place| {
        let index = i32::try_from(place.partition.index()).unwrap_or(i32::MAX);
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(NODE))
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(here())
            .with_isr_nodes(here())
    });
    MetadataResponseTopic::default()
        .with_partitions(partitions.collect())
        .with_topic_id(topic.id)
        .with_name(Some(name(&topic.name)))
}

fn refused(asked: MetadataRequestTopic, refusal: &Refusal, version: i16) -> MetadataResponseTopic {
    // A topic asked for by id has no name, which only version 12 can say.
    let unnamed = (version < 12).then(messages::TopicName::default);
    MetadataResponseTopic::default()
        .with_error_code(refusal.code())
        .with_name(asked.name.or(unnamed))
        .with_topic_id(asked.topic_id)
}

fn name(topic: &TopicName) -> messages::TopicName {
    messages::TopicName(StrBytes::from_string(topic.as_str().to_owned()))
}

fn host(broker: &Broker) -> StrBytes {
    StrBytes::from_string(broker.advertised.host.clone())
}

fn port(broker: &Broker) -> i32 {
    i32::from(broker.advertised.port)
}
