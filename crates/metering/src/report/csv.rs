//! A report as comma-separated values.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::{Grouping, Report};

const COLUMNS: [&str; 23] = [
    "kind",
    "from",
    "to",
    "account",
    "function",
    "invocations",
    "success",
    "error",
    "timeout",
    "out_of_memory",
    "crashed",
    "void",
    "requests",
    "records",
    "init_us",
    "duration_us",
    "billed_ms",
    "gb_seconds",
    "requests_cost",
    "compute_cost",
    "total_cost",
    "currency",
    "price_sheet",
];

pub(super) fn render(report: &Report, grouping: Grouping) -> String {
    let mut out = String::new();
    let sheet = report.sheet();
    write_row(&mut out, COLUMNS);
    for line in report.lines(grouping) {
        let totals = line.totals;
        let outcomes = totals.invocations;
        write_row(
            &mut out,
            [
                "usage".to_owned(),
                line.span.start.to_rfc3339(),
                line.span.end.to_rfc3339(),
                line.account,
                line.function,
                outcomes.charged().to_string(),
                outcomes.success.to_string(),
                outcomes.error.to_string(),
                outcomes.timeout.to_string(),
                outcomes.out_of_memory.to_string(),
                outcomes.crashed.to_string(),
                outcomes.void.to_string(),
                totals.requests.to_string(),
                totals.records.to_string(),
                totals.init_us.to_string(),
                totals.duration_us.to_string(),
                line.billed_ms.to_string(),
                line.gb_seconds.normalize().to_string(),
                line.cost.requests.normalize().to_string(),
                line.cost.compute.normalize().to_string(),
                line.cost.total().normalize().to_string(),
                sheet.currency().to_owned(),
                sheet.name().to_owned(),
            ],
        );
    }
    for adjustment in report.adjustments() {
        let mut row = vec![
            "adjustment".to_owned(),
            adjustment.span.start.to_rfc3339(),
            adjustment.span.end.to_rfc3339(),
            adjustment.account,
        ];
        // Everything between the account and the amounts does not apply.
        row.resize(18, String::new());
        row.extend([
            adjustment.cost.requests.normalize().to_string(),
            adjustment.cost.compute.normalize().to_string(),
            adjustment.cost.total().normalize().to_string(),
            sheet.currency().to_owned(),
            sheet.name().to_owned(),
        ]);
        write_row(&mut out, row);
    }
    out
}

/// Writes one row, fields quoted where they must be.
pub(super) fn write_row<T: AsRef<str>>(out: &mut String, fields: impl IntoIterator<Item = T>) {
    for (index, field) in fields.into_iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(out, "{comma}{}", quoted(field.as_ref())).expect("a string takes all");
    }
    out.push('\n');
}

fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_a_comma_or_a_quote_is_quoted() {
        let mut out = String::new();
        write_row(&mut out, ["a,b", "say \"x\"", "plain", ""]);
        assert_eq!(out, "\"a,b\",\"say \"\"x\"\"\",plain,\n");
    }
}
