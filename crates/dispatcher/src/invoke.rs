//! What a direct caller asks and gets.

use bytes::Bytes;
use function::{FunctionName, QualifiedName, Version};

/// One invocation, synchronous or asynchronous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvokeRequest {
    /// The function as the caller named it, which the function sees in the ARN that was invoked.
    pub target: QualifiedName,
    /// The request's id, a UUID: also the event's id in the usage record.
    pub request_id: String,
    /// The event as the caller sent it.
    pub payload: Bytes,
    /// The client context, JSON in ASCII.
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id` as it came.
    pub trace_id: Option<String>,
}

/// A finished synchronous invocation; its usage record is durable.
#[derive(Clone, Debug)]
pub struct InvokeResponse {
    /// What the function answered.
    pub result: FunctionResult,
    /// The last 4 KiB of its log.
    pub log_tail: Bytes,
    /// The version that ran.
    pub executed_version: Version,
}

/// How a function answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionResult {
    /// Its result.
    Success(Bytes),
    /// Its error document (AWS's `errorMessage`, `errorType`, …): it threw, timed out, exited.
    FunctionError(Bytes),
}

/// Why an invocation did not run.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// Reject: there is no such function, version or alias.
    #[error("function {target} does not exist")]
    UnknownFunction {
        /// What was asked for.
        target: QualifiedName,
    },
    /// Retry later: too many invocations run.
    #[error("function {function} is throttled: {reason}")]
    Throttled {
        /// The function asked for.
        function: FunctionName,
        /// Which limit was met.
        reason: Throttle,
    },
    /// Reject: no instance of this function can be started.
    #[error("start function {function}")]
    Launch {
        /// The function asked for.
        function: FunctionName,
        /// The version that was to run.
        version: Version,
        /// Why.
        #[source]
        source: instance::LaunchError,
    },
    /// Retry later: what the invocation needs from the log or the registry is not to be had.
    #[error("{act}")]
    Unavailable {
        /// The failed act.
        act: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Which concurrency limit was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// The account's.
    Account,
    /// The function's own reservation.
    Reserved,
}

impl std::fmt::Display for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Account => "the account's concurrency is used up",
            Self::Reserved => "the function's reserved concurrency is used up",
        })
    }
}
