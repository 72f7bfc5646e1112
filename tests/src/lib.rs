//! What whole-system tests share: a real server process, real clients, and their ledgers.
//!
//! A test starts [`Server::start`] on a folder of its own, speaks to it with unmodified clients and
//! looks at effects. Nothing here knows the server's insides: only its command line, its ports and
//! its topics.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read the environment, give deadlines to real processes and say what they skip"
)]

mod bootstrap;
mod brokers;
mod clients;
mod cloud;
mod database;
mod kafka;
mod ledger;
mod mariadb;
mod moto;
mod own_store;
mod proxy;
mod report;
mod rounds;
mod secured_broker;
mod server;
mod skip;
mod store;
mod topic;
mod wait;
mod zip;

pub use bootstrap::order_total;
pub use brokers::Brokers;
pub use clients::{Cli, map_topic, s3};
pub use cloud::Cloud;
pub use database::Database;
pub use kafka::{
    Consumed, consume_all, create_topic, delete_topic, grow_topic, logs_in, producer, publish,
    publish_to,
};
pub use ledger::{Ledger, check_usage, ends};
pub use mariadb::Mariadb;
pub use moto::Moto;
pub use own_store::OwnStore;
pub use proxy::Proxy;
pub use report::{charged, sum};
pub use rounds::crash_rounds;
pub use secured_broker::SecuredBroker;
pub use server::{Server, free_port, repository, run};
pub use skip::{program, skip};
pub use store::{ForeignStore, s3_at};
pub use topic::{Line, topic_lines};
pub use wait::{eventually, until_settled};
pub use zip::{zip_file, zip_of};
