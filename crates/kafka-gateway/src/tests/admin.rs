//! What administrators do.

mod limits;
mod partitions;
mod settings;

use event::Record;
use event_log::{Cleanup, Lifetime, Limit, Partition, RecordBatch, Topic, TopicConfig, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::{
    AlterConfigsResource as Replacing, AlterableConfig as Replaced,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as Changing, AlterableConfig as Changed,
};
use kafka_protocol::messages::{
    self, AlterConfigsRequest, ApiKey, BrokerId, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteRecordsRequest, DescribeConfigsRequest, DescribeTopicPartitionsRequest,
    IncrementalAlterConfigsRequest, ResponseKind,
};

use super::client::{Client, Served, call};
use super::samples::{self, Subject, text};

const INVALID_CONFIG: ResponseError = ResponseError::InvalidConfig;
const UNAUTHORIZED: ResponseError = ResponseError::TopicAuthorizationFailed;

fn wire_name(name: &str) -> messages::TopicName {
    messages::TopicName(text(name))
}

fn found(served: &Served, name: &str) -> Option<Topic> {
    served.log.topic(&TopicName::new(name).unwrap())
}

/// A gateway with topics of a user's and of ours, and somebody who knows it.
async fn with_topics() -> (Served, Client) {
    let served = Served::new().await;
    for name in ["theirs", "tidemill.ours"] {
        let name = TopicName::new(name).unwrap();
        let config = TopicConfig::new(2, Lifetime::Events);
        served.log.create_topic(&name, config).await.unwrap();
    }
    let client = served.client().await;
    (served, client)
}

fn topic(name: &str, settings: &[(&str, Option<&str>)]) -> CreatableTopic {
    let settings = settings.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(value.map(text))
    });
    CreatableTopic::default()
        .with_name(wire_name(name))
        .with_num_partitions(2)
        .with_replication_factor(1)
        .with_configs(settings.collect())
}

async fn produced(client: &mut Client, topic: &'static str, records: &[Record]) -> (i16, Vec<i32>) {
    let batch = RecordBatch::of(records).unwrap();
    let subject = Subject {
        topic,
        records: batch.as_bytes().clone(),
        ..Subject::default()
    };
    let body = samples::request(ApiKey::Produce, 9, &subject);
    let ResponseKind::Produce(answer) = client.call(ApiKey::Produce, 9, &body).await else {
        panic!("not an answer to a produce request");
    };
    let outcome = &answer.responses[0].partition_responses[0];
    let records = outcome.record_errors.iter().map(|error| error.batch_index);
    (outcome.error_code, records.collect())
}

fn record(key: Option<&'static str>) -> Record {
    let mut record = Record::new("value", clock::Timestamp::from_millis(1_000));
    record.key = key.map(Into::into);
    record
}

/// Changes one setting by an operation; code and message of the answer.
async fn changed(
    client: &mut Client,
    topic: &str,
    operation: i8,
    name: &str,
    value: Option<&str>,
) -> (i16, String) {
    let change = Changed::default()
        .with_name(text(name))
        .with_config_operation(operation)
        .with_value(value.map(text));
    let resource = Changing::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(vec![change]);
    let asked = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = call!(client, IncrementalAlterConfigs, 1, asked);
    let response = &answer.responses[0];
    let message = response.error_message.clone().unwrap_or_default();
    (response.error_code, message.to_string())
}
