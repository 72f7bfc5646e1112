use event::Record;
use event_log::{RecordBatch, Settlement, TopicName};
use function::{Ordering, StartingPosition, TriggerId};
use serde_json::{Value, json};

use super::door::{Door, STREAM, part};

const MAPPINGS: &str = "/2015-03-31/event-source-mappings";

fn creation() -> Value {
    json!({
        "FunctionName": "f", "Topics": ["orders"], "StartingPosition": "TRIM_HORIZON",
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["localhost:9092"]}},
    })
}

fn with(mut request: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

async fn create(door: &Door, members: &Value) -> Value {
    let created = door
        .call("POST", MAPPINGS, &with(creation(), members))
        .await;
    assert_eq!(created.status, 202, "{}", created.json());
    created.json()
}

fn place(mapping: &Value) -> String {
    format!("{MAPPINGS}/{}", mapping["UUID"].as_str().unwrap())
}

fn id(mapping: &Value) -> TriggerId {
    TriggerId::from_uuid(mapping["UUID"].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_mapping_is_shown_in_the_shape_of_the_service_model() {
    let door = Door::with_function().await;
    let created = create(&door, &json!({})).await;
    let uuid = created["UUID"].as_str().unwrap();
    let expected = json!({
        "UUID": uuid,
        "EventSourceMappingArn": format!("arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{uuid}"),
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "LastModified": 1_795_216_740.123, "LastProcessingResult": "No records processed",
        "State": "Creating", "StateTransitionReason": "USER_INITIATED",
        "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1, "MaximumRetryAttempts": -1,
        "BisectBatchOnFunctionError": false, "FunctionResponseTypes": [],
        "DestinationConfig": {"OnFailure": {}}, "StartingPosition": "TRIM_HORIZON",
        "Topics": ["orders"],
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["localhost:9092"]}},
        "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": uuid},
    });
    assert_eq!(created, expected);
    let got = door
        .call("GET", &place(&created), &Value::Null)
        .await
        .json();
    assert_eq!(got, with(expected, &json!({"State": "Enabled"})));
    let trigger = door.state.registry.trigger(id(&created)).unwrap();
    assert_eq!(trigger.ordering, Ordering::Partition);
    assert_eq!(trigger.batch.maximum_batching_window_ms, 500);
    let topic = door.state.log.topic(&TopicName::new("orders").unwrap());
    assert_eq!(topic.unwrap().config.partitions, 2);
}

#[tokio::test]
async fn every_parameter_is_kept_shown_and_changed() {
    let door = Door::with_function().await;
    let parameters = json!({
        "Enabled": false, "BatchSize": 7, "MaximumBatchingWindowInSeconds": 3,
        "FilterCriteria": {"Filters": [{"Pattern": "{\"value\": {\"a\": [1]}}"}]},
        "MaximumRetryAttempts": 5, "MaximumRecordAgeInSeconds": 60,
        "BisectBatchOnFunctionError": true, "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": "kafka://failed"}},
        "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "billing-readers"},
        "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1_795_000_000.5,
    });
    let created = create(
        &door,
        &with(parameters.clone(), &json!({"Tags": {"a": "b"}})),
    )
    .await;
    let got = door
        .call("GET", &place(&created), &Value::Null)
        .await
        .json();
    let mut expected = parameters;
    expected.as_object_mut().unwrap().remove("Enabled");
    assert_eq!(part(&got, &expected), expected);
    assert_eq!(got["State"], "Disabled");
    let trigger = door.state.registry.trigger(id(&created)).unwrap();
    assert_eq!(trigger.tags["a"], "b");
    assert!(
        door.state
            .log
            .topic(&TopicName::new("failed").unwrap())
            .is_some()
    );

    let change = json!({"Enabled": true, "BatchSize": 9, "MaximumRetryAttempts": -1,
        "FilterCriteria": {"Filters": []}, "FunctionResponseTypes": [],
        "DestinationConfig": {"OnFailure": {"Destination": ""}}});
    let changed = door.call("PUT", &place(&created), &change).await;
    assert_eq!(
        (changed.status, &changed.json()["State"]),
        (202, &json!("Enabling"))
    );
    let got = door
        .call("GET", &place(&created), &Value::Null)
        .await
        .json();
    let expected = json!({"State": "Enabled", "BatchSize": 9, "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": 60, "FilterCriteria": null, "FunctionResponseTypes": [],
        "DestinationConfig": {"OnFailure": {}}});
    assert_eq!(part(&got, &expected), expected);
}

