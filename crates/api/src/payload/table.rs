//! Changes of a table as DynamoDB Streams' events.
//!
//! A record's value is the element of `Records[]` already, written by the connector that read the
//! table; its CloudEvents id is the change's sequence number.
//!
//! What happened to a table as a whole has no counterpart in DynamoDB, and types of its events may know three
//! names only. So it reaches the functions that ask for it: by a filter that names it.

use bytes::Bytes;
use dispatcher::BatchAnswer;
use event::Record;
use event_log::{Offset, StoredRecord};
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer;

/// What CloudEvents types of tables' changes begin with.
const TYPE_PREFIX: &str = "tidemill.table.";

/// What happens to tables as a whole: CloudEvents types, and the names that filters ask for.
const OF_WHOLE_TABLES: [(&str, &str); 2] = [
    ("tidemill.table.truncate", "TRUNCATE"),
    ("tidemill.table.gap", "GAP"),
];

/// Whether a connector wrote the record, for anybody may write to a topic, and one of the trigger's `filters`
/// asks for it where that is needed.
pub(super) fn selects(filters: &[String], record: &Record) -> bool {
    let kind = text(record, "ce_type").unwrap_or_default();
    match OF_WHOLE_TABLES.iter().find(|(whole, _)| *whole == kind) {
        Some((_, name)) => filters.iter().any(|filter| names(filter, name)),
        None => kind.starts_with(TYPE_PREFIX),
    }
}

/// Whether an event pattern has this among the values of `eventName`.
fn names(pattern: &str, event_name: &str) -> bool {
    let pattern: Value = serde_json::from_str(pattern).unwrap_or_default();
    let values = pattern["eventName"].as_array();
    values.is_some_and(|values| values.iter().any(|value| value == event_name))
}

/// The event for these records (AWS developer guide, "Using AWS Lambda with Amazon DynamoDB", 2026).
/// Values are passed on as they were written, with every digit of their numbers.
pub(super) fn encode(records: &[StoredRecord]) -> Bytes {
    let bytes = records.iter().map(|stored| stored.record.payload_len());
    let mut event = Vec::with_capacity(16 + bytes.sum::<usize>());
    event.extend_from_slice(b"{\"Records\":[");
    let changes = records.iter().filter_map(|stored| raw(&stored.record));
    for (index, change) in changes.enumerate() {
        if index > 0 {
            event.push(b',');
        }
        event.extend_from_slice(change.get().as_bytes());
    }
    event.extend_from_slice(b"]}");
    event.into()
}

/// The change that a record carries; `None` when it carries none.
pub(super) fn change(record: &Record) -> Option<Value> {
    serde_json::from_slice(record.value.as_deref()?).ok()
}

/// Reads `ReportBatchItemFailures`: the change with the lowest sequence number that failed, and
/// everything behind it, is tried again, as with AWS's streams.
pub(super) fn answer(records: &[StoredRecord], answer: &[u8]) -> BatchAnswer {
    let read = answer::read(answer, |item| {
        let number = item.as_str()?;
        let mut records = records.iter();
        let failed = records.find(|stored| text(&stored.record, "ce_id") == Some(number));
        failed.map(|stored| stored.offset)
    });
    match read {
        BatchAnswer::Failed(failed) => {
            let lowest = failed.into_iter().min();
            let behind = |offset: &Offset| lowest.is_none_or(|lowest| *offset >= lowest);
            let offsets = records.iter().map(|stored| stored.offset);
            BatchAnswer::Failed(offsets.filter(behind).collect())
        }
        BatchAnswer::Done => BatchAnswer::Done,
        BatchAnswer::Unreadable => BatchAnswer::Unreadable,
    }
}

fn raw(record: &Record) -> Option<&RawValue> {
    serde_json::from_slice(record.value.as_deref()?).ok()
}

fn text<'a>(record: &'a Record, header: &str) -> Option<&'a str> {
    std::str::from_utf8(record.header(header)?).ok()
}
