//! What the platform says in an instance's log: AWS Lambda's lines of text, or the events of its
//! Telemetry API (schema 2022-12-13), which the JSON format is made of.

use std::time::Duration;

use clock::Timestamp;
use serde_json::{Value, json};

use crate::runtime_api::{ExtensionState, Stream};
use crate::{Metrics, Outcome, Severity};

/// The status of what went well.
pub(crate) const SUCCESS: &str = "success";

/// Something that the platform says.
#[derive(Debug)]
pub(crate) enum PlatformEvent<'a> {
    /// A process starts.
    InitStart { runtime: &'a str },
    /// The runtime has done with initialisation.
    InitRuntimeDone {
        phase: &'a str,
        status: &'a str,
        error_type: Option<&'a str>,
    },
    /// Initialisation is over. Text tells only of one that failed or took too long.
    InitReport {
        took: Duration,
        phase: &'a str,
        status: &'a str,
        error_type: Option<&'a str>,
    },
    /// An extension, once the initialisation is over.
    Extension(&'a ExtensionState),
    /// An extension that subscribed to telemetry, then.
    Subscription {
        name: &'a str,
        streams: &'a [Stream],
    },
    /// An invocation begins.
    Start { id: &'a str, version: &'a str },
    /// The runtime has done with an invocation; extensions may not have.
    RuntimeDone {
        id: &'a str,
        status: &'a str,
        error_type: Option<&'a str>,
        took: Duration,
        produced: usize,
    },
    /// Why an invocation did not end by itself.
    Fault { id: &'a str, outcome: &'a Outcome },
    /// An invocation has ended.
    End {
        id: &'a str,
        outcome: &'a Outcome,
        metrics: &'a Metrics,
    },
    /// What an invocation took.
    Report {
        id: &'a str,
        memory_mib: u32,
        outcome: &'a Outcome,
        metrics: &'a Metrics,
    },
    /// Lines of the function's that there was no room for.
    Dropped { lines: usize },
}

impl PlatformEvent<'_> {
    /// How severe it is. The source is AWS's table of events and levels ("System log level event
    /// mapping"), which ranks what went well below what did not.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::InitStart { .. }
            | Self::Start { .. }
            | Self::Extension(_)
            | Self::Subscription { .. } => Severity::Info,
            Self::InitRuntimeDone { status, .. }
            | Self::InitReport { status, .. }
            | Self::RuntimeDone { status, .. } => match *status {
                SUCCESS => Severity::Debug,
                _ => Severity::Warn,
            },
            Self::Dropped { .. } => Severity::Warn,
            Self::Fault { .. } => Severity::Error,
            Self::End { outcome, .. } if is_success(outcome) => Severity::Debug,
            Self::Report { outcome, .. } if is_success(outcome) => Severity::Info,
            Self::End { .. } | Self::Report { .. } => Severity::Warn,
        }
    }

    /// Lines of text, each ended; none for what only JSON tells.
    pub(crate) fn text(&self, now: Timestamp) -> String {
        match self {
            Self::InitStart { runtime } => format!("INIT_START Runtime Version: {runtime}\n"),
            Self::InitRuntimeDone { .. } | Self::RuntimeDone { .. } => String::new(),
            Self::InitReport { status, .. } if *status == SUCCESS => String::new(),
            Self::InitReport {
                took,
                phase,
                status,
                error_type,
            } => {
                let took = millis(*took);
                let error_type = error_type
                    .map(|error_type| format!("\tError Type: {error_type}"))
                    .unwrap_or_default();
                format!(
                    "INIT_REPORT Init Duration: {took:.2} ms\tPhase: {phase}\tStatus: {status}{error_type}\n"
                )
            }
            Self::Extension(ExtensionState {
                name,
                state,
                events,
            }) => {
                let events = events.join(", ");
                format!("EXTENSION\tName: {name}\tState: {state}\tEvents: [{events}]\n")
            }
            Self::Subscription { name, streams } => {
                let types: Vec<&str> = streams.iter().map(|stream| title(*stream)).collect();
                let types = types.join(", ");
                format!("TELEMETRY\tName: {name}\tState: Subscribed\tTypes: [{types}]\n")
            }
            Self::Start { id, version } => format!("START RequestId: {id} Version: {version}\n"),
            Self::Fault { id, outcome } => epitaph(id, &now.to_rfc3339(), outcome),
            Self::End { id, .. } => format!("END RequestId: {id}\n"),
            Self::Report {
                id,
                memory_mib,
                outcome,
                metrics,
            } => format!("{}\n", report(id, *memory_mib, outcome, metrics)),
            Self::Dropped { lines } => {
                format!("[PLATFORM] {lines} log lines were dropped: the log is full\n")
            }
        }
    }

    /// A JSON object, and the end of its line.
    pub(crate) fn json(&self, now: Timestamp) -> String {
        let mut line = self.object(now);
        line.push('\n');
        line
    }

    /// A JSON object.
    pub(crate) fn object(&self, now: Timestamp) -> String {
        let (kind, record) = match self {
            Self::InitStart { runtime } => (
                "platform.initStart",
                json!({"initializationType": "on-demand", "phase": "init", "runtimeVersion": runtime}),
            ),
            Self::InitRuntimeDone {
                phase,
                status,
                error_type,
            } => {
                let record = json!({"initializationType": "on-demand", "phase": phase});
                (
                    "platform.initRuntimeDone",
                    ended(record, status, *error_type),
                )
            }
            Self::InitReport {
                took,
                phase,
                status,
                error_type,
            } => {
                let record = json!({
                    "initializationType": "on-demand",
                    "phase": phase,
                    "metrics": {"durationMs": hundredths(*took)},
                });
                ("platform.initReport", ended(record, status, *error_type))
            }
            Self::Subscription { name, streams } => {
                let types: Vec<&str> = streams.iter().map(|stream| stream.name()).collect();
                (
                    "platform.telemetrySubscription",
                    json!({"name": name, "state": "Subscribed", "types": types}),
                )
            }
            Self::RuntimeDone {
                id,
                status,
                error_type,
                took,
                produced,
            } => {
                let measured = json!({"durationMs": hundredths(*took), "producedBytes": produced});
                let record = json!({"requestId": id, "metrics": measured});
                ("platform.runtimeDone", ended(record, status, *error_type))
            }
            Self::Extension(ExtensionState {
                name,
                state,
                events,
            }) => (
                "platform.extension",
                json!({"name": name, "state": state, "events": events}),
            ),
            Self::Start { id, version } => (
                "platform.start",
                json!({"requestId": id, "version": version}),
            ),
            Self::Fault { id, outcome } => {
                // The Telemetry API has no event for the words, so they come as a runtime's would.
                let line = json!({
                    "timestamp": now.to_rfc3339(),
                    "level": Severity::Error.name(),
                    "requestId": id,
                    "message": words(outcome),
                });
                return line.to_string();
            }
            Self::End {
                id,
                outcome,
                metrics,
            } => {
                let took = json!({"durationMs": hundredths(metrics.duration)});
                let record = json!({"requestId": id, "metrics": took});
                ("platform.runtimeDone", with_status(record, outcome))
            }
            Self::Report {
                id,
                memory_mib,
                outcome,
                metrics,
            } => {
                let mut measured = json!({
                    "durationMs": hundredths(metrics.duration),
                    "billedDurationMs": metrics.billed_ms(),
                    "memorySizeMB": memory_mib,
                    "maxMemoryUsedMB": metrics.max_memory_mib,
                });
                if let Some(init) = metrics.init {
                    measured["initDurationMs"] = json!(hundredths(init));
                }
                let record = json!({"requestId": id, "metrics": measured});
                ("platform.report", with_status(record, outcome))
            }
            Self::Dropped { lines } => (
                "platform.logsDropped",
                json!({"reason": "the log is full", "droppedRecords": lines}),
            ),
        };
        json!({"time": now.to_rfc3339(), "type": kind, "record": record}).to_string()
    }
}

