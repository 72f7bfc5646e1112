//! What administrators do.

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

async fn described(client: &mut Client, name: &str) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let asked = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let mut answer = call!(client, DescribeConfigs, 4, asked);
    assert_eq!(answer.results[0].error_code, 0);
    answer.results.remove(0).configs
}

/// Value and source of a setting, as described.
async fn setting(client: &mut Client, topic: &str, name: &str) -> (String, i8) {
    let all = described(client, topic).await;
    let entry = all.iter().find(|entry| entry.name.as_str() == name);
    let entry = entry.unwrap();
    (
        entry.value.clone().unwrap().to_string(),
        entry.config_source,
    )
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

#[tokio::test]
async fn a_topic_has_the_settings_it_was_created_with() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let settings = [
        ("cleanup.policy", Some("compact,delete")),
        ("retention.ms", Some("60000")),
        ("retention.bytes", Some("-1")),
        ("max.message.bytes", Some("2048")),
        ("min.insync.replicas", Some("1")),
    ];
    let asked = CreateTopicsRequest::default().with_topics(vec![topic("made", &settings)]);
    let answer = call!(client, CreateTopics, 7, asked);
    assert_eq!(answer.topics[0].error_code, 0);
    let told = answer.topics[0].configs.clone().unwrap();
    assert!(
        told.iter()
            .any(|entry| entry.name.as_str() == "retention.ms"
                && entry.value.as_deref() == Some("60000")
                && entry.config_source == 1)
    );
    let made = found(&served, "made").unwrap().config.settings;
    assert_eq!(made.cleanup, Cleanup::CompactAndDelete);
    assert_eq!(made.retention_bytes, Some(Limit::Unlimited));
    assert_eq!(made.max_batch_bytes, Some(2048));
    for (name, value, source) in [
        ("cleanup.policy", "compact,delete", 1),
        ("retention.ms", "60000", 1),
        ("delete.retention.ms", "86400000", 5),
        ("min.insync.replicas", "1", 5),
    ] {
        let said = setting(&mut client, "made", name).await;
        assert_eq!(said, (value.to_owned(), source), "{name}");
    }
    let all = described(&mut client, "made").await;
    let age = all
        .iter()
        .find(|entry| entry.name.as_str() == "retention.ms");
    let age = age.unwrap();
    assert!(age.documentation.is_some() && age.config_type == 5 && !age.read_only);
    let synonyms = age.synonyms.iter();
    let synonyms: Vec<_> = synonyms.map(|s| (s.name.as_str(), s.source)).collect();
    assert_eq!(synonyms, [("retention.ms", 1), ("log.retention.ms", 4)]);
    served.stop().await;
}

#[tokio::test]
async fn a_topic_whose_settings_are_not_supported_is_not_created() {
    let served = Served::new().await;
    let mut client = served.client().await;
    for (name, value) in [
        ("dummy.doesntexist", Some("x")),
        ("segment.bytes", Some("1000000")),
        ("compression.type", Some("gzip")),
        ("retention.ms", Some("soon")),
        ("retention.ms", None),
    ] {
        let asked = vec![topic("made", &[(name, value)])];
        let asked = CreateTopicsRequest::default().with_topics(asked);
        let answer = call!(client, CreateTopics, 7, asked);
        assert_eq!(answer.topics[0].error_code, INVALID_CONFIG.code());
        let message = answer.topics[0].error_message.clone().unwrap();
        assert!(message.contains(name), "{message:?}");
    }
    let settings = [("retention.ms", Some("1"))];
    let asked = CreateTopicsRequest::default()
        .with_topics(vec![topic("made", &settings)])
        .with_validate_only(true);
    let answer = call!(client, CreateTopics, 7, asked);
    assert_eq!(answer.topics[0].error_code, 0);
    assert!(answer.topics[0].topic_id.is_nil());
    assert_eq!(found(&served, "made"), None);
    served.stop().await;
}

