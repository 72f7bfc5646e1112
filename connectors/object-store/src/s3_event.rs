//! A change in the shape in which AWS hands it to functions.

use bytes::Bytes;
use clock::Timestamp;
use event::{Event, EventId, SourceId};
use serde_json::json;

use crate::Config;
use crate::manifest::{Change, State};

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
fn form_encoded(key: &str) -> String {
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
