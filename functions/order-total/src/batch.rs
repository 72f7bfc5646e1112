//! From an event to totals.

use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::order::{Order, OrderError};

/// The part of Lambda's Kafka event that matters here: records by topic and partition.
#[derive(Debug, Deserialize)]
struct KafkaEvent {
    records: BTreeMap<String, Vec<Record>>,
}

#[derive(Debug, Deserialize)]
struct Record {
    topic: String,
    partition: i32,
    offset: i64,
    /// Base64.
    value: String,
}

/// Why an invocation fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EventError {
    #[error("the event is neither an order nor a batch of a topic")]
    Shape(#[source] serde_json::Error),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("could not write the log")]
    Log(#[from] io::Error),
}

/// The total of an order, or the totals of a batch; a line in `log` for each order.
///
/// A record that is no order is counted and passed over: it would be none the next time either. An
/// order that is invoked directly and is none fails, because its caller can mend it.
pub(crate) fn total(event: Value, log: &mut impl Write) -> Result<Value, EventError> {
    if event.get("records").is_none() {
        let order: Order = serde_json::from_value(event).map_err(EventError::Shape)?;
        let total_cents = order.total_cents()?;
        note(log, &order, total_cents)?;
        return Ok(json!({ "items": order.items.len(), "total_cents": total_cents }));
    }
    let event: KafkaEvent = serde_json::from_value(event).map_err(EventError::Shape)?;
    let (mut orders, mut items, mut rejected, mut sum) = (0, 0, 0, 0_i64);
    for record in event.records.into_values().flatten() {
        let counted = read(&record).and_then(|order| {
            let total_cents = order.total_cents().map_err(|error| error.to_string())?;
            let sum = sum.checked_add(total_cents);
            Ok((order, total_cents, sum.ok_or("the sum does not fit")?))
        });
        match counted {
            Ok((order, total_cents, new_sum)) => {
                note(log, &order, total_cents)?;
                orders += 1;
                items += order.items.len();
                sum = new_sum;
            }
            Err(reason) => {
                let Record {
                    topic,
                    partition,
                    offset,
                    ..
                } = record;
                writeln!(log, "{topic}-{partition}@{offset} rejected: {reason}")?;
                rejected += 1;
            }
        }
    }
    Ok(json!({
        "orders": orders,
        "items": items,
        "rejected": rejected,
        "total_cents": sum,
    }))
}

fn note(log: &mut impl Write, order: &Order, total_cents: i64) -> io::Result<()> {
    let name = order.order.as_deref().unwrap_or("without a number");
    let items = order.items.len();
    writeln!(log, "order {name}: {items} items, {total_cents} cents")
}

fn read(record: &Record) -> Result<Order, String> {
    let bytes = STANDARD.decode(&record.value);
    let bytes = bytes.map_err(|error| format!("the value is not Base64: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("the value is no order: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totalled(event: Value) -> (Result<Value, EventError>, String) {
        let mut log = Vec::new();
        let result = total(event, &mut log);
        (result, String::from_utf8(log).unwrap())
    }

    #[test]
    fn a_batch_is_totalled_and_what_is_no_order_is_counted() {
        let record = |offset: i64, value: &str| json!({"topic": "orders", "partition": 0, "offset": offset, "value": STANDARD.encode(value)});
        let (result, log) = totalled(json!({
            "eventSource": "SelfManagedKafka",
            "records": {"orders-0": [
                record(5, r#"{"order":"a","items":[{"price":1.25,"quantity":2}]}"#),
                record(6, "nonsense"),
                record(7, r#"{"order":"b","items":[{"price":1,"quantity":1}]}"#),
            ]}
        }));
        assert_eq!(
            result.unwrap(),
            json!({"orders": 2, "items": 2, "rejected": 1, "total_cents": 350})
        );
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[0], "order a: 1 items, 250 cents");
        assert!(lines[1].starts_with("orders-0@6 rejected: the value is no order"));
    }

    #[test]
    fn an_event_that_is_no_order_fails() {
        let (result, _) = totalled(json!({"hello": 1}));
        assert!(matches!(result, Err(EventError::Shape(_))));
    }
}