#[tokio::test]
async fn settings_are_changed_one_by_one_or_replaced_as_a_whole() {
    let (served, mut client) = with_topics().await;
    let (set, reset, append) = (0, 1, 2);
    for (operation, name, value) in [
        (set, "retention.ms", Some("5000")),
        (set, "retention.bytes", Some("4096")),
        (append, "cleanup.policy", Some("compact")),
    ] {
        let (code, _) = changed(&mut client, "theirs", operation, name, value).await;
        assert_eq!(code, 0, "{name}");
    }
    let all = found(&served, "theirs").unwrap().config.settings;
    assert_eq!(all.cleanup, Cleanup::CompactAndDelete);
    assert_eq!(all.retention_bytes, Some(Limit::AtMost(4096)));
    let (code, _) = changed(&mut client, "theirs", reset, "retention.bytes", None).await;
    assert_eq!(code, 0);
    let said = setting(&mut client, "theirs", "retention.bytes").await;
    assert_eq!(said, ("-1".to_owned(), 5));

    for validate_only in [true, false] {
        let config = Replaced::default()
            .with_name(text("max.message.bytes"))
            .with_value(Some(text("9000")));
        let resource = Replacing::default()
            .with_resource_type(2)
            .with_resource_name(text("theirs"))
            .with_configs(vec![config]);
        let asked = AlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(validate_only);
        let answer = call!(client, AlterConfigs, 2, asked);
        assert_eq!(answer.responses[0].error_code, 0);
        let (_, source) = setting(&mut client, "theirs", "retention.ms").await;
        assert_eq!(source == 1, validate_only, "what is not named falls back");
    }
    let said = setting(&mut client, "theirs", "max.message.bytes").await;
    assert_eq!(said, ("9000".to_owned(), 1));
    served.stop().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_applied_changes_nothing() {
    let (served, mut client) = with_topics().await;
    let before = found(&served, "theirs").unwrap().config;
    for (topic, operation, name, value, refusal) in [
        ("theirs", 0, "compression.type", Some("lz4"), INVALID_CONFIG),
        ("theirs", 0, "retention.ms", None, INVALID_CONFIG),
        ("theirs", 2, "retention.ms", Some("1"), INVALID_CONFIG),
        (
            "theirs",
            9,
            "retention.ms",
            Some("1"),
            ResponseError::InvalidRequest,
        ),
        (
            "nowhere",
            0,
            "retention.ms",
            Some("1"),
            ResponseError::UnknownTopicOrPartition,
        ),
        (
            "../etc",
            0,
            "retention.ms",
            Some("1"),
            ResponseError::InvalidTopicException,
        ),
        ("tidemill.ours", 0, "retention.ms", Some("1"), UNAUTHORIZED),
    ] {
        let (code, message) = changed(&mut client, topic, operation, name, value).await;
        assert_eq!(code, refusal.code(), "{topic} {name}: {message}");
    }
    let twice = |name| {
        Changed::default()
            .with_name(text(name))
            .with_value(Some(text("1")))
    };
    let resource = Changing::default()
        .with_resource_type(2)
        .with_resource_name(text("theirs"))
        .with_configs(vec![twice("retention.ms"), twice("retention.ms")]);
    let of_the_broker = Changing::default()
        .with_resource_type(4)
        .with_resource_name(text("1"))
        .with_configs(vec![twice("num.partitions")]);
    let asked = IncrementalAlterConfigsRequest::default().with_resources(vec![
        resource.clone(),
        of_the_broker,
        resource,
    ]);
    let answer = call!(client, IncrementalAlterConfigs, 0, asked);
    let invalid = ResponseError::InvalidRequest.code();
    assert!(answer.responses.iter().all(|r| r.error_code == invalid));
    assert_eq!(found(&served, "theirs").unwrap().config, before);
    served.stop().await;
}

#[tokio::test]
async fn partitions_are_added_and_can_be_written() {
    let (served, mut client) = with_topics().await;
    let more = |name: &str, count, assignments: Option<Vec<i32>>| {
        let assignments = assignments.map(|brokers| {
            let brokers = brokers.into_iter().map(|broker| {
                CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(broker)])
            });
            brokers.collect()
        });
        CreatePartitionsTopic::default()
            .with_name(wire_name(name))
            .with_count(count)
            .with_assignments(assignments)
    };
    for (topic, validate_only, outcome) in [
        (more("theirs", 4, None), true, None),
        (
            more("theirs", 2, None),
            false,
            Some(ResponseError::InvalidPartitions),
        ),
        (
            more("theirs", 0, None),
            false,
            Some(ResponseError::InvalidPartitions),
        ),
        (
            more("theirs", i32::MAX, None),
            false,
            Some(ResponseError::InvalidPartitions),
        ),
        (
            more("theirs", 4, Some(vec![1])),
            false,
            Some(ResponseError::InvalidReplicaAssignment),
        ),
        (
            more("theirs", 4, Some(vec![1, 2])),
            false,
            Some(ResponseError::InvalidReplicaAssignment),
        ),
        (
            more("nowhere", 4, None),
            false,
            Some(ResponseError::UnknownTopicOrPartition),
        ),
        (more("tidemill.ours", 4, None), false, Some(UNAUTHORIZED)),
    ] {
        let asked = CreatePartitionsRequest::default()
            .with_topics(vec![topic.clone()])
            .with_validate_only(validate_only);
        let answer = call!(client, CreatePartitions, 3, asked);
        let code = outcome.map_or(0, |refusal: ResponseError| refusal.code());
        assert_eq!(answer.results[0].error_code, code, "{topic:?}");
        let now = found(&served, "theirs").unwrap().config.partitions;
        assert_eq!(now, 2, "{topic:?}");
    }
    let topic = more("theirs", 4, Some(vec![1, 1]));
    let asked = CreatePartitionsRequest::default().with_topics(vec![topic]);
    let answer = call!(client, CreatePartitions, 3, asked);
    assert_eq!(answer.results[0].error_code, 0);
    let grown = found(&served, "theirs").unwrap();
    assert_eq!(grown.config.partitions, 4);
    let new = grown.name.partition(Partition::new(3));
    assert!(served.log.bounds(&new).is_ok());
    served.stop().await;
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

