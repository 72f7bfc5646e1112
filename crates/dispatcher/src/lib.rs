//! From log records to settled invocations.
//!
//! [`Invoker`] is the one way to run a function: it holds the concurrency permits, calls the
//! instance pool and writes the usage record. The trigger runtime reads topics, asks the pure core
//! what to do, invokes through it and settles each finished batch.
//!
//! What this crate knows: the log, functions, triggers, instances, usage. What it does not know:
//! any cloud's JSON ([`Payloads`] encodes it), the Kafka protocol, how a process is started.

mod invoke;
mod payloads;

pub use invoke::{FunctionResult, InvokeError, InvokeRequest, InvokeResponse, Throttle};
pub use payloads::{BatchAnswer, Payloads};
