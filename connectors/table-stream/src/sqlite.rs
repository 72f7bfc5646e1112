//! SQLite by a change table.
//!
//! SQLite has no log that others could read, so the connector installs triggers. They write each change
//! into `_tidemill_changes`, in the transaction that makes it: whoever writes, in whatever process, it
//! is there exactly if it was committed, in the order of commits. The numbers of changes are dense,
//! so one that is missing is noticed.
//!
//! - `triggers`: what is installed, as text.
//! - `layout`: what a table's changes look like.
//! - `install`: holding what is installed against the tables there are, in one transaction.
//! - `attach`: finding out where to go on, and whether anything was lost since.
//! - `look`: what has come since, and the next rows of a snapshot, in one read transaction. The rows
//!   show all changes up to the ones read with them, so a change counts for rows that were read, and
//!   for no others: no gap, no overlap.
//! - `wake`: hints that the file was written. The change table is the truth.

mod config;

mod source;

mod session;

mod wake;

mod attach;

mod install;

mod layout;

mod triggers;

mod look;

mod snapshot;

mod rows;

mod stored;

mod position;

mod failure;

pub use config::SqliteConfig;
pub use source::{SqliteConfigError, SqliteSource, show_position};
