//! A database's tables as a source of events.
//!
//! **What is read**: the tables of one PostgreSQL publication ([`PostgresSource`]), by logical
//! replication, tables of a MySQL or MariaDB server ([`MysqlSource`]), by the binary log, or those of a
//! SQLite file ([`SqliteSource`]), by triggers. Every table is read whole once, then every committed
//! insert, update, delete and truncation; of a table of DynamoDB ([`DynamoDbSource`]) every change that its
//! stream has and those that follow. They go into the topic `table.<connection>.<table>` (with `<schema>.`
//! before PostgreSQL's tables outside of `public` and MySQL's of another database than the address's).
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
//! # PostgreSQL
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
//! that is renamed goes on in another one, read from its beginning. Tables need a primary key or another
//! replica identity index.
//!
//! # MySQL and MariaDB
//!
//! **The server** logs whole rows (`binlog_format = ROW`, `binlog_row_image = FULL`) with the names and types
//! of their columns (`binlog_row_metadata = FULL`), and is refused with what to set if it does not. Tables are
//! InnoDB's and have a primary key.
//!
//! **Snapshot and stream**: the place in the log is noted first. Each table is read under a view whose
//! place in the log is known, and what comes before that place is left out of the stream
//! (`mysql/snapshot.rs`). With MySQL that takes a lock for the moment in which the view is taken, with
//! MariaDB none. While a table is read, changes of its columns wait.
//!
//! **Resuming**: by the log's file and the byte in it, which are ours only if the file was begun by the same
//! server at the same second. Log that is gone, begun anew, or shorter than it was is a gap, and so are
//! statements in the place of rows, rows without all columns, and incidents: all tables are read again. Nothing keeps the log for us.
//!
//! **Transactions** are put aside until they commit, above a mebibyte in a file. Prepared ones come when they
//! are committed; while there are any, the log is read again from the oldest after a restart.
//!
//! **Tables**: one that is dropped is one truncated. One that another takes the name of, or whose partitions
//! are dropped or exchanged, is read again.
//!
//! **Values** are the text that the server itself would write: times in UTC, words of enumerations and sets,
//! numbers with every digit. MariaDB's JSON is text, as it is to MariaDB. Character sets with one byte for a
//! character, and UTF-8, -16 and -32.
//!
//! **What cannot be read** is refused by name: geometry, vectors, UUIDs and addresses of MariaDB, compressed
//! columns, other character sets, fractions as keys; MariaDB's compressed log, MySQL's parts of documents. A
//! transaction that MySQL has compressed is unpacked in memory. A server that has taken another one's place
//! has another log: a gap.
//!
//! # DynamoDB
//!
//! **The stream** of a table is read shard by shard, each once its parent was read to its end, four times a
//! second: it has nothing to wait on. Records are handed over as they are, in their shape only; their ids
//! are the stream's. Rows from before the stream was switched on are not read.
//!
//! **Resuming**: behind the last record of every shard. What the stream has dropped since (it keeps 24
//! hours), a shard that nobody saw, and another stream of the table are gaps: told, and followed by
//! what there is. Nothing can be read again, so readers who need the whole table have to scan it then.
//!
//! # SQLite
//!
//! **The file** stays usable by `sqlite3` and any other program, in any journal mode. The connector
//! puts triggers and four tables named `_tidemill_…` into it ([`SqliteSource::detach`] takes them out).
//! Programs should wait for locks (`PRAGMA busy_timeout`), as ever when several share a file: the
//! connector writes when it removes what was acknowledged, once it has been quiet for a second or after
//! each thousand of changes, and when tables change.
//!
//! **Keys** are primary keys; where there is none, the rowid, which `VACUUM` may change. Rows that
//! `REPLACE` removes are told as removed. Values keep their storage class: integers all 64 bits, blobs
//! as bytes; text that is no UTF-8 is bytes, infinities are text.
//!
//! **Schema changes** are noticed by the next look at the file, and triggers made anew. What was written
//! between a change and that look is told, too, under the columns of before; what it put into new
//! columns follows, as it is by then. A table that is dropped is one truncated. One that is made anew
//! (as most tools for migrations do), or whose triggers were dropped, is a gap: told, and read again.
//! While the triggers are there SQLite refuses to drop a column; drop them in the same transaction.
//!
//! **Gaps** are found by what the file says of itself: each change has the next number, the last one that
//! was read stays, and the file is marked with its reader. Another file, an older copy, and removed
//! changes are told and healed by reading all tables again.
//!
//! **What cannot be caught**: writers that switch triggers off; rows that `REPLACE` removes because of a
//! unique index of an expression or of some rows only, which is said when such a table is attached; the
//! right order of a change and of what a trigger that is newer than ours makes of it, until the new
//! trigger was noticed; views, virtual tables and tables with more than 990 columns.

mod config;

mod change;

mod table;

mod payload;

mod position;

mod window;

mod coverage;

mod outbox;

mod spool;

mod failure;

mod postgres;

mod sqlite;

mod mysql;

mod dynamodb;

pub use config::{Naming, Shape};
pub use dynamodb::{
    DynamoDbConfig, DynamoDbConfigError, DynamoDbKeys, DynamoDbSource,
    show_position as show_dynamodb_position,
};
pub use mysql::{
    MysqlAddress, MysqlConfig, MysqlConfigError, MysqlSource, NotAMysqlAddress,
    show_position as show_mysql_position,
};
pub use postgres::{
    Lsn, NotAnAddress, NotAnLsn, PostgresAddress, PostgresConfig, PostgresConfigError,
    PostgresSource, release as release_postgres, show_position as show_postgres_position,
};
pub use sqlite::{
    SqliteConfig, SqliteConfigError, SqliteSource, show_position as show_sqlite_position,
};
