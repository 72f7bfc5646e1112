//! How an invocation ended, in our words and in AWS's.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::Instance;

/// The largest response, in bytes: 6 MiB and 100 bytes (AWS's runtime interface emulator, 2026).
pub const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024 + 100;

/// AWS's name for a runtime that has ended by itself.
pub(crate) const EXIT_ERROR: &str = "Runtime.ExitError";

/// One invocation that has ended.
pub struct Finished {
    /// How it ended.
    pub outcome: Outcome,
    /// What it took, measured outside the instance.
    pub metrics: Metrics,
    /// The end of its log, at most 4 KiB, cut at the front.
    pub log_tail: Bytes,
    /// The instance, when it can serve another invocation. `None` from [`Pool::invoke`].
    ///
    /// [`Pool::invoke`]: crate::Pool::invoke
    pub instance: Option<Box<dyn Instance>>,
}

/// What an invocation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// From the start of the process to its first request for an event. Only for the invocation
    /// that started the instance.
    pub init: Option<Duration>,
    /// From handing out the event to the arrival of the last byte of the response.
    pub duration: Duration,
    /// The most memory that the instance has used since it started, in MiB, rounded up.
    pub max_memory_mib: u32,
}

impl Metrics {
    /// The time to bill, in milliseconds rounded up: initialisation and duration together, as AWS
    /// bills since August 2025.
    #[must_use]
    pub fn billed_ms(&self) -> u64 {
        let total = self.init.unwrap_or_default() + self.duration;
        u64::try_from(total.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function answered.
    Success(Bytes),
    /// The function, or its initialisation, reported an error.
    Error {
        /// The body as the function reported it: JSON with `errorMessage`, `errorType` and, where
        /// the runtime has one, `stackTrace`.
        body: Bytes,
        /// The error's type, for the report line and for metrics.
        error_type: String,
    },
    /// The function ran for `after` without an answer and was killed.
    Timeout {
        /// The function's timeout.
        after: Duration,
    },
    /// The function passed its memory limit and was killed.
    OutOfMemory,
    /// The function's process ended without an answer.
    Crashed {
        /// How it ended, in the words AWS uses: `exit status 1`, `signal: killed`.
        description: String,
    },
}

impl Outcome {
    /// The value of the header `X-Amz-Function-Error`: `None` on success. AWS answers `Unhandled`
    /// for whatever a current runtime reports.
    #[must_use]
    pub const fn function_error(&self) -> Option<&'static str> {
        match self {
            Self::Success(_) => None,
            Self::Error { .. }
            | Self::Timeout { .. }
            | Self::OutOfMemory
            | Self::Crashed { .. } => Some("Unhandled"),
        }
    }

    /// AWS's name for the error, `None` on success.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        match self {
            Self::Success(_) => None,
            Self::Error { error_type, .. } => Some(error_type),
            Self::Timeout { .. } => Some("Sandbox.Timedout"),
            Self::OutOfMemory => Some("Runtime.OutOfMemory"),
            Self::Crashed { .. } => Some(EXIT_ERROR),
        }
    }

    /// The body that the invoker sees: the function's own, or the error in AWS's shape.
    #[must_use]
    pub fn body(&self, request_id: &str) -> Bytes {
        let error = |message: &str| {
            let error_type = self.error_type().unwrap_or_default();
            error_body(
                error_type,
                &format!("RequestId: {request_id} Error: {message}"),
            )
        };
        match self {
            Self::Success(body) | Self::Error { body, .. } => body.clone(),
            Self::Timeout { after } => error(&timeout_message(*after)),
            Self::OutOfMemory | Self::Crashed { .. } => {
                error(&self.exit_message().unwrap_or_default())
            }
        }
    }

    /// What AWS says of a process that ended before it answered, `None` if it did not.
    pub(crate) fn exit_message(&self) -> Option<String> {
        let description = match self {
            Self::Success(_) | Self::Error { .. } | Self::Timeout { .. } => return None,
            Self::OutOfMemory => "signal: killed",
            Self::Crashed { description } => description,
        };
        Some(if description == "exit status 0" {
            "Runtime exited without providing a reason".to_owned()
        } else {
            format!("Runtime exited with error: {description}")
        })
    }

    /// A response beyond [`MAX_RESPONSE_BYTES`].
    pub(crate) fn response_too_large(bytes: u64) -> Self {
        let error_type = "Function.ResponseSizeTooLarge";
        let message = format!(
            "Response payload size ({bytes} bytes) exceeded maximum allowed payload size \
             ({MAX_RESPONSE_BYTES} bytes)."
        );
        Self::Error {
            body: error_body(error_type, &message),
            error_type: error_type.to_owned(),
        }
    }
}

/// `Task timed out after 3.00 seconds`.
pub(crate) fn timeout_message(after: Duration) -> String {
    format!("Task timed out after {:.2} seconds", after.as_secs_f64())
}

/// AWS's error object.
pub(crate) fn error_body(error_type: &str, message: &str) -> Bytes {
    let body = json!({ "errorType": error_type, "errorMessage": message });
    Bytes::from(body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(outcome: &Outcome) -> serde_json::Value {
        serde_json::from_slice(&outcome.body("id-1")).unwrap()
    }

    #[test]
    fn a_timeout_is_told_in_the_words_of_aws() {
        let outcome = Outcome::Timeout {
            after: Duration::from_secs(3),
        };
        assert_eq!(
            shown(&outcome),
            json!({
                "errorType": "Sandbox.Timedout",
                "errorMessage": "RequestId: id-1 Error: Task timed out after 3.00 seconds",
            })
        );
    }

    #[test]
    fn an_exit_is_told_in_the_words_of_aws() {
        let outcome = Outcome::Crashed {
            description: "exit status 1".to_owned(),
        };
        assert_eq!(
            shown(&outcome),
            json!({
                "errorType": "Runtime.ExitError",
                "errorMessage": "RequestId: id-1 Error: Runtime exited with error: exit status 1",
            })
        );
        assert_eq!(
            shown(&Outcome::OutOfMemory)["errorType"],
            "Runtime.OutOfMemory"
        );
    }

    #[test]
    fn only_success_has_no_function_error() {
        assert_eq!(Outcome::Success(Bytes::new()).function_error(), None);
        assert_eq!(Outcome::OutOfMemory.function_error(), Some("Unhandled"));
    }

    #[test]
    fn billed_time_is_rounded_up_once_over_both_parts() {
        let metrics = Metrics {
            init: Some(Duration::from_micros(200_110)),
            duration: Duration::from_micros(123_450),
            max_memory_mib: 0,
        };
        assert_eq!(metrics.billed_ms(), 324);
        let nothing = Metrics::default();
        assert_eq!(nothing.billed_ms(), 0);
    }
}
