//! PostgreSQL by logical replication.

mod lsn;

mod config;

mod source;

mod open;

mod session;

mod snapshot;

mod stream;

mod spool;

mod window;

mod position;

mod outbox;

mod table;

mod pgoutput;

mod value;

mod alarm;

mod catalog;

mod wire;

mod tls;

mod failure;

pub use config::PostgresConfig;
pub use lsn::{Lsn, NotAnLsn};
pub use source::{PostgresConfigError, PostgresSource};