fn is_success(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Success(_))
}

/// How an invocation ended: a status of AWS's, and the type of its error.
pub(crate) fn status(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Success(_) => (SUCCESS, None),
        Outcome::Timeout { .. } => ("timeout", None),
        Outcome::Error { error_type, .. } => ("error", Some(error_type.as_str())),
        Outcome::OutOfMemory | Outcome::Crashed { .. } => ("error", outcome.error_type()),
    }
}

fn with_status(record: Value, outcome: &Outcome) -> Value {
    let (status, error_type) = status(outcome);
    ended(record, status, error_type)
}

fn ended(mut record: Value, status: &str, error_type: Option<&str>) -> Value {
    record["status"] = json!(status);
    if let Some(error_type) = error_type {
        record["errorType"] = json!(error_type);
    }
    record
}

fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Timeout { after } => crate::outcome::timeout_message(*after),
        Outcome::Success(_)
        | Outcome::Error { .. }
        | Outcome::OutOfMemory
        | Outcome::Crashed { .. } => outcome.exit_message().unwrap_or_default(),
    }
}

/// The name of a stream in text.
const fn title(stream: Stream) -> &'static str {
    match stream {
        Stream::Platform => "Platform",
        Stream::Function => "Function",
        Stream::Extension => "Extension",
    }
}