#[tokio::test]
async fn latest_means_from_the_moment_of_creation() {
    let door = Door::with_function().await;
    let name = TopicName::new("orders").unwrap();
    let config = event_log::TopicConfig::new(3, event_log::Lifetime::Events);
    let topic = door.state.log.ensure_topic(&name, config).await.unwrap();
    let second = topic.partitions().nth(1).unwrap();
    let batch = RecordBatch::of_one(Record::default());
    door.state
        .log
        .commit(Settlement::of(second, batch))
        .await
        .unwrap();
    let created = create(&door, &json!({"StartingPosition": "LATEST"})).await;
    let trigger = door.state.registry.trigger(id(&created)).unwrap();
    let StartingPosition::Latest { ends } = &trigger.starting_position else {
        panic!("{:?}", trigger.starting_position);
    };
    let ends: Vec<_> = ends
        .iter()
        .map(|(index, end)| (*index, end.get()))
        .collect();
    assert_eq!(ends, [(0, 0), (1, 1), (2, 0)]);
}

#[tokio::test]
async fn a_tables_stream_is_mapped_by_its_arn_shown_and_found_again() {
    let door = Door::with_function().await;
    let request = json!({"FunctionName": "f", "EventSourceArn": STREAM,
        "StartingPosition": "TRIM_HORIZON", "FunctionResponseTypes": ["ReportBatchItemFailures"]});
    let created = door.call("POST", MAPPINGS, &request).await;
    assert_eq!(created.status, 202, "{}", created.json());
    let created = created.json();
    let expected = json!({"EventSourceArn": STREAM, "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0, "ParallelizationFactor": 1,
        "FunctionResponseTypes": ["ReportBatchItemFailures"]});
    assert_eq!(part(&created, &expected), expected);
    assert!(created.get("SelfManagedEventSource").is_none() && created.get("Topics").is_none());
    let trigger = door.state.registry.trigger(id(&created)).unwrap();
    assert_eq!(trigger.topic().as_str(), "table.shop.orders");
    assert_eq!(trigger.batch.maximum_batching_window_ms, 0);
    // It may be mapped before anything was read; the connector then finds the topic as it wants it.
    let topic = door.state.log.topic(&trigger.topic()).unwrap();
    assert_eq!(topic.config.partitions, 3);
    let other = STREAM.replace("orders", "others");
    for (arn, found) in [(STREAM, 1), (&other, 0)] {
        let arn = arn.replace(':', "%3A").replace('/', "%2F");
        let path = format!("{MAPPINGS}?EventSourceArn={arn}");
        let listed = door.call("GET", &path, &Value::Null).await.json();
        let mappings = listed["EventSourceMappings"].as_array().unwrap();
        assert_eq!(mappings.len(), found, "{listed}");
    }
    let again = door.refusal("POST", MAPPINGS, &request).await;
    assert!(again.starts_with("ResourceConflictException"), "{again}");
}

