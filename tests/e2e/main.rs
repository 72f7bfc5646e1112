//! The whole system through its own ports, driven by clients that have never heard of it.
//!
//! One binary, so that it is linked once. Each module is a claim about what users see; each test
//! starts a server of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read the environment and give deadlines to real processes"
)]

mod bad_input;
mod billing;
mod board;
mod clients;
mod connectors;
mod crash;
mod demo;
mod failures;
mod function_versions;
mod images;
mod kafka_clients;
mod layers;
mod lifecycle;
mod log_command;
mod main_job;
mod roles;
mod runtimes;
mod s3_clients;
mod s3s_e2e;
mod service;
mod shared_store;
mod transactions;
mod versions;
mod wasm;
