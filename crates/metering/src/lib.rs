//! Usage records, their fold into billing windows, price sheets and reports.
//!
//! One [`UsageRecord`] per finished attempt, written by whoever ran it, in the same append as what
//! it settles. Metering is a second consumer of the log: it folds `tidemill.usage` into
//! `tidemill.billing` with its own checkpoint. Integers only; money appears at the end, in decimal,
//! by a price sheet.
//!
//! What this crate does not know: the dispatcher, functions' code, any cloud's API.

mod usage;

pub use usage::{AttemptId, UsageId, UsageOutcome, UsageRecord};
