//! Figures of a bill, as `billing report --format json` prints it.

use serde_json::Value;

/// Charged invocations in a report.
#[must_use]
pub fn charged(report: &Value) -> u64 {
    let kinds = ["success", "error", "timeout", "out_of_memory", "crashed"];
    sum(report, |line| {
        let invocations = &line["totals"]["invocations"];
        kinds
            .iter()
            .filter_map(|kind| invocations[kind].as_u64())
            .sum()
    })
}

/// The sum of a figure over a report's lines.
#[must_use]
pub fn sum(report: &Value, figure: impl Fn(&Value) -> u64) -> u64 {
    let lines = report["lines"].as_array();
    lines.into_iter().flatten().map(figure).sum()
}