/// What AWS writes when an invocation did not end by itself.
fn epitaph(id: &str, now: &str, outcome: &Outcome) -> String {
    let words = words(outcome);
    match outcome {
        Outcome::Success(_) | Outcome::Error { .. } => String::new(),
        Outcome::Timeout { .. } => format!("{now} {id} {words}\n"),
        Outcome::OutOfMemory | Outcome::Crashed { .. } => {
            let error_type = outcome.error_type().unwrap_or_default();
            format!("RequestId: {id} Error: {words}\n{error_type}\n")
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Milliseconds with two decimal places, which is what the text says.
fn hundredths(duration: Duration) -> f64 {
    (millis(duration) * 100.0).round() / 100.0
}

fn report(id: &str, memory_mib: u32, outcome: &Outcome, metrics: &Metrics) -> String {
    let mut line = format!(
        "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: \
         {memory_mib} MB\tMax Memory Used: {} MB\t",
        millis(metrics.duration),
        metrics.billed_ms(),
        metrics.max_memory_mib,
    );
    if let Some(init) = metrics.init {
        line.push_str(&format!("Init Duration: {:.2} ms\t", millis(init)));
    }
    match outcome {
        Outcome::Success(_) => {}
        Outcome::Timeout { .. } => line.push_str("Status: timeout"),
        Outcome::Error { error_type, .. } => {
            line.push_str(&format!("Status: error\tError Type: {error_type}"));
        }
        Outcome::OutOfMemory | Outcome::Crashed { .. } => {
            let error_type = outcome.error_type().unwrap_or_default();
            line.push_str(&format!("Status: error\tError Type: {error_type}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const METRICS: Metrics = Metrics {
        init: Some(Duration::from_micros(200_110)),
        duration: Duration::from_micros(123_450),
        max_memory_mib: 56,
    };
    const TIMEOUT: Outcome = Outcome::Timeout {
        after: Duration::from_secs(3),
    };
    const NOW: Timestamp = Timestamp::from_millis(1_763_596_803_000);

    fn report_of(outcome: &Outcome) -> PlatformEvent<'_> {
        PlatformEvent::Report {
            id: "id",
            memory_mib: 128,
            outcome,
            metrics: &METRICS,
        }
    }

    #[test]
    fn a_report_has_the_form_of_awss() {
        let success = Outcome::Success(Bytes::new());
        assert_eq!(
            report_of(&success).text(NOW),
            "REPORT RequestId: id\tDuration: 123.45 ms\tBilled Duration: 324 ms\tMemory Size: 128 \
             MB\tMax Memory Used: 56 MB\tInit Duration: 200.11 ms\t\n"
        );
        let timeout = report_of(&TIMEOUT).text(NOW);
        assert!(timeout.ends_with("\tStatus: timeout\n"), "{timeout}");
        let (id, outcome) = ("id", &TIMEOUT);
        assert_eq!(
            PlatformEvent::Fault { id, outcome }.text(NOW),
            "2025-11-20T00:00:03.000Z id Task timed out after 3.00 seconds\n"
        );
    }

    #[test]
    fn a_report_in_json_is_the_telemetry_apis() {
        let shown: Value = serde_json::from_str(&report_of(&TIMEOUT).json(NOW)).unwrap();
        let expected = json!({
            "time": "2025-11-20T00:00:03.000Z",
            "type": "platform.report",
            "record": {
                "requestId": "id",
                "status": "timeout",
                "metrics": {
                    "durationMs": 123.45,
                    "billedDurationMs": 324,
                    "memorySizeMB": 128,
                    "maxMemoryUsedMB": 56,
                    "initDurationMs": 200.11,
                },
            },
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_failed_is_more_severe_than_what_did_not() {
        let success = Outcome::Success(Bytes::new());
        assert_eq!(report_of(&success).severity(), Severity::Info);
        assert_eq!(report_of(&TIMEOUT).severity(), Severity::Warn);
    }
}
