//! `ReportBatchItemFailures`: which items of a batch failed.
//!
//! An item of a Kafka batch is `{"partition": "topic-0", "offset": 100}`; the older spelling
//! `{"topic-partition": …}` is read too; one of a table's stream is a sequence number. As AWS has it: no answer, an empty one or an empty list
//! means that everything succeeded; anything that cannot be understood, or names what was not in
//! the batch, that nothing did.

use std::collections::BTreeSet;

use dispatcher::BatchAnswer;
use event_log::{Offset, Partition, StoredRecord, TopicName};
use serde_json::Value;

/// Reads the answer to a batch of a topic.
pub(super) fn of_topic(
    topic: &TopicName,
    partition: Partition,
    records: &[StoredRecord],
    answer: &[u8],
) -> BatchAnswer {
    let place = format!("{topic}-{partition}");
    let batch: BTreeSet<Offset> = records.iter().map(|stored| stored.offset).collect();
    read(answer, |item| {
        offset(item, &place).filter(|offset| batch.contains(offset))
    })
}

/// Reads an answer whose items `find` finds in the batch.
pub(super) fn read(answer: &[u8], find: impl Fn(&Value) -> Option<Offset>) -> BatchAnswer {
    if answer.iter().all(u8::is_ascii_whitespace) {
        return BatchAnswer::Done;
    }
    let failures = match serde_json::from_slice(answer) {
        Ok(Value::Null) => return BatchAnswer::Done,
        Ok(Value::Object(mut members)) => members.remove("batchItemFailures"),
        Ok(_) | Err(_) => return BatchAnswer::Unreadable,
    };
    let failures = match failures {
        None | Some(Value::Null) => return BatchAnswer::Done,
        Some(Value::Array(failures)) if failures.is_empty() => return BatchAnswer::Done,
        Some(Value::Array(failures)) => failures,
        Some(_) => return BatchAnswer::Unreadable,
    };
    let failed: Option<BTreeSet<Offset>> = failures
        .iter()
        .map(|failure| find(failure.get("itemIdentifier")?))
        .collect();
    match failed {
        Some(failed) => BatchAnswer::Failed(failed.into_iter().collect()),
        None => BatchAnswer::Unreadable,
    }
}

fn offset(item: &Value, place: &str) -> Option<Offset> {
    let partition = item
        .get("partition")
        .or_else(|| item.get("topic-partition"))?;
    (partition.as_str()? == place).then_some(())?;
    item.get("offset")?.as_u64().map(Offset::new)
}
