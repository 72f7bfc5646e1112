//! A report as plain text.

use std::fmt::Write as _;

use rust_decimal::Decimal;

use crate::{Cost, Grouping, Report, Totals};

/// Decimals of an amount: one request at $0.20 per million needs seven.
const MONEY_DECIMALS: u32 = 10;
const GB_SECOND_DECIMALS: u32 = 6;
/// Columns from here on are numbers and stand to the right.
const FIRST_NUMBER: usize = 3;
const COLUMNS: usize = 12;

pub(super) fn render(report: &Report, grouping: Grouping) -> String {
    let currency = report.sheet().currency();
    let mut rows: Vec<[String; COLUMNS]> = vec![[
        "FROM".to_owned(),
        "ACCOUNT".to_owned(),
        "FUNCTION".to_owned(),
        "INVOCATIONS".to_owned(),
        "FAILED".to_owned(),
        "VOID".to_owned(),
        "REQUESTS".to_owned(),
        "BILLED MS".to_owned(),
        "GB-SECONDS".to_owned(),
        format!("REQUESTS {currency}"),
        format!("COMPUTE {currency}"),
        format!("TOTAL {currency}"),
    ]];
    for line in report.lines(grouping) {
        let name = [line.span.start.to_rfc3339(), line.account, line.function];
        rows.push(row(name, report, Some(&line.totals), &line.cost));
    }
    for adjustment in report.adjustments() {
        let name = [
            adjustment.span.start.to_rfc3339(),
            adjustment.account,
            "(free and volume)".to_owned(),
        ];
        rows.push(row(name, report, None, &adjustment.cost));
    }
    let total = ["TOTAL".to_owned(), String::new(), String::new()];
    rows.push(row(total, report, Some(&report.sum()), &report.cost()));

    let range = report.range();
    let mut out = format!(
        "Bill from {} to {}, price sheet {}\n\n",
        range.start,
        range.end,
        report.sheet().name()
    );
    write_aligned(&mut out, &rows);
    out
}

fn row(
    name: [String; FIRST_NUMBER],
    report: &Report,
    totals: Option<&Totals>,
    cost: &Cost,
) -> [String; COLUMNS] {
    let [from, account, function] = name;
    let number = |of: &dyn Fn(&Totals) -> String| totals.map(of).unwrap_or_default();
    [
        from,
        account,
        function,
        number(&|totals| totals.invocations.charged().to_string()),
        number(&|totals| totals.invocations.failed().to_string()),
        number(&|totals| totals.invocations.void.to_string()),
        number(&|totals| totals.requests.to_string()),
        number(&|totals| report.sheet().billed_ms(totals).to_string()),
        number(&|totals| fixed(report.sheet().gb_seconds(totals), GB_SECOND_DECIMALS)),
        fixed(cost.requests, MONEY_DECIMALS),
        fixed(cost.compute, MONEY_DECIMALS),
        fixed(cost.total(), MONEY_DECIMALS),
    ]
}

fn fixed(amount: Decimal, decimals: u32) -> String {
    let places = usize::try_from(decimals).expect("a few decimals");
    format!("{:.places$}", amount.round_dp(decimals))
}

fn write_aligned(out: &mut String, rows: &[[String; COLUMNS]]) {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in rows {
        let mut text = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            if column < FIRST_NUMBER {
                write!(text, "{gap}{cell:<width$}").expect("a string takes all");
            } else {
                write!(text, "{gap}{cell:>width$}").expect("a string takes all");
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
}
