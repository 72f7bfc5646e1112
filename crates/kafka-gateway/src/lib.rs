//! The Kafka protocol over any event log that is its own broker.
//!
//! A thin door: requests become calls of the [`BrokerLog`](event_log::BrokerLog) contract, batches
//! pass through as the bytes they arrived in, committed offsets are checkpoints of the log, and
//! transactions are its own too.
//!
//! - An acknowledged record is durable, whatever `acks` says; answers keep the order of requests.
//! - Produce requests are submitted when they are decoded, so that those a client sends without
//!   waiting share a group commit.
//! - A waiting fetch is woken by the log's tails; group deadlines are timers that a decision named.
//!   Nothing polls.
//! - Whatever a client sends costs bounded memory: frames, claimed counts, answers that nobody
//!   reads and group state all have a limit.
//! - Where clients must be known, nothing but authentication is decoded before they are; addresses
//!   that other machines reach are served only with SASL and TLS.
//! - A setting that is not applied is refused by name.
//!
//! What this crate does not know: functions, triggers, buckets, configuration files.

mod apis;
mod asked;
mod authentication;
mod broker;
mod config;
mod configs;
mod connection;
mod error;
mod error_code;
mod fetch;
mod frames;
mod gateway;
mod groups;
mod log_dirs;
mod metadata;
mod meter;
mod offsets;
mod partitions;
mod pipeline;
mod produce;
mod producers;
mod sasl;
mod security;
mod strangers;
mod topic_pages;
mod topic_settings;
mod topics;
mod transactions;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{Advertised, GatewayConfig, Replication, TopicCreation};
pub use error::Error;
pub use gateway::Gateway;
pub use security::{Login, Sasl, Security, Tls, Users};
pub use topic_settings::TopicDefaults;
