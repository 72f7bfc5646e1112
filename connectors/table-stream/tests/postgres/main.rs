//! PostgreSQL sources against a real PostgreSQL: what arrives in the log is what was committed.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests read the environment, wait for real processes, and fail by panicking"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod crash;
mod database;
mod debezium;
mod healing;
mod oracle;
mod rows;
mod run;
mod schema;
mod security;
mod snapshot;
mod stream;
