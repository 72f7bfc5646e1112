//! The log on a real Apache Kafka cluster: the contract, and what happens when parts of it fail.

#![expect(
    clippy::disallowed_methods,
    reason = "tests read the environment and give deadlines to real processes"
)]

mod conformance;
mod faults;
mod node;
