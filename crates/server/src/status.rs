//! What the server can say of its triggers.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use dispatcher::{ASYNC_TOPIC, DispatcherStatus};
use function::Registry;
use serde::{Deserialize, Serialize};

/// Reads the status.
#[derive(Debug)]
pub(crate) struct StatusSource {
    pub(crate) registry: Arc<Registry>,
    pub(crate) dispatcher: DispatcherStatus,
}

impl StatusSource {
    /// Every trigger as it stands. A trigger that is off shows what it did while it ran.
    ///
    /// # Errors
    /// The log cannot say where topics end.
    pub(crate) async fn read(&self) -> Result<Status, event_log::Error> {
        let mut lines: BTreeMap<_, TriggerLine> = BTreeMap::new();
        let triggers = self.registry.triggers();
        for trigger in &triggers {
            let line = TriggerLine {
                trigger: trigger.id.to_string(),
                function: Some(trigger.target().to_string()),
                topic: trigger.topic().to_string(),
                enabled: trigger.enabled,
                last_result: self
                    .dispatcher
                    .last_result(trigger.id)
                    .unwrap_or_else(|| "-".to_owned()),
                ..TriggerLine::default()
            };
            lines.insert(Some(trigger.id), line);
        }
        for partition in self.dispatcher.everywhere(&triggers).await? {
            if let Some(line) = lines.get_mut(&partition.trigger)
                && line.last_result == "-"
            {
                line.last_result.clone_from(&partition.last_result);
            }
            let line = lines
                .entry(partition.trigger)
                .or_insert_with(|| TriggerLine {
                    trigger: "async".to_owned(),
                    topic: ASYNC_TOPIC.to_owned(),
                    enabled: true,
                    last_result: "-".to_owned(),
                    ..TriggerLine::default()
                });
            line.lag += partition.lag;
            line.in_flight += partition.in_flight;
            line.succeeded += partition.tallies.succeeded;
            line.filtered += partition.tallies.filtered;
            line.failed += partition.tallies.failed;
            line.expired += partition.tallies.expired;
        }
        Ok(Status {
            triggers: lines.into_values().collect(),
        })
    }
}

/// Every trigger, and the queue of asynchronous invocations as one more.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Status {
    pub(crate) triggers: Vec<TriggerLine>,
}

/// One trigger over all its partitions.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct TriggerLine {
    /// The trigger's id, or `async`.
    pub(crate) trigger: String,
    /// The function; none for the queue of asynchronous invocations, which serves all.
    pub(crate) function: Option<String>,
    /// The topic.
    pub(crate) topic: String,
    /// Whether it runs.
    pub(crate) enabled: bool,
    /// Events that are not finished.
    pub(crate) lag: u64,
    /// Events in invocations that run now.
    pub(crate) in_flight: u64,
    /// Events that a function finished.
    pub(crate) succeeded: u64,
    /// Events that no filter selected.
    pub(crate) filtered: u64,
    /// Events given up after their attempts.
    pub(crate) failed: u64,
    /// Events given up for their age.
    pub(crate) expired: u64,
    /// What became of the last batch.
    pub(crate) last_result: String,
}

impl TriggerLine {
    /// Events that have come to an end.
    pub(crate) fn ended(&self) -> u64 {
        self.succeeded + self.filtered + self.failed + self.expired
    }
}

impl Status {
    /// Whether every event has been settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.triggers
            .iter()
            .all(|trigger| trigger.lag == 0 && trigger.in_flight == 0)
    }

    /// Columns for people.
    pub(crate) fn to_table(&self) -> String {
        let mut table = format!(
            "{:<24} {:<24} {:>8} {:>9} {:>10} {:>9} {:>7} {:>8}  {}\n",
            "FUNCTION",
            "TOPIC",
            "LAG",
            "IN FLIGHT",
            "SUCCEEDED",
            "FILTERED",
            "FAILED",
            "EXPIRED",
            "LAST RESULT"
        );
        for line in &self.triggers {
            let function = line.function.as_deref().unwrap_or("(asynchronous)");
            let off = if line.enabled { "" } else { " (off)" };
            let _ = writeln!(
                table,
                "{:<24} {:<24} {:>8} {:>9} {:>10} {:>9} {:>7} {:>8}  {}{off}",
                function,
                line.topic,
                line.lag,
                line.in_flight,
                line.succeeded,
                line.filtered,
                line.failed,
                line.expired,
                line.last_result
            );
        }
        table
    }
}
