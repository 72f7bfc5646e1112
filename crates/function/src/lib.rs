//! Functions and triggers: what users deploy and what connects it to events.
//!
//! Domain types with AWS's words and limits, the filter language, code packages, and the registry
//! that keeps them in an object store. What this crate does not know: Lambda's JSON, how an
//! instance runs, how events are dispatched.

mod function;
mod trigger;

pub use function::{
    AsyncPolicy, CodePackage, Destination, Function, FunctionName, NameError, Qualifier,
};
pub use trigger::{
    Backoff, BatchPolicy, Ordering, RetryPolicy, StartingPosition, Trigger, TriggerId,
    TriggerSource,
};
