//! Usage records, their fold into billing windows, price sheets and reports.
//!
//! One [`UsageRecord`] per finished attempt, written by whoever ran it, in the same append as what
//! it settles. [`Metering`] is a second consumer of the log: it folds `tidemill.usage` into
//! `tidemill.billing` with its own checkpoint. A [`Report`] sums the billing topic; [`recount`]
//! counts the usage again with other code and holds the bills against it. Integers only; money
//! appears at the end, in decimal, by a [`PriceSheet`].
//!
//! Invariants: a usage record is in exactly one bill; a report over a range equals the fold of usage
//! over it (M2) and, published again, is byte-identical (M3).
//!
//! What this crate does not know: the dispatcher, functions' code, any cloud's API.

mod usage;

mod totals;
mod window;

mod fold;

mod billing;

mod read;

mod meter;

mod price;

mod bills;

mod report;

mod recount;

mod error;

#[cfg(test)]
mod testing;

pub use billing::{BillingId, BillingRecord, UsageRange};
pub use bills::Bills;
pub use error::Error;
pub use fold::{Fold, Group, Implausible};
pub use meter::{Metering, Progress, Settings};
pub use price::{Cost, Granularity, PriceSheet};
pub use read::{RawRecord, read_billing, read_topic};
pub use recount::{Difference, Verdict, recount};
pub use report::{Adjustment, Grouping, Line, Report};
pub use totals::{Invocations, Totals};
pub use usage::{AttemptId, UsageId, UsageOutcome, UsageRecord};
pub use window::{Span, WINDOW, WindowKey};
