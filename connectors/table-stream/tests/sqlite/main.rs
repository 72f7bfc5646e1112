//! SQLite sources against files that `sqlite3` writes from other processes: what arrives in the log is
//! what was committed.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read the environment, wait for real processes, and fail by panicking"
)]

mod crash;
mod file;
mod healing;
mod ledger;
mod rows;
mod run;
mod schema;
mod snapshot;
