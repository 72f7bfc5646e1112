//! How long events took, from what the log itself holds.
//!
//! An event's record carries the time of its acceptance, the usage record of the attempt that
//! finished it the time of its end; both come from the server's clock.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use anyhow::Context;
use metering::{UsageOutcome, UsageRecord};

use crate::client::Client;
use crate::status::Status;
use crate::topics;

/// Columns for people: a line for each function.
///
/// # Errors
/// A topic cannot be read.
pub(crate) async fn table(client: &Client, status: &Status) -> anyhow::Result<String> {
    let mut accepted = HashMap::new();
    for topic in status.triggers.iter().map(|trigger| &trigger.topic) {
        for line in topics::read(client, topic).await? {
            accepted.insert((topic.clone(), line.partition, line.offset), line.timestamp);
        }
    }
    let mut waits: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for line in topics::read(client, UsageRecord::TOPIC).await? {
        let value = line.value.context("a usage record")?.into_bytes()?;
        let usage: UsageRecord = serde_json::from_slice(&value)?;
        if usage.outcome != UsageOutcome::Success {
            continue;
        }
        for place in places(&usage.event) {
            if let Some(accepted) = accepted.get(&place) {
                waits
                    .entry(usage.function.clone())
                    .or_default()
                    .push(usage.ended_at.as_millis() - accepted);
            }
        }
    }
    let mut table = format!(
        "{:<16} {:>8} {:>10} {:>10} {:>10}\n",
        "FUNCTION", "EVENTS", "P50", "P99", "MAX"
    );
    for (function, mut waits) in waits {
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() * percent / 100).min(waits.len() - 1)];
        let _ = writeln!(
            table,
            "{function:<16} {:>8} {:>7} ms {:>7} ms {:>7} ms",
            waits.len(),
            at(50),
            at(99),
            at(100)
        );
    }
    Ok(table)
}

/// `orders-0@4..7,9..10` as places; none for an event that has no place.
fn places(event: &str) -> Vec<(String, u32, u64)> {
    let parse = || {
        let (partition, ranges) = event.split_once('@')?;
        let (topic, partition) = partition.rsplit_once('-')?;
        let partition = partition.parse().ok()?;
        let mut places = Vec::new();
        for range in ranges.split(',') {
            let (from, to) = range.split_once("..")?;
            let offsets = from.parse::<u64>().ok()?..to.parse().ok()?;
            places.extend(offsets.map(|offset| (topic.to_owned(), partition, offset)));
        }
        Some(places)
    };
    parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_batch_lists_every_event() {
        let of = |offset| ("my-topic".to_owned(), 3, offset);
        assert_eq!(places("my-topic-3@4..6,9..10"), [of(4), of(5), of(9)]);
        assert_eq!(places("0d8c5b1e-request"), []);
    }
}
