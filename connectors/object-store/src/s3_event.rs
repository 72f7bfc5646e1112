//! A change in the shape in which AWS hands it to functions.

use bytes::Bytes;
use clock::Timestamp;
use event::{Event, EventId, SourceId};
use serde_json::json;

use crate::Config;
use crate::entry::{Change, State};

/// Who a listing says has changed an object: nobody it knows.
const UNKNOWN: &str = "";

/// The event of `change` in the batch that leads to `generation`, seen at `now`.
///
/// Its id and its sequencer come from the generation: a key changes at most once in each, so a
/// redelivery repeats the id and later changes of a key have larger sequencers.
pub(crate) fn event(config: &Config, change: &Change, generation: u64, now: Timestamp) -> Event {
    let bucket = &config.bucket;
    let arn = format!("arn:aws:s3:::{bucket}");
    let mut object = json!({
        "key": form_encoded(&change.key),
        "sequencer": format!("{generation:016X}"),
    });
    let (name, time) = match &change.state {
        State::Created(entry) => {
            object["size"] = json!(entry.size);
            object["eTag"] = json!(entry.etag.as_deref().unwrap_or(UNKNOWN));
            ("ObjectCreated:Put", entry.modified)
        }
        State::Removed => ("ObjectRemoved:Delete", now),
    };
    let value = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": config.region,
        "eventTime": time.to_rfc3339(),
        "eventName": name,
        "userIdentity": {"principalId": UNKNOWN},
        "requestParameters": {"sourceIPAddress": UNKNOWN},
        "responseElements": {"x-amz-request-id": UNKNOWN, "x-amz-id-2": UNKNOWN},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": config.account},
                "arn": arn,
            },
            "object": object,
        },
    });
    Event {
        id: EventId::new(format!("{generation}/{}", change.key)),
        source: SourceId::new(arn),
        kind: format!("com.amazonaws.s3.{}", name.replace(':', ".")),
        subject: Some(change.key.clone()),
        time,
        key: Some(Bytes::copy_from_slice(change.key.as_bytes())),
        content_type: Some("application/json".to_owned()),
        data: Some(value.to_string().into()),
        extensions: Vec::new(),
    }
}

/// A key as AWS writes it in events: form encoding that leaves slashes alone, a plus for a space.
pub(crate) fn form_encoded(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::s3::S3Event;

    use super::*;
    use crate::entry::Entry;

    #[test]
    fn the_types_that_handlers_use_parse_what_is_written() {
        let config = Config {
            bucket: "inbox".to_owned(),
            prefix: None,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            partitions: 1,
        };
        let created = State::Created(Entry {
            etag: Some("e1".to_owned()),
            size: 3,
            modified: Timestamp::from_millis(1_795_000_000_123),
        });
        for (state, name) in [
            (created, "ObjectCreated:Put"),
            (State::Removed, "ObjectRemoved:Delete"),
        ] {
            let change = Change {
                key: "in box/é+.csv".to_owned(),
                state,
            };
            let event = event(&config, &change, 7, Timestamp::from_millis(1));
            let record = String::from_utf8(event.data.unwrap().to_vec()).unwrap();
            let parsed: S3Event =
                serde_json::from_str(&format!("{{\"Records\":[{record}]}}")).unwrap();
            let record = &parsed.records[0];
            assert_eq!(record.event_name.as_deref(), Some(name));
            assert_eq!(record.s3.bucket.name.as_deref(), Some("inbox"));
            let key = record.s3.object.url_decoded_key.as_deref();
            assert_eq!(
                key.or(record.s3.object.key.as_deref()),
                Some("in+box/%C3%A9%2B.csv")
            );
            assert_eq!(
                record.s3.object.sequencer.as_deref(),
                Some("0000000000000007")
            );
        }
    }
}
