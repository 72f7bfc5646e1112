//! The contract between the pool and what starts instances.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::outcome::error_body;
use crate::{Finished, Invocation, Runtime, Spec, UnsupportedEgress};

/// Starts instances. Isolation is a property of the launcher.
#[async_trait]
pub trait Launcher: Send + Sync {
    /// Starts an instance of `spec`. Returns as soon as the function's own initialisation has
    /// begun; the first [`Instance::invoke`] waits for it and reports its failure.
    ///
    /// Cancel safe: nothing is left running when the future is dropped.
    ///
    /// # Errors
    /// When no instance can be started; see [`LaunchError`].
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError>;
}

/// A started instance of one [`Spec`]. Dropping it kills whatever it started.
#[async_trait]
pub trait Instance: Send {
    /// Runs one invocation to its end and hands the instance back if it can serve another.
    ///
    /// Takes the instance by value, so that a second invocation cannot be started beside the first
    /// (I1). Ends when the function has answered, ended, or run for `Spec::timeout`; in the last
    /// two cases everything that the instance started has been killed. Dropping the future kills
    /// the instance.
    async fn invoke(self: Box<Self>, invocation: Invocation) -> Finished;

    /// Waits until an instance that has served nothing yet is initialised, and has it rest until its
    /// first invocation, which is then not charged for that. False when it could not be; then it must
    /// be shut down.
    async fn prepare(&mut self) -> bool;

    /// Waits until an instance that has served, or was prepared, can serve. False when it has ended by itself
    /// meanwhile, or does not come to an end of what it does after its answer; then it must be
    /// shut down.
    async fn ready(&mut self) -> bool;

    /// Kills everything that the instance started, and returns when it is gone.
    async fn shutdown(self: Box<Self>);
}

/// Why no instance was started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Reject: this machine lacks the interpreter.
    #[error("runtime {runtime} cannot be run: {executable} is not installed")]
    RuntimeMissing {
        /// The runtime asked for.
        runtime: Runtime,
        /// The program that was looked for last.
        executable: String,
    },
    /// Retry: our part of a runtime is compiled on this machine, and could not be.
    #[error("runtime {runtime} cannot be run: our part of it could not be compiled")]
    Compile {
        /// The runtime asked for.
        runtime: Runtime,
        /// What the compiler said.
        #[source]
        source: io::Error,
    },
    /// Reject: the package has no entry point that can be executed.
    #[error(
        "function {function} has no entry point: {} is missing, not executable, or for another kind \
         of machine", path.display()
    )]
    EntryPoint {
        /// The function's name.
        function: String,
        /// The file that was to be executed.
        path: PathBuf,
    },
    /// Reject: the function asks to reach what it cannot be granted.
    #[error("function {function} cannot be run")]
    Egress {
        /// The function's name.
        function: String,
        /// What it asks for.
        #[source]
        source: UnsupportedEgress,
    },
    /// Reject: the function has layers, and there is no sandbox to show them in.
    #[error(
        "function {function} has layers, which functions find at /opt only where they are sandboxed"
    )]
    Layers {
        /// The function's name.
        function: String,
    },
    /// Reject: the function is an image, and there is no sandbox whose root it could be.
    #[error("function {function} is a container image, which runs only where it is sandboxed")]
    Image {
        /// The function's name.
        function: String,
    },
    /// Reject: the package's WebAssembly module cannot be run.
    #[error("function {function} cannot be run: {reason}")]
    Module {
        /// The function's name.
        function: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Retry: the machine refused (processes, descriptors, memory, disk).
    #[error("could not start an instance of function {function}")]
    Start {
        /// The function's name.
        function: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// Retry elsewhere: the pool no longer starts instances.
    #[error("could not start an instance of function {function}: the pool is shutting down")]
    ShuttingDown {
        /// The function's name.
        function: String,
    },
}

impl LaunchError {
    /// Whether the same invocation may succeed when tried again without a change to the function
    /// or to the machine's software.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Start { .. } | Self::Compile { .. } | Self::ShuttingDown { .. } => true,
            Self::RuntimeMissing { .. }
            | Self::EntryPoint { .. }
            | Self::Egress { .. }
            | Self::Layers { .. }
            | Self::Image { .. }
            | Self::Module { .. } => false,
        }
    }

    /// The body that an invoker sees, in AWS's error shape. The error types are those of AWS's
    /// runtime interface emulator (`Runtime.InvalidEntrypoint`, `Sandbox.Failure`).
    #[must_use]
    pub fn body(&self, request_id: &str) -> Bytes {
        let error_type = match self {
            Self::EntryPoint { .. } | Self::RuntimeMissing { .. } | Self::Module { .. } => {
                "Runtime.InvalidEntrypoint"
            }
            Self::Egress { .. }
            | Self::Layers { .. }
            | Self::Image { .. }
            | Self::Compile { .. }
            | Self::Start { .. }
            | Self::ShuttingDown { .. } => "Sandbox.Failure",
        };
        let message = match self {
            Self::Egress { source, .. } => format!("{self}: {source}"),
            Self::EntryPoint { .. }
            | Self::RuntimeMissing { .. }
            | Self::Layers { .. }
            | Self::Image { .. }
            | Self::Module { .. }
            | Self::Compile { .. }
            | Self::Start { .. }
            | Self::ShuttingDown { .. } => self.to_string(),
        };
        error_body(
            error_type,
            &format!("RequestId: {request_id} Error: {message}"),
        )
    }
}
