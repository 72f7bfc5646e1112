//! PostgreSQL by logical replication.

mod lsn;

mod address;

mod config;

mod source;

mod open;

mod session;

mod snapshot;

mod stream;

mod view;

mod position;

mod pgoutput;

mod value;

mod alarm;

mod catalog;

mod wire;

mod tls;

mod failure;

mod release;

pub use address::{NotAnAddress, PostgresAddress};
pub use config::PostgresConfig;
pub use lsn::{Lsn, NotAnLsn};
pub use release::release;
pub use source::{PostgresConfigError, PostgresSource, show_position};
