use std::collections::BTreeMap;

use bytes::Bytes;
use clock::Timestamp;
use dispatcher::{BatchAnswer, Payloads as _};
use event::Record;
use event_log::{Offset, Partition, StoredRecord, TopicName};
use function::{
    Backoff, BatchPolicy, Destination, Filter, FunctionName, Ordering, RetryPolicy,
    StartingPosition, Trigger, TriggerId, TriggerSource,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::LambdaPayloads;

const PARTITION: Partition = Partition::new(0);

fn trigger(source: TriggerSource) -> Trigger {
    Trigger {
        id: TriggerId::random(),
        function: FunctionName::new("f").unwrap(),
        source,
        filters: Vec::new(),
        batch: BatchPolicy {
            batch_size: 100,
            maximum_batching_window_ms: 0,
        },
        retry: RetryPolicy {
            maximum_retry_attempts: None,
            maximum_record_age_seconds: None,
            bisect_batch_on_function_error: false,
            backoff: Backoff::Exponential,
            on_failure: Destination::DeadLetters,
        },
        ordering: Ordering::Partition,
        report_batch_item_failures: true,
        enabled: true,
        problem: None,
        tags: BTreeMap::new(),
        qualifier: None,
        starting_position: StartingPosition::TrimHorizon,
        last_modified: Timestamp::default(),
        revision: Uuid::nil(),
    }
}

fn topic() -> Trigger {
    trigger(TriggerSource::Topic {
        topic: TopicName::new("orders").unwrap(),
        bootstrap_servers: "localhost:9092".to_owned(),
        consumer_group_id: "g".to_owned(),
    })
}

fn bucket(suffix: &str) -> Trigger {
    trigger(TriggerSource::Bucket {
        bucket: "photos".to_owned(),
        configuration_id: "thumbnails".to_owned(),
        events: vec!["s3:ObjectCreated:*".to_owned()],
        prefix: Some("in box/".to_owned()),
        suffix: Some(suffix.to_owned()),
    })
}

fn table() -> Trigger {
    trigger(TriggerSource::TableStream {
        topic: TopicName::new("table.shop.orders").unwrap(),
        stream_arn: "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop".to_owned(),
    })
}

fn change(offset: u64) -> StoredRecord {
    let value = format!(
        r#"{{"eventName":"INSERT","dynamodb":{{"Keys":{{"id":{{"N":"1.50"}}}},"SequenceNumber":"7{offset}"}}}}"#
    );
    let record = Record::new(value, Timestamp::default())
        .with_header("ce_type", "tidemill.table.insert")
        .with_header("ce_id", format!("7{offset}"));
    stored(offset, record)
}

fn stored(offset: u64, record: Record) -> StoredRecord {
    StoredRecord {
        offset: Offset::new(offset),
        record,
    }
}

fn put(key: &str) -> StoredRecord {
    let value = json!({"eventName": "ObjectCreated:Put", "s3": {"configurationId": "", "object": {"key": "in+box/a.png"}}});
    let record = Record::new(value.to_string(), Timestamp::from_millis(5))
        .with_header("ce_type", "com.amazonaws.s3.ObjectCreated.Put")
        .with_header("ce_subject", key.to_owned());
    stored(3, record)
}

#[test]
fn a_kafka_event_has_the_documented_shape() {
    let plain = Record::new("Hello", Timestamp::from_millis(1_545_084_650_987))
        .with_key("k")
        .with_header("headerKey", vec![104, 200]);
    let tombstone = Record {
        value: None,
        ..Record::default()
    };
    let records = [stored(15, plain), stored(16, tombstone)];
    let event = LambdaPayloads.encode(&topic(), PARTITION, &records);
    let expected = r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"localhost:9092","records":{"orders-0":[{"topic":"orders","partition":0,"offset":15,"timestamp":1545084650987,"timestampType":"CREATE_TIME","key":"aw==","value":"SGVsbG8=","headers":[{"headerKey":[104,-56]}]},{"topic":"orders","partition":0,"offset":16,"timestamp":0,"timestampType":"CREATE_TIME","headers":[]}]}}"#;
    assert_eq!(std::str::from_utf8(&event).unwrap(), expected);
}

