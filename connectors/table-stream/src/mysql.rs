//! MySQL and MariaDB by their binary log.
//!
//! - `address`, `config`, `server`: where to connect, what must be set there, what tables look like.
//! - `open`: finding out where to go on, and whether anything was lost since.
//! - `snapshot`: reading whole tables, each under a view whose place in the log is known exactly.
//! - `binlog`: the connection that the log comes by, packet by packet.
//! - `event`, `mapped`, `row`, `charset`, `value`: what is in the packets. Values become the text that
//!   the server itself would write for them, so that rows are the same from a snapshot and the stream.
//! - `statement`: what a statement in the log does to tables.
//! - `stream`: packets to whole transactions, which are put aside until it is known that they commit.
//! - `session`: snapshot, stream and position put together.

mod logged;

mod address;

mod config;

mod source;

mod open;

mod session;

mod server;

mod snapshot;

mod stream;

mod statement;

mod binlog;

mod event;

mod mapped;

mod row;

mod charset;

mod value;

mod position;

mod gap;

mod failure;

pub use address::{MysqlAddress, NotAMysqlAddress};
pub use config::MysqlConfig;
pub use source::{MysqlConfigError, MysqlSource, show_position};
