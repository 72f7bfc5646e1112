//! Function instances: what runs one invocation of a function, and the pool that keeps them warm.
//!
//! The dispatcher hands a [`Spec`] and an [`Invocation`] to the [`Pool`]; the pool takes a warm
//! instance of exactly that revision or has a [`Launcher`] start one; the instance runs the
//! invocation and the pool takes it back. [`ProcessLauncher`] starts one operating-system process
//! per instance, in a sandbox unless its user has chosen [`Isolation::None`], which speaks AWS's
//! Runtime API over a listener of its own. [`WasmLauncher`] has WebAssembly run by one worker process
//! for each account, behind the same walls, on a fresh instance of the module for every event.
//! [`Launchers`] is both.
//!
//! Invariants:
//! - I1: an instance runs one invocation at a time. [`Instance::invoke`] takes it by value.
//! - I2: an instance never serves two versions or two accounts. Its [`Spec`] is fixed for its life
//!   and is the pool's key.
//! - I3: nothing outlives its deadline. When an invocation times out, or its caller gives up, the
//!   whole process tree is killed.
//! - I4: a sandboxed function reaches nothing that it was not granted; see [`Egress`].
//!
//! This crate knows nothing of the log, of triggers, of retries or of bills: it measures, and
//! others account. A payload is never logged.

mod egress;
mod environment;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod journal;
mod launcher;
mod launchers;
mod lines;
mod log_format;
mod logs;
mod outcome;
mod platform_event;
mod pool;
mod process;
mod runtime;
mod runtime_api;
mod spec;
mod wasm;

pub use egress::{
    Destination, EGRESS, Egress, Endpoint, Endpoints, NoDestination, Permitted, UnsupportedEgress,
};
pub use launcher::{Instance, LaunchError, Launcher};
pub use launchers::Launchers;
pub use log_format::{LogFormat, Severity};
pub use logs::{LogChunk, LogKind, LogQueue, LogReceiver, LogSink, Taken, log_queue};
pub use outcome::{Finished, MAX_RESPONSE_BYTES, Metrics, Outcome};
pub use pool::{InstanceCount, Pool, PoolConfig, Provisioned};
pub use process::{Isolation, ProcessConfig, ProcessLauncher};
pub use runtime::{Runtime, UnsupportedRuntime};
pub use spec::{Image, Initialization, Invocation, Spec};
pub use wasm::{WasmConfig, WasmLauncher, protocol as wasm_protocol};
