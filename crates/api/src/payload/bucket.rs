//! Records of a bucket as S3 event notifications.
//!
//! A record's value is the event already; its CloudEvents type and subject say event name and key,
//! so that selecting needs no JSON.

use bytes::Bytes;
use event::Record;
use event_log::StoredRecord;
use function::{BucketMatch, TriggerSource};
use serde_json::{Value, json};

/// What CloudEvents types of S3 events begin with (CloudEvents adapter for AWS S3, 1.0.2).
const TYPE_PREFIX: &str = "com.amazonaws.s3.";

/// Whether the notification configuration wants the record.
pub(super) fn selects(source: &TriggerSource, record: &Record) -> bool {
    let text = |header| std::str::from_utf8(record.header(header)?).ok();
    let kind = text("ce_type").and_then(|kind| kind.strip_prefix(TYPE_PREFIX));
    let (Some(kind), Some(key)) = (kind, text("ce_subject")) else {
        return false;
    };
    let event_name = kind.replacen('.', ":", 1);
    BucketMatch::of(source).is_some_and(|wanted| wanted.matches(&event_name, key))
}

/// The event for these records, with the id of the configuration that wanted them.
pub(super) fn encode(configuration_id: &str, records: &[StoredRecord]) -> Bytes {
    let events: Vec<Value> = records
        .iter()
        .filter_map(|stored| event(&stored.record))
        .map(|mut event| {
            if let Some(s3) = event.get_mut("s3").and_then(Value::as_object_mut) {
                s3.insert("configurationId".to_owned(), json!(configuration_id));
            }
            event
        })
        .collect();
    json!({"Records": events}).to_string().into()
}

/// The event that a record carries; `None` when it carries none.
pub(super) fn event(record: &Record) -> Option<Value> {
    serde_json::from_slice(record.value.as_deref()?).ok()
}
