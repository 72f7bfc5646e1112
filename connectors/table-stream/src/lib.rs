//! A database's tables as a source of events.
//!
//! **What is read**: the tables of one PostgreSQL publication ([`PostgresSource`]), by logical
//! replication. Every table is read whole once, then every committed insert, update, delete and
//! truncation, into the topic `table.<connection>.<table>` (with `<schema>.` before tables outside of
//! `public`). Tables need a primary key or another replica identity index.
//!
//! **Shape**: the records of DynamoDB Streams, so that handlers written for them run unchanged, or
//! plain JSON ([`Shape`]). A changed key is a row removed and another one inserted. Large values that
//! an update left alone are named as unchanged, unless the table has `REPLICA IDENTITY FULL`. A
//! truncated table, and changes that were lost, are records without a key that every partition gets.
//!
//! **Ordering and duplicates**: changes come in the order of their commits; a record's key is the
//! row's key, so the changes of a row keep their order in our topic. The position lives in our log,
//! written with the records, so each change arrives exactly once, whatever crashes.
//!
//! **Snapshot and stream**: the slot is made first. Rows are read in the order of their key, and what
//! a snapshot has seen of later transactions is left out of the stream (`postgres/window.rs`). A
//! snapshot that is cut off goes on behind its last row under a new one.
//!
//! **Resuming**: the slot is acknowledged only up to what is durable in our log. A slot that is gone,
//! that lost log, was made anew, or is that of another cluster, is a gap: it is logged as an error,
//! counted, told to every topic of its tables, and healed by reading all tables again. After a gap,
//! the rows that follow are all there are.
//!
//! **Large transactions** are sent while they run and kept in a file until they commit. Prepared
//! transactions come when they are committed.
//!
//! **Limits**: PostgreSQL 15 or newer, as a primary. What a table is called decides its topic: a table
//! that is renamed goes on in another one, read from its beginning.

mod config;

mod change;

mod payload;

mod postgres;

pub use config::{Naming, Shape};
pub use postgres::{
    Lsn, NotAnAddress, NotAnLsn, PostgresAddress, PostgresConfig, PostgresConfigError,
    PostgresSource, release as release_postgres, show_position as show_postgres_position,
};
