//! A stream's record as Lambda hands it to functions: the object that a handler finds in `Records[]`
//! (Amazon DynamoDB API reference, `Record`, `StreamRecord` and `AttributeValue`).

use std::collections::HashMap;

use aws_sdk_dynamodbstreams::primitives::Blob;
use aws_sdk_dynamodbstreams::types::{AttributeValue, Identity, Record, StreamRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clock::Timestamp;
use event::{Event, EventId, SourceId};
use serde_json::{Map, Value, json};

use crate::change::{self, Field, TableName};
use crate::{Naming, payload};

/// Why a record cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotARecord {
    #[error("a record of the stream has no {0}")]
    Without(&'static str),
    #[error("attribute {0} has a type that is not known here")]
    OfUnknownType(String),
}

type Item = HashMap<String, AttributeValue>;

/// The event that carries `record`. Its key is the item's, its id the record's.
pub(super) fn event(
    source: &SourceId,
    naming: &Naming,
    table: &TableName,
    record: &Record,
) -> Result<Event, NotARecord> {
    let missing = |member| move || NotARecord::Without(member);
    let id = record.event_id().ok_or_else(missing("eventID"))?;
    let name = record.event_name().ok_or_else(missing("eventName"))?;
    let change = record.dynamodb().ok_or_else(missing("dynamodb"))?;
    let keys = change.keys().ok_or_else(missing("Keys"))?;
    let at = change.approximate_creation_date_time();
    let at = at.and_then(|at| at.to_millis().ok()).unwrap_or_default();
    Ok(Event {
        id: EventId::new(id.to_owned()),
        source: source.clone(),
        kind: format!("tidemill.table.{}", name.as_str().to_lowercase()),
        subject: Some(table.name.clone()),
        time: Timestamp::from_millis(at),
        key: Some(key(keys)?),
        content_type: Some("application/json".to_owned()),
        data: Some(document(naming, table, record, change)?.to_string().into()),
        extensions: Vec::new(),
    })
}

/// The sequence number of a record.
pub(super) fn number(record: &Record) -> Result<&str, NotARecord> {
    let change = record.dynamodb();
    let number = change.and_then(|change| change.sequence_number());
    number.ok_or(NotARecord::Without("SequenceNumber"))
}

fn document(
    naming: &Naming,
    table: &TableName,
    record: &Record,
    change: &StreamRecord,
) -> Result<Value, NotARecord> {
    let Naming {
        region,
        account,
        connection,
        ..
    } = naming;
    let mut dynamodb = Map::new();
    if let Some(at) = change.approximate_creation_date_time() {
        dynamodb.insert("ApproximateCreationDateTime".to_owned(), at.secs().into());
    }
    for (name, item) in [
        ("Keys", change.keys()),
        ("NewImage", change.new_image()),
        ("OldImage", change.old_image()),
    ] {
        if let Some(item) = item {
            dynamodb.insert(name.to_owned(), image(item)?);
        }
    }
    if let Some(number) = change.sequence_number() {
        dynamodb.insert("SequenceNumber".to_owned(), number.into());
    }
    if let Some(bytes) = change.size_bytes() {
        dynamodb.insert("SizeBytes".to_owned(), bytes.into());
    }
    if let Some(view) = change.stream_view_type() {
        dynamodb.insert("StreamViewType".to_owned(), view.as_str().into());
    }
    let mut document = json!({
        "eventID": record.event_id(),
        "eventName": record.event_name().map(|name| name.as_str()),
        "eventVersion": record.event_version().unwrap_or("1.1"),
        "eventSource": "aws:dynamodb",
        "awsRegion": record.aws_region().unwrap_or(region),
        "dynamodb": dynamodb,
        "eventSourceARN": format!(
            "arn:aws:dynamodb:{region}:{account}:table/{}/stream/{connection}",
            table.name,
        ),
    });
    // An item that has outlived its time is removed by the service itself.
    if let Some(who) = record.user_identity() {
        document["userIdentity"] = identity(who);
    }
    Ok(document)
}

fn identity(who: &Identity) -> Value {
    json!({"principalId": who.principal_id(), "type": who.r#type()})
}

fn image(item: &Item) -> Result<Value, NotARecord> {
    let pairs = item.iter();
    let pairs = pairs.map(|(name, value)| Ok((name.clone(), attribute(name, value)?)));
    pairs.collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

fn attribute(name: &str, value: &AttributeValue) -> Result<Value, NotARecord> {
    let bytes = |blob: &Blob| STANDARD.encode(blob);
    Ok(match value {
        AttributeValue::B(blob) => json!({"B": bytes(blob)}),
        AttributeValue::Bool(value) => json!({"BOOL": value}),
        AttributeValue::Bs(blobs) => json!({"BS": blobs.iter().map(bytes).collect::<Vec<_>>()}),
        AttributeValue::L(items) => {
            let items = items.iter().map(|item| attribute(name, item));
            json!({"L": items.collect::<Result<Vec<_>, _>>()?})
        }
        AttributeValue::M(members) => json!({"M": image(members)?}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Ns(numbers) => json!({"NS": numbers}),
        AttributeValue::Null(value) => json!({"NULL": value}),
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::Ss(texts) => json!({"SS": texts}),
        _ => return Err(NotARecord::OfUnknownType(name.to_owned())),
    })
}

/// The key of an item as the keys of other tables are, in the order of names.
fn key(keys: &Item) -> Result<Bytes, NotARecord> {
    let mut fields = Vec::with_capacity(keys.len());
    for (name, value) in keys {
        let value = match value {
            AttributeValue::S(text) => change::Value::Text(text.into()),
            AttributeValue::N(number) => change::Value::Number(number.into()),
            AttributeValue::B(blob) => change::Value::Bytes(blob.as_ref().to_owned()),
            _ => return Err(NotARecord::OfUnknownType(name.clone())),
        };
        fields.push(Field { name, value });
    }
    fields.sort_unstable_by_key(|field| field.name);
    Ok(payload::key(&fields))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodbstreams::primitives::DateTime;
    use aws_sdk_dynamodbstreams::types::{OperationType, StreamViewType};

    use super::*;
    use crate::Shape;

    fn text(text: &str) -> AttributeValue {
        AttributeValue::S(text.to_owned())
    }

    fn record() -> Record {
        let keys = [
            ("sort", AttributeValue::N("1.50".to_owned())),
            ("id", text("a")),
        ];
        let mut change = StreamRecord::builder()
            .approximate_creation_date_time(DateTime::from_millis(1_479_499_740_250))
            .sequence_number("4421584500000000017450439091")
            .size_bytes(26)
            .stream_view_type(StreamViewType::NewAndOldImages);
        for (name, value) in keys {
            change = change.keys(name, value.clone()).new_image(name, value);
        }
        let tags = AttributeValue::M([("x".to_owned(), AttributeValue::Bool(true))].into());
        let list = AttributeValue::L(vec![AttributeValue::Null(true), tags]);
        change = change
            .new_image("list", list)
            .new_image("blob", AttributeValue::B(Blob::new([0, 1])))
            .new_image("set", AttributeValue::Ns(vec!["1".to_owned()]));
        Record::builder()
            .event_id("c4ca4238a0b923820dcc509a6f75849b")
            .event_name(OperationType::Modify)
            .event_version("1.1")
            .aws_region("eu-west-1")
            .dynamodb(change.build())
            .build()
    }

    fn carried(record: &Record) -> Result<Event, NotARecord> {
        let naming = Naming {
            connection: "shop".to_owned(),
            home: None,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            shape: Shape::DynamoDb,
            partitions: 1,
        };
        let table = TableName {
            schema: "dynamodb".to_owned(),
            name: "orders".to_owned(),
        };
        event(
            &SourceId::new("/tables/shop/orders"),
            &naming,
            &table,
            record,
        )
    }

    #[test]
    fn a_record_reaches_functions_as_it_does_at_aws() {
        let event = carried(&record()).unwrap();
        assert_eq!(
            event.key.as_deref(),
            Some(&br#"{"id":"a","sort":1.50}"#[..])
        );
        assert_eq!(event.kind, "tidemill.table.modify");
        let data = event.data.unwrap();
        let found: Value = serde_json::from_slice(&data).unwrap();
        let expected = json!({
            "eventID": "c4ca4238a0b923820dcc509a6f75849b",
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_479_499_740,
                "Keys": {"id": {"S": "a"}, "sort": {"N": "1.50"}},
                "NewImage": {
                    "id": {"S": "a"},
                    "sort": {"N": "1.50"},
                    "list": {"L": [{"NULL": true}, {"M": {"x": {"BOOL": true}}}]},
                    "blob": {"B": "AAE="},
                    "set": {"NS": ["1"]},
                },
                "SequenceNumber": "4421584500000000017450439091",
                "SizeBytes": 26,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop",
        });
        assert_eq!(found, expected);
        let parsed: Result<aws_lambda_events::dynamodb::EventRecord, _> =
            serde_json::from_slice(&data);
        assert!(parsed.is_ok(), "{parsed:?}");
    }

    #[test]
    fn a_record_without_its_id_is_refused() {
        let mut record = record();
        record.event_id = None;
        assert!(
            carried(&record)
                .unwrap_err()
                .to_string()
                .contains("eventID")
        );
    }
}
