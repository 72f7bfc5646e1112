//! What a load driver knows of its own work, and what it demands of the log afterwards.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

use crate::Line;

/// Ids that were sent, and those of them that were acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    attempted: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
}

impl Ledger {
    /// Notes an id before it is sent.
    pub fn attempt(&mut self, id: &str) {
        self.attempted.insert(id.to_owned());
    }

    /// Notes that the server took it.
    pub fn acknowledge(&mut self, id: &str) {
        self.acknowledged.insert(id.to_owned());
    }

    /// How many were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Checks what a topic holds: every acknowledged id, nothing that was never sent, nothing twice.
    ///
    /// # Errors
    /// Names the first ids that are lost, invented or repeated.
    pub fn check(&self, found: impl IntoIterator<Item = String>) -> Result<()> {
        let mut seen = BTreeSet::new();
        for id in found {
            ensure!(self.attempted.contains(&id), "{id} was never sent");
            ensure!(seen.insert(id.clone()), "{id} is there twice");
        }
        let lost: Vec<_> = self.acknowledged.difference(&seen).take(10).collect();
        ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        Ok(())
    }
}

/// Checks usage: every id once, nothing charged for what was cut off, and every event of `topic`
/// succeeded exactly once for each of `triggers`.
///
/// # Errors
/// Says what is counted twice or not at all.
pub fn check_usage(
    usage: &[Line],
    topic: &str,
    events: &BTreeMap<i32, i64>,
    triggers: usize,
) -> Result<()> {
    let mut ids = BTreeSet::new();
    let mut settled: BTreeMap<(String, i32), BTreeSet<i64>> = BTreeMap::new();
    for Line { value, .. } in usage {
        let id = value["usage_id"].as_str().context("usage_id")?;
        ensure!(ids.insert(id.to_owned()), "usage id {id} is there twice");
        if value["outcome"] == "void" {
            ensure!(value["billed_ms"] == 0, "void and charged: {value}");
            continue;
        }
        let event = value["event"].as_str().context("event")?;
        let Some(places) = event.strip_prefix(&format!("{topic}-")) else {
            continue;
        };
        let (partition, ranges) = places.split_once('@').context("a place")?;
        let trigger = value["trigger"].as_str().context("trigger")?.to_owned();
        if value["outcome"] != "success" {
            continue;
        }
        let finished = settled.entry((trigger, partition.parse()?)).or_default();
        for offset in offsets(ranges)? {
            ensure!(
                finished.insert(offset),
                "{topic}-{partition}@{offset} succeeded twice"
            );
        }
    }
    let want: usize = events.values().filter(|end| **end > 0).count() * triggers;
    ensure!(
        settled.len() == want,
        "{} of {want} partitions were settled",
        settled.len()
    );
    for ((trigger, partition), finished) in settled {
        let end = events.get(&partition).copied().unwrap_or(0);
        ensure!(
            finished == (0..end).collect(),
            "{topic}-{partition} by {trigger}: {} of {end} events succeeded",
            finished.len()
        );
    }
    Ok(())
}

/// `4..7,9..10` as offsets.
fn offsets(ranges: &str) -> Result<Vec<i64>> {
    let mut offsets = Vec::new();
    for range in ranges.split(',') {
        let (from, to) = range.split_once("..").context("a range")?;
        offsets.extend(from.parse::<i64>()?..to.parse()?);
    }
    Ok(offsets)
}

/// One past the last offset of each partition.
#[must_use]
pub fn ends(lines: &[Line]) -> BTreeMap<i32, i64> {
    let mut ends = BTreeMap::new();
    for line in lines {
        let end: &mut i64 = ends.entry(line.partition).or_default();
        *end = (*end).max(line.offset + 1);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_a_repeated_and_an_invented_id_are_each_found() {
        let mut ledger = Ledger::default();
        ledger.attempt("a");
        ledger.attempt("b");
        ledger.acknowledge("a");
        let check = |ids: &[&str]| ledger.check(ids.iter().map(ToString::to_string));
        assert!(check(&["a"]).is_ok());
        assert!(check(&["a", "b"]).is_ok());
        assert!(check(&["b"]).is_err());
        assert!(check(&["a", "a"]).is_err());
        assert!(check(&["a", "c"]).is_err());
    }
}
