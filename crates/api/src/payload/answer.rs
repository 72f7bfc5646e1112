//! `ReportBatchItemFailures`: which items of a batch failed.
//!
//! An item of a Kafka batch is `{"partition": "topic-0", "offset": 100}`; the older spelling
//! `{"topic-partition": …}` is read too. As AWS has it: no answer, an empty one or an empty list
//! means that everything succeeded; anything that cannot be understood, or names what was not in
//! the batch, that nothing did.

use std::collections::BTreeSet;

use dispatcher::BatchAnswer;
use event_log::{Offset, Partition, StoredRecord, TopicName};
use serde_json::Value;

pub(super) fn read(
    topic: &TopicName,
    partition: Partition,
    records: &[StoredRecord],
    answer: &[u8],
) -> BatchAnswer {
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
    let place = format!("{topic}-{partition}");
    let batch: BTreeSet<Offset> = records.iter().map(|stored| stored.offset).collect();
    let failed: Option<BTreeSet<Offset>> = failures
        .iter()
        .map(|failure| offset(failure, &place).filter(|offset| batch.contains(offset)))
        .collect();
    match failed {
        Some(failed) => BatchAnswer::Failed(failed.into_iter().collect()),
        None => BatchAnswer::Unreadable,
    }
}

fn offset(failure: &Value, place: &str) -> Option<Offset> {
    let item = failure.get("itemIdentifier")?;
    let partition = item
        .get("partition")
        .or_else(|| item.get("topic-partition"))?;
    (partition.as_str()? == place).then_some(())?;
    item.get("offset")?.as_u64().map(Offset::new)
}