#[tokio::test]
async fn records_are_deleted_up_to_an_offset_or_to_the_end() {
    let (served, mut client) = with_topics().await;
    for _ in 0..5 {
        let (code, _) = produced(&mut client, "theirs", &[record(None)]).await;
        assert_eq!(code, 0);
    }
    let out_of_range = ResponseError::OffsetOutOfRange;
    for (topic, offset, outcome) in [
        ("theirs", 2, Ok(2)),
        ("theirs", 1, Ok(2)),
        ("theirs", 6, Err(out_of_range)),
        ("theirs", -2, Err(out_of_range)),
        ("theirs", -1, Ok(5)),
        ("nowhere", 0, Err(ResponseError::UnknownTopicOrPartition)),
        ("tidemill.ours", 0, Err(UNAUTHORIZED)),
    ] {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let asked = DeleteRecordsTopic::default()
            .with_name(wire_name(topic))
            .with_partitions(vec![partition]);
        let asked = DeleteRecordsRequest::default().with_topics(vec![asked]);
        let answer = call!(client, DeleteRecords, 2, asked);
        let told = &answer.topics[0].partitions[0];
        let (code, start) = match outcome {
            Ok(start) => (0, start),
            Err(refusal) => (refusal.code(), -1),
        };
        assert_eq!(
            (told.error_code, told.low_watermark),
            (code, start),
            "{topic} {offset}"
        );
    }
    served.stop().await;
}

#[tokio::test]
async fn a_compacted_topic_names_the_records_that_lack_a_key() {
    let (served, mut client) = with_topics().await;
    let (code, _) = changed(&mut client, "theirs", 0, "cleanup.policy", Some("compact")).await;
    assert_eq!(code, 0);
    let mixed = [
        record(Some("a")),
        record(None),
        record(Some("b")),
        record(None),
    ];
    let refused = produced(&mut client, "theirs", &mixed).await;
    assert_eq!(refused, (ResponseError::InvalidRecord.code(), vec![1, 3]));
    let keyed = produced(&mut client, "theirs", &[record(Some("a"))]).await;
    assert_eq!(keyed, (0, vec![]));
    let asked = DeleteRecordsTopic::default()
        .with_name(wire_name("theirs"))
        .with_partitions(vec![DeleteRecordsPartition::default().with_offset(1)]);
    let asked = DeleteRecordsRequest::default().with_topics(vec![asked]);
    let answer = call!(client, DeleteRecords, 2, asked);
    let told = answer.topics[0].partitions[0].error_code;
    assert_eq!(told, ResponseError::PolicyViolation.code());
    served.stop().await;
}

#[tokio::test]
async fn a_batch_above_its_topics_limit_is_refused() {
    let (served, mut client) = with_topics().await;
    let (code, _) = changed(&mut client, "theirs", 0, "max.message.bytes", Some("100")).await;
    assert_eq!(code, 0);
    let many: Vec<_> = (0..20).map(|_| record(None)).collect();
    let (code, _) = produced(&mut client, "theirs", &many).await;
    assert_eq!(code, ResponseError::MessageTooLarge.code());
    let (code, _) = produced(&mut client, "theirs", &many[..1]).await;
    assert_eq!(code, 0);
    served.stop().await;
}

#[tokio::test]
async fn topics_are_described_in_pages() {
    let (served, mut client) = with_topics().await;
    let mut pages = Vec::new();
    let mut cursor = None;
    loop {
        let mut asked = DescribeTopicPartitionsRequest::default().with_response_partition_limit(3);
        asked.cursor = cursor;
        let answer = call!(client, DescribeTopicPartitions, 0, asked);
        for topic in &answer.topics {
            let name = topic.name.clone().unwrap().to_string();
            let indexes = topic.partitions.iter().map(|p| p.partition_index);
            pages.push((name, indexes.collect::<Vec<_>>()));
        }
        let Some(next) = answer.next_cursor else {
            break;
        };
        let from = messages::describe_topic_partitions_request::Cursor::default();
        cursor = Some(
            from.with_topic_name(next.topic_name)
                .with_partition_index(next.partition_index),
        );
    }
    let page = |name: &str, indexes: &[i32]| (name.to_owned(), indexes.to_vec());
    assert_eq!(
        pages,
        [
            page("theirs", &[0, 1]),
            page("tidemill.ours", &[0]),
            page("tidemill.ours", &[1])
        ]
    );
    served.stop().await;
}