#[tokio::test]
async fn what_a_tables_stream_has_not_is_refused_by_name() {
    let door = Door::with_function().await;
    let request =
        json!({"FunctionName": "f", "EventSourceArn": STREAM, "StartingPosition": "LATEST"});
    let unknown = STREAM.replace("orders", "unknown");
    for (members, expected) in [
        (json!({"EventSourceArn": unknown}), "Stream not found"),
        (
            json!({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.0}),
            "Unsupported starting position",
        ),
        (json!({"ParallelizationFactor": 2}), "ParallelizationFactor"),
        (
            json!({"TumblingWindowInSeconds": 5}),
            "TumblingWindowInSeconds",
        ),
        (json!({"Topics": ["orders"]}), "Topics"),
    ] {
        let refused = door
            .refusal("POST", MAPPINGS, &with(request.clone(), &members))
            .await;
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(door.state.registry.triggers().is_empty());
}

#[tokio::test]
async fn what_cannot_be_a_mapping_is_refused_and_creates_nothing() {
    let door = Door::with_function().await;
    let servers = |list: Value| json!({"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": list}}});
    for (members, expected) in [
        (
            servers(json!(["broker.example:9092"])),
            "foreign clusters and services are configured as connectors",
        ),
        (
            servers(json!(["localhost:9092", "other:9092"])),
            "other:9092",
        ),
        (servers(json!([])), "KAFKA_BOOTSTRAP_SERVERS"),
        (
            json!({"SelfManagedEventSource": null}),
            "SelfManagedEventSource is required",
        ),
        (
            json!({"EventSourceArn": "arn:aws:sqs:us-east-1:1:q"}),
            "connectors",
        ),
        (json!({"Topics": ["a", "b"]}), "exactly one topic"),
        (json!({"Topics": ["no/name"]}), "no/name"),
        (json!({"Topics": ["bucket.nothing"]}), "does not exist"),
        (
            json!({"Topics": ["tidemill.usage"]}),
            "run on what it makes",
        ),
        (
            json!({"Topics": ["tidemill.dead-letters"]}),
            "run on what it makes",
        ),
        (
            json!({"DestinationConfig": {"OnFailure": {"Destination": "kafka://orders"}}}),
            "the topic that the mapping reads",
        ),
        (
            json!({"DestinationConfig": {"OnFailure": {"Destination": "kafka://tidemill.usage"}}}),
            "belongs to the server",
        ),
        (
            json!({"StartingPosition": null}),
            "StartingPosition is required",
        ),
        (json!({"StartingPosition": "NEWEST"}), "'startingPosition'"),
        (
            json!({"StartingPosition": "AT_TIMESTAMP"}),
            "StartingPositionTimestamp is required",
        ),
        (
            json!({"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1.9e9}),
            "future",
        ),
        (json!({"BatchSize": 0}), "'batchSize'"),
        (json!({"BatchSize": 10_001}), "'batchSize'"),
        (
            json!({"MaximumBatchingWindowInSeconds": 301}),
            "'maximumBatchingWindowInSeconds'",
        ),
        (
            json!({"MaximumRecordAgeInSeconds": 59}),
            "'maximumRecordAgeInSeconds'",
        ),
        (
            json!({"MaximumRetryAttempts": -2}),
            "'maximumRetryAttempts'",
        ),
        (
            json!({"FilterCriteria": {"Filters": [{"Pattern": "{\"a\": 1}"}]}}),
            "Invalid filter pattern definition. (event pattern at $.a",
        ),
        (
            json!({"FunctionResponseTypes": ["All"]}),
            "ReportBatchItemFailures",
        ),
        (
            json!({
                "DestinationConfig": {"OnFailure": {"Destination": "kafka://failed"}},
                "Queues": ["q"],
            }),
            "Queues",
        ),
        (
            json!({"ParallelizationFactor": 2}),
            "ParallelizationFactor 2 is not supported",
        ),
        (
            json!({"TumblingWindowInSeconds": 5}),
            "TumblingWindowInSeconds",
        ),
        (
            json!({"SourceAccessConfigurations": [{"Type": "BASIC_AUTH", "URI": "u"}]}),
            "SourceAccessConfigurations",
        ),
        (
            json!({"ProvisionedPollerConfig": {"MinimumPollers": 1}}),
            "ProvisionedPollerConfig",
        ),
        (
            json!({"SelfManagedKafkaEventSourceConfig": {"ConsumptionMode": "Queue"}}),
            "ConsumptionMode",
        ),
        (
            json!({"DestinationConfig": {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:1:q"}}}),
            "kafka://<topic>",
        ),
        (
            json!({"DestinationConfig": {"OnSuccess": {"Destination": "kafka://t"}}}),
            "OnSuccess",
        ),
        (
            json!({"DestinationConfig": {"OnFailure": {"Destination": "kafka://bucket.photos"}}}),
            "belongs to the server",
        ),
        (json!({"FunctionName": "g"}), "Function not found"),
        (
            json!({"KMSKeyArn": "arn:aws:kms:us-east-1:1:key/k"}),
            "KMSKeyArn",
        ),
    ] {
        let refused = door
            .refusal("POST", MAPPINGS, &with(creation(), &members))
            .await;
        assert!(refused.contains(expected), "{members}: {refused}");
    }
    assert!(door.state.registry.triggers().is_empty());
    assert!(door.state.log.topics().is_empty());
}

#[tokio::test]
async fn a_mapping_is_not_changed_to_feed_its_own_topic() {
    let door = Door::with_function().await;
    let created = create(&door, &json!({})).await;
    let change = json!({"DestinationConfig": {"OnFailure": {"Destination": "kafka://orders"}}});
    let refused = door.refusal("PUT", &place(&created), &change).await;
    assert!(
        refused.starts_with("InvalidParameterValueException")
            && refused.contains("the topic that the mapping reads"),
        "{refused}"
    );
    let trigger = door.state.registry.trigger(id(&created)).unwrap();
    assert_eq!(trigger.retry.on_failure, function::Destination::DeadLetters);
}

#[tokio::test]
async fn a_second_mapping_of_the_same_topic_and_function_is_a_conflict() {
    let door = Door::with_function().await;
    let first = create(&door, &json!({})).await;
    let refused = door.refusal("POST", MAPPINGS, &creation()).await;
    assert!(
        refused.starts_with("ResourceConflictException"),
        "{refused}"
    );
    assert!(
        refused.contains(first["UUID"].as_str().unwrap()),
        "{refused}"
    );
}

#[tokio::test]
async fn mappings_are_listed_by_function_and_gone_when_deleted() {
    let door = Door::with_function().await;
    let first = create(&door, &json!({})).await;
    create(&door, &json!({"Topics": ["other"]})).await;
    let count = async |query: &str| {
        let path = format!("{MAPPINGS}/?{query}");
        let listed = door.call("GET", &path, &Value::Null).await.json();
        listed["EventSourceMappings"].as_array().unwrap().len()
    };
    assert_eq!(count("FunctionName=f").await, 2);
    assert_eq!(count("FunctionName=g").await, 0);
    assert_eq!(count("MaxItems=1").await, 1);
    let deleted = door.call("DELETE", &place(&first), &Value::Null).await;
    assert_eq!(
        (deleted.status, &deleted.json()["State"]),
        (202, &json!("Deleting"))
    );
    assert_eq!(count("").await, 1);
    for path in [place(&first), format!("{MAPPINGS}/no-uuid")] {
        let refused = door.refusal("GET", &path, &Value::Null).await;
        assert!(
            refused.starts_with("ResourceNotFoundException"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_mapping_outlives_its_function_and_says_what_is_wrong() {
    let door = Door::with_function().await;
    let created = create(&door, &json!({})).await;
    door.call("DELETE", "/2015-03-31/functions/f", &Value::Null)
        .await;
    let got = door
        .call("GET", &place(&created), &Value::Null)
        .await
        .json();
    let expected =
        json!({"State": "Disabled", "LastProcessingResult": "PROBLEM: Function not found"});
    assert_eq!(part(&got, &expected), expected);
    let refused = door
        .refusal("PUT", &place(&created), &json!({"Enabled": true}))
        .await;
    assert!(
        refused.starts_with("ResourceNotFoundException"),
        "{refused}"
    );
}
