use aws_lambda_events::dynamodb::EventRecord;
use clock::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::Shape;
use crate::change::TableName;

fn naming() -> Naming {
    Naming {
        connection: "shop".to_owned(),
        home: None,
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        shape: Shape::DynamoDb,
        partitions: 1,
    }
}

fn table() -> TableName {
    TableName {
        schema: "public".to_owned(),
        name: "orders".to_owned(),
    }
}

fn field<'a>(name: &'a str, value: Value<'a>) -> Field<'a> {
    Field { name, value }
}

fn attribute_of(value: &Value<'_>) -> String {
    let mut to = Vec::new();
    attribute(&mut to, value);
    String::from_utf8(to).unwrap()
}

#[test]
fn a_record_has_the_fields_of_dynamodb_streams() {
    let table = table();
    let change = Change {
        act: Act::Modify,
        table: &table,
        keys: vec![field("id", Value::Number("7".into()))],
        new: Some(vec![
            field("id", Value::Number("7".into())),
            field("note", Value::Text("new".into())),
        ]),
        old: Some(vec![
            field("id", Value::Number("7".into())),
            field("note", Value::Null),
        ]),
        unchanged: Vec::new(),
        sequence: "100000000000000012345".to_owned(),
        at: Timestamp::from_millis(1_700_000_000_123),
    };
    let json: serde_json::Value = serde_json::from_slice(&record(&naming(), &change)).unwrap();
    let images = "{\"Keys\":{\"id\":{\"N\":\"7\"}},\"NewImage\":{\"id\":{\"N\":\"7\"},\"note\":{\"S\":\"new\"}},\
                  \"OldImage\":{\"id\":{\"N\":\"7\"},\"note\":{\"NULL\":true}}}";
    assert_eq!(
        json,
        serde_json::json!({
            "eventID": "100000000000000012345",
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_700_000_000,
                "Keys": {"id": {"N": "7"}},
                "NewImage": {"id": {"N": "7"}, "note": {"S": "new"}},
                "OldImage": {"id": {"N": "7"}, "note": {"NULL": true}},
                "SequenceNumber": "100000000000000012345",
                // What stands between the braces, and one comma before it.
                "SizeBytes": images.len() - 1,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop",
        })
    );
    let parsed: EventRecord = serde_json::from_value(json).unwrap();
    assert_eq!(parsed.event_name, "MODIFY");
    assert_eq!(parsed.change.new_image.into_inner().len(), 2);
}

#[test]
fn a_document_becomes_attributes_and_keeps_every_digit() {
    assert_eq!(
        attribute_of(&Value::Json(
            r#"{"n": 12345678901234567890.10, "l": [true, null, "é\n"], "m": {}}"#.into()
        )),
        r#"{"M":{"n":{"N":"12345678901234567890.10"},"l":{"L":[{"BOOL":true},{"NULL":true},{"S":"é\n"}]},"m":{"M":{}}}}"#
    );
}

#[test]
fn a_document_that_is_too_deep_stays_text_at_the_deepest_level() {
    let deep = "[".repeat(5000) + &"]".repeat(5000);
    let written = attribute_of(&Value::Json(deep.into()));
    assert_eq!(written.matches("{\"L\":").count(), DEEPEST);
    serde_json::from_str::<serde_json::Value>(&written).unwrap();
}

#[test]
fn of_a_repeated_name_the_last_one_counts() {
    assert_eq!(
        attribute_of(&Value::Json(r#"{"a":1,"a":2}"#.into())),
        r#"{"M":{"a":{"N":"2"}}}"#
    );
}

proptest! {
    #[test]
    fn a_written_record_is_json_that_aws_types_parse(
        name in "\\PC{1,12}", text in "\\PC{0,30}", bytes in proptest::collection::vec(any::<u8>(), 0..30)
    ) {
        let table = table();
        let change = Change {
            act: Act::Insert,
            table: &table,
            keys: vec![field(&name, Value::Text(text.as_str().into()))],
            new: Some(vec![
                field(&name, Value::Text(text.as_str().into())),
                field("bytes", Value::Bytes(bytes.clone())),
            ]),
            old: None,
            unchanged: vec!["x"],
            sequence: "1".to_owned(),
            at: Timestamp::from_millis(0),
        };
        prop_assume!(name != "bytes");
        let json: serde_json::Value = serde_json::from_slice(&record(&naming(), &change)).unwrap();
        prop_assert_eq!(json["dynamodb"]["Keys"][&name]["S"].as_str(), Some(text.as_str()));
        let parsed: EventRecord = serde_json::from_value(json).unwrap();
        prop_assert_eq!(parsed.change.stream_view_type.is_some(), true);
    }
}
