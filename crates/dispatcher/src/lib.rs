//! From log records to settled invocations.
//!
//! [`Invoker`] is the one way to run a function: it holds the concurrency permits, calls the
//! instance pool and accounts for what was used. Synchronous calls go straight through it;
//! asynchronous ones it only writes down.
//!
//! What this crate knows: the log, functions, triggers, instances, usage. What it does not know:
//! any cloud's JSON ([`Payloads`] encodes it), the Kafka protocol, how a process is started.

#![allow(
    dead_code,
    reason = "the trigger runtime, which uses the rest, comes next"
)]

mod attempt;
mod concurrency;
mod functions;
mod invoke;
mod invoker;
mod payloads;
mod queue;
mod schedule;
mod settings;

pub use concurrency::ReservationError;
pub use functions::Functions;
pub use invoke::{FunctionResult, InvokeError, InvokeRequest, InvokeResponse, Throttle};
pub use invoker::{Invoker, InvokerParts};
pub use payloads::{BatchAnswer, Payloads};
pub use queue::ASYNC_TOPIC;
pub use settings::Settings;

#[cfg(test)]
mod tests;
