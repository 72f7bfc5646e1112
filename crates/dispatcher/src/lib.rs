//! From log records to settled invocations.
//!
//! [`Invoker`] is the one way to run a function: it holds the concurrency permits, calls the
//! instance pool and accounts for what was used. Synchronous calls go straight through it;
//! asynchronous ones it only writes down. The [`Dispatcher`] reads topics and that queue, asks the
//! pure schedule what to do, runs batches through the invoker, and settles what has ended: usage,
//! dead letters and checkpoint in one append.
//!
//! Invariants: D1 a checkpoint never passes an unfinished event, D2 in-flight invocations never
//! exceed the function's concurrency, D3 events of one key reach an ordered trigger in log order, D4
//! every event ends in exactly one recorded state per trigger, M1 one usage record per finished
//! attempt, none twice.
//!
//! What this crate knows: the log, functions, triggers, instances, usage. What it does not know:
//! any cloud's JSON ([`Payloads`] encodes it), the Kafka protocol, how a process is started.

mod settings;

mod functions;
mod payloads;

mod attempt;
mod concurrency;
mod invoke;
mod invoker;
mod provisioning;
mod queue;
mod to_the_end;

mod runtime;
mod schedule;

pub use concurrency::ReservationError;
pub use functions::{Folders, Functions};
pub use invoke::{FunctionResult, InvokeError, InvokeRequest, InvokeResponse, Throttle};
pub use invoker::{Invoker, InvokerParts};
pub use payloads::{BatchAnswer, Payloads};
pub use provisioning::ProvisionError;
pub use queue::ASYNC_TOPIC;
pub use runtime::{Dispatcher, DispatcherParts, DispatcherStatus, TriggerStatus};
pub use schedule::Tallies;
pub use settings::Settings;

#[cfg(test)]
mod tests;