#[test]
fn an_s3_event_names_the_configuration_that_wanted_it() {
    let event = LambdaPayloads.encode(&bucket(".png"), PARTITION, &[put("in box/a.png")]);
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!(event["Records"][0]["s3"]["configurationId"], "thumbnails");
    assert_eq!(event["Records"][0]["s3"]["object"]["key"], "in+box/a.png");
}

#[test]
fn a_bucket_selects_by_event_name_prefix_and_suffix_of_the_key_as_it_is() {
    let selects =
        |trigger: &Trigger, record: &StoredRecord| LambdaPayloads.selects(trigger, record);
    assert!(selects(&bucket(".png"), &put("in box/a.png")));
    assert!(!selects(&bucket(".jpg"), &put("in box/a.png")));
    assert!(!selects(&bucket(".png"), &put("in+box/a.png")));
    let mut removed = put("in box/a.png");
    removed.record = removed
        .record
        .with_header("ce_type", "com.amazonaws.s3.ObjectRemoved.Delete");
    assert!(!selects(&bucket(".png"), &removed));
    let stranger = stored(0, Record::new("{}", Timestamp::default()));
    assert!(!selects(&bucket(".png"), &stranger));
    assert!(selects(&topic(), &stranger));
}

#[test]
fn filters_see_json_as_json_and_text_as_text() {
    let matches = |pattern: Value, value: &str| {
        let record = stored(
            7,
            Record::new(value.to_owned(), Timestamp::default()).with_key("k1"),
        );
        let document = LambdaPayloads.filter_document(&topic(), PARTITION, &record);
        let filter = Filter::compile(&pattern.to_string()).unwrap();
        filter.matches(&document.unwrap())
    };
    let wants_total = json!({"value": {"total": [{"numeric": [">", 10]}]}});
    assert!(matches(wants_total.clone(), r#"{"total": 11}"#));
    assert!(!matches(wants_total.clone(), r#"{"total": 9}"#));
    assert!(!matches(wants_total, "no json"));
    assert!(matches(json!({"value": [{"prefix": "no"}]}), "no json"));
    assert!(matches(
        json!({"key": ["k1"], "partition": [0], "offset": [7]}),
        "x"
    ));
}

#[test]
fn changes_of_a_table_are_passed_on_as_they_were_written() {
    let event = LambdaPayloads.encode(&table(), PARTITION, &[change(1), change(2)]);
    let expected = r#"{"Records":[{"eventName":"INSERT","dynamodb":{"Keys":{"id":{"N":"1.50"}},"SequenceNumber":"71"}},{"eventName":"INSERT","dynamodb":{"Keys":{"id":{"N":"1.50"}},"SequenceNumber":"72"}}]}"#;
    assert_eq!(std::str::from_utf8(&event).unwrap(), expected);
    let document = LambdaPayloads.filter_document(&table(), PARTITION, &change(1));
    let wanted = json!({"eventName": ["INSERT"], "dynamodb": {"Keys": {"id": {"N": ["1.50"]}}}});
    let filter = Filter::compile(&wanted.to_string()).unwrap();
    assert!(filter.matches(&document.unwrap()));
}

#[test]
fn a_record_that_no_connector_wrote_is_no_change_of_a_table() {
    assert!(LambdaPayloads.selects(&table(), &change(1)));
    let stranger = stored(0, Record::new("not even JSON", Timestamp::default()));
    assert!(!LambdaPayloads.selects(&table(), &stranger));
}

#[test]
fn what_happens_to_a_whole_table_reaches_who_names_it() {
    let whole = |kind: &str, name: &str| {
        let record = Record::new(
            format!(r#"{{"eventName":"{name}","dynamodb":{{}}}}"#),
            Timestamp::default(),
        );
        stored(1, record.with_header("ce_type", kind.to_owned()))
    };
    let truncated = whole("tidemill.table.truncate", "TRUNCATE");
    let gap = whole("tidemill.table.gap", "GAP");
    let selected = |filters: &[&str]| {
        let mut table = table();
        table.filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        [&change(1), &truncated, &gap].map(|record| LambdaPayloads.selects(&table, record))
    };
    assert_eq!(selected(&[]), [true, false, false]);
    let rows = r#"{"dynamodb": {"Keys": {"id": {"N": [{"exists": true}]}}}}"#;
    let others = r#"{"eventName": [{"anything-but": ["REMOVE"]}]}"#;
    assert_eq!(selected(&[rows, others]), [true, false, false]);
    let emptied = r#"{"eventName": ["INSERT", "TRUNCATE"]}"#;
    assert_eq!(selected(&[rows, emptied]), [true, true, false]);
    let both = r#"{"eventName": ["TRUNCATE", "GAP"]}"#;
    assert_eq!(selected(&[both]), [true, true, true]);
}

#[test]
fn a_stream_goes_on_at_the_lowest_sequence_number_that_failed() {
    let records: Vec<_> = (1..5).map(change).collect();
    let answer = |text: String| {
        LambdaPayloads.batch_answer(&table(), PARTITION, &records, &Bytes::from(text))
    };
    let failures = |items: &[Value]| {
        let items: Vec<_> = items
            .iter()
            .map(|item| json!({"itemIdentifier": item}))
            .collect();
        answer(json!({"batchItemFailures": items}).to_string())
    };
    let behind = (2..5).map(Offset::new).collect();
    assert_eq!(
        failures(&[json!("73"), json!("72")]),
        BatchAnswer::Failed(behind)
    );
    assert_eq!(failures(&[]), BatchAnswer::Done);
    for unknown in [json!("75"), json!(""), Value::Null, json!(72)] {
        assert_eq!(failures(&[unknown]), BatchAnswer::Unreadable);
    }
}

fn answer(trigger: &Trigger, text: &str) -> BatchAnswer {
    let records: Vec<_> = (100..103).map(|at| stored(at, Record::default())).collect();
    let answer = Bytes::from(text.to_owned());
    LambdaPayloads.batch_answer(trigger, PARTITION, &records, &answer)
}

#[test]
fn an_empty_report_means_that_everything_succeeded() {
    for text in [
        "",
        "null",
        "{}",
        r#"{"batchItemFailures": null}"#,
        r#"{"batchItemFailures": []}"#,
        r#"{"statusCode": 200}"#,
    ] {
        assert_eq!(answer(&topic(), text), BatchAnswer::Done, "{text}");
    }
}

#[test]
fn failed_items_are_read_in_both_spellings() {
    let text = r#"{"batchItemFailures": [
        {"itemIdentifier": {"partition": "orders-0", "offset": 102}},
        {"itemIdentifier": {"topic-partition": "orders-0", "offset": 100}},
        {"itemIdentifier": {"partition": "orders-0", "offset": 102}}]}"#;
    let failed = vec![Offset::new(100), Offset::new(102)];
    assert_eq!(answer(&topic(), text), BatchAnswer::Failed(failed));
}

#[test]
fn what_cannot_be_understood_fails_the_whole_batch() {
    let items = [
        r#"{"itemIdentifier": ""}"#,
        r#"{"itemIdentifier": null}"#,
        r#"{"badName": {"partition": "orders-0", "offset": 100}}"#,
        r#"{"itemIdentifier": {"partition": "orders-1", "offset": 100}}"#,
        r#"{"itemIdentifier": {"partition": "orders-0", "offset": 103}}"#,
        r#"{"itemIdentifier": {"partition": "orders-0", "offset": -1}}"#,
    ];
    for item in items {
        let text = format!(r#"{{"batchItemFailures": [{item}]}}"#);
        assert_eq!(answer(&topic(), &text), BatchAnswer::Unreadable, "{text}");
    }
    for text in ["{", "\"ok\"", "[]", r#"{"batchItemFailures": "x"}"#] {
        assert_eq!(answer(&topic(), text), BatchAnswer::Unreadable, "{text}");
    }
}

#[test]
fn without_the_setting_an_answer_is_not_read() {
    let mut quiet = topic();
    quiet.report_batch_item_failures = false;
    assert_eq!(answer(&quiet, "{"), BatchAnswer::Done);
}
