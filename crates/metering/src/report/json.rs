//! A report as one JSON document.

use rust_decimal::Decimal;
use serde::Serialize;

use crate::{Cost, Grouping, Report, Span, Totals};

#[derive(Serialize)]
struct Document<'a> {
    from: String,
    to: String,
    price_sheet: &'a str,
    currency: &'a str,
    lines: Vec<Row>,
    adjustments: Vec<Grant>,
    total: Amounts,
}

#[derive(Serialize)]
struct Row {
    from: String,
    to: String,
    account: String,
    function: String,
    totals: Totals,
    billed_ms: u64,
    gb_seconds: Decimal,
    cost: Amounts,
}

#[derive(Serialize)]
struct Grant {
    from: String,
    to: String,
    account: String,
    cost: Amounts,
}

/// Amounts of money as decimal strings.
#[derive(Serialize)]
struct Amounts {
    requests: Decimal,
    compute: Decimal,
    total: Decimal,
}

pub(super) fn render(report: &Report, grouping: Grouping) -> String {
    let (from, to) = ends(report.range());
    let document = Document {
        from,
        to,
        price_sheet: report.sheet().name(),
        currency: report.sheet().currency(),
        lines: report
            .lines(grouping)
            .into_iter()
            .map(|line| {
                let (from, to) = ends(line.span);
                Row {
                    from,
                    to,
                    account: line.account,
                    function: line.function,
                    totals: line.totals,
                    billed_ms: line.billed_ms,
                    gb_seconds: line.gb_seconds.normalize(),
                    cost: line.cost.into(),
                }
            })
            .collect(),
        adjustments: report
            .adjustments()
            .into_iter()
            .map(|adjustment| {
                let (from, to) = ends(adjustment.span);
                Grant {
                    from,
                    to,
                    account: adjustment.account,
                    cost: adjustment.cost.into(),
                }
            })
            .collect(),
        total: report.cost().into(),
    };
    let mut text = serde_json::to_string_pretty(&document).expect("a report is plain data");
    text.push('\n');
    text
}

fn ends(span: Span) -> (String, String) {
    (span.start.to_rfc3339(), span.end.to_rfc3339())
}

impl From<Cost> for Amounts {
    fn from(cost: Cost) -> Self {
        Self {
            requests: cost.requests.normalize(),
            compute: cost.compute.normalize(),
            total: cost.total().normalize(),
        }
    }
}
