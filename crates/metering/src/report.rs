//! Reports: the billing topic, summed and priced.
//!
//! A report is a pure function of the bills, the range and the price sheet: no clock, no order of
//! arrival. Published again it is the same bytes (invariant M3), and its sums are those of the usage
//! in the range (invariant M2).

mod csv;
mod focus;
mod json;
mod table;

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::{BillingRecord, Bills, Cost, PriceSheet, Span, Totals, WindowKey};

/// Bills of a range under a price sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    range: Span,
    sheet: PriceSheet,
    totals: BTreeMap<WindowKey, Totals>,
}

/// Which usage shares a line, next to account and function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// All of the range.
    #[default]
    Function,
    /// One day, UTC.
    Day,
    /// One billing window.
    Window,
}

/// One line: what a function used in a span, at the list price of the first tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The span, cut to the report's range.
    pub span: Span,
    /// The account that pays.
    pub account: String,
    /// The function.
    pub function: String,
    /// What was used.
    pub totals: Totals,
    /// Milliseconds charged under the price sheet.
    pub billed_ms: u64,
    /// GB-seconds charged under the price sheet.
    pub gb_seconds: Decimal,
    /// What it costs before allowances and volume prices.
    pub cost: Cost,
}

/// What an account's month grants on top of the lines: the free allowance and volume prices, as an
/// amount to add, zero or negative.
///
/// Computed from the part of the month that lies in the report's range: ask for whole months to get
/// the amount of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    /// The part of the calendar month that lies in the range.
    pub span: Span,
    /// The account that it is granted to.
    pub account: String,
    /// The amounts.
    pub cost: Cost,
}

impl Report {
    /// The report over `range` (every window that begins in it), or over all there is.
    ///
    /// A bill that comes more than once counts once.
    #[must_use]
    pub fn from_billing(
        records: impl IntoIterator<Item = BillingRecord>,
        range: Option<Span>,
        sheet: PriceSheet,
    ) -> Self {
        let mut bills = Bills::default();
        for record in records {
            bills.add(&record);
        }
        bills.report(range, sheet)
    }

    pub(crate) fn new(
        range: Option<Span>,
        sheet: PriceSheet,
        totals: BTreeMap<WindowKey, Totals>,
    ) -> Self {
        let range = range.unwrap_or_else(|| Span {
            start: totals
                .keys()
                .map(|key| key.window.start)
                .min()
                .unwrap_or_default(),
            end: totals
                .keys()
                .map(|key| key.window.end)
                .max()
                .unwrap_or_default(),
        });
        Self {
            range,
            sheet,
            totals,
        }
    }

    /// The range it covers.
    #[must_use]
    pub fn range(&self) -> Span {
        self.range
    }

    /// The prices it was made with.
    #[must_use]
    pub fn sheet(&self) -> &PriceSheet {
        &self.sheet
    }

    /// The sums by window key, as they were billed.
    #[must_use]
    pub fn totals(&self) -> &BTreeMap<WindowKey, Totals> {
        &self.totals
    }

    /// The lines, ordered by span, account and function.
    #[must_use]
    pub fn lines(&self, grouping: Grouping) -> Vec<Line> {
        let mut groups: BTreeMap<(Span, &str, &str), Totals> = BTreeMap::new();
        for (key, totals) in &self.totals {
            let span = match grouping {
                Grouping::Function => self.range,
                Grouping::Day => self.cut(Span::day(key.window.start)),
                Grouping::Window => self.cut(key.window),
            };
            let group = (span, key.account.as_str(), key.function.as_str());
            *groups.entry(group).or_default() += *totals;
        }
        groups
            .into_iter()
            .map(|((span, account, function), totals)| Line {
                span,
                account: account.to_owned(),
                function: function.to_owned(),
                totals,
                billed_ms: self.sheet.billed_ms(&totals),
                gb_seconds: self.sheet.gb_seconds(&totals),
                cost: self.sheet.list_cost(&totals),
            })
            .collect()
    }

    /// What the months of each account grant; those that grant nothing are left out.
    #[must_use]
    pub fn adjustments(&self) -> Vec<Adjustment> {
        self.months()
            .into_iter()
            .map(|((span, account), totals)| {
                let (list, due) = (
                    self.sheet.list_cost(&totals),
                    self.sheet.month_cost(&totals),
                );
                Adjustment {
                    span,
                    account: account.to_owned(),
                    cost: Cost {
                        requests: due.requests - list.requests,
                        compute: due.compute - list.compute,
                    },
                }
            })
            .filter(|adjustment| !adjustment.cost.total().is_zero())
            .collect()
    }

    /// What the range costs altogether: lines and adjustments.
    #[must_use]
    pub fn cost(&self) -> Cost {
        let mut cost = Cost::default();
        for totals in self.months().into_values() {
            let month = self.sheet.month_cost(&totals);
            cost.requests += month.requests;
            cost.compute += month.compute;
        }
        cost
    }

    /// The sum of everything in the range.
    #[must_use]
    pub fn sum(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.totals.values() {
            sum += *totals;
        }
        sum
    }

    /// Plain text with aligned columns, for people. Amounts are rounded to 10 decimals, half to
    /// even; the total is rounded on its own, not summed from rounded lines.
    #[must_use]
    pub fn to_table(&self, grouping: Grouping) -> String {
        table::render(self, grouping)
    }

    /// CSV (RFC 4180 but for line feeds alone), one row for each line and adjustment, amounts in
    /// full.
    #[must_use]
    pub fn to_csv(&self, grouping: Grouping) -> String {
        csv::render(self, grouping)
    }

    /// One JSON document, amounts as decimal strings in full.
    #[must_use]
    pub fn to_json(&self, grouping: Grouping) -> String {
        json::render(self, grouping)
    }

    /// CSV in the columns of FOCUS 1.0 (FinOps Open Cost and Usage Specification): for each function
    /// and day one row for requests and one for compute, and a credit row for each adjustment.
    #[must_use]
    pub fn to_focus(&self) -> String {
        focus::render(self)
    }

    fn months(&self) -> BTreeMap<(Span, &str), Totals> {
        let mut months: BTreeMap<(Span, &str), Totals> = BTreeMap::new();
        for (key, totals) in &self.totals {
            let span = self.cut(Span::month(key.window.start));
            *months.entry((span, &key.account)).or_default() += *totals;
        }
        months
    }

    fn cut(&self, span: Span) -> Span {
        Span {
            start: span.start.max(self.range.start),
            end: span.end.min(self.range.end),
        }
    }
}

#[cfg(test)]
mod tests;
