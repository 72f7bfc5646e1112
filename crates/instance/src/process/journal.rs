//! An instance's log: what it prints, between the lines that AWS Lambda puts around it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::SharedClock;
use uuid::Uuid;

use crate::{LogChunk, LogKind, LogSink, Metrics, Outcome, Spec, Taken};

/// What `X-Amz-Log-Result` shows of a log.
const TAIL: usize = 4 * 1024;

/// Writes one instance's log.
pub(super) struct Journal {
    sink: Arc<dyn LogSink>,
    clock: SharedClock,
    account: Arc<str>,
    function: Arc<str>,
    version: Arc<str>,
    stream: Arc<str>,
    memory_mib: u32,
    request_id: Option<Arc<str>>,
    tail: VecDeque<u8>,
    /// Lines that the sink had no room for, and that no line has told of yet.
    dropped: usize,
}

impl Journal {
    pub(super) fn new(sink: Arc<dyn LogSink>, clock: SharedClock, spec: &Spec) -> Self {
        let date = clock.now().to_utc().date();
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        let version = &spec.version;
        let id = Uuid::new_v4().simple();
        Self {
            sink,
            clock,
            account: spec.account.as_str().into(),
            function: spec.function.as_str().into(),
            version: version.as_str().into(),
            stream: format!("{year:04}/{month:02}/{day:02}/[{version}]{id}").into(),
            memory_mib: spec.memory_mib,
            request_id: None,
            tail: VecDeque::with_capacity(TAIL),
            dropped: 0,
        }
    }

    /// The name of the log stream.
    pub(super) fn stream(&self) -> &str {
        &self.stream
    }

    /// What the function printed. Lines that the sink has no room for are counted.
    pub(super) fn function(&mut self, lines: Bytes) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        if self.hand_over(LogKind::Function, lines) == Taken::Full {
            self.dropped += count;
        }
    }

    /// A line of the platform's, without its end.
    pub(super) fn platform(&mut self, line: &str) {
        // The sink takes it, by its contract.
        let _ = self.hand_over(LogKind::Platform, Bytes::from(format!("{line}\n")));
    }

    /// `START`: from here on, lines belong to this invocation.
    pub(super) fn start(&mut self, request_id: &str) {
        self.request_id = Some(request_id.into());
        let line = format!("START RequestId: {request_id} Version: {}", self.version);
        self.platform(&line);
    }

    /// What went wrong, `END`, `REPORT`; returns the log's tail and begins a new one.
    pub(super) fn end(&mut self, outcome: &Outcome, metrics: &Metrics) -> Bytes {
        if self.dropped > 0 {
            let line = format!(
                "[PLATFORM] {} log lines were dropped: the log is full",
                self.dropped
            );
            self.dropped = 0;
            self.platform(&line);
        }
        let id = self.id().to_owned();
        for line in epitaph(&id, &self.clock.now().to_rfc3339(), outcome) {
            self.platform(&line);
        }
        self.platform(&format!("END RequestId: {id}"));
        let report = report(&id, self.memory_mib, outcome, metrics);
        self.platform(&report);
        self.request_id = None;
        Bytes::from(Vec::from(std::mem::take(&mut self.tail)))
    }

    pub(super) fn id(&self) -> &str {
        self.request_id.as_deref().unwrap_or_default()
    }

    fn hand_over(&mut self, kind: LogKind, text: Bytes) -> Taken {
        let fresh = &text[text.len().saturating_sub(TAIL)..];
        let surplus = (self.tail.len() + fresh.len()).saturating_sub(TAIL);
        self.tail.drain(..surplus);
        self.tail.extend(fresh);
        self.sink.lines(LogChunk {
            account: Arc::clone(&self.account),
            function: Arc::clone(&self.function),
            version: Arc::clone(&self.version),
            stream: Arc::clone(&self.stream),
            request_id: self.request_id.clone(),
            time: self.clock.now(),
            kind,
            text,
        })
    }
}

/// What AWS writes when an invocation did not end by itself.
fn epitaph(id: &str, now: &str, outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Success(_) | Outcome::Error { .. } => Vec::new(),
        Outcome::Timeout { after } => {
            vec![format!(
                "{now} {id} {}",
                crate::outcome::timeout_message(*after)
            )]
        }
        Outcome::OutOfMemory | Outcome::Crashed { .. } => {
            let message = outcome.exit_message().unwrap_or_default();
            let error_type = outcome.error_type().unwrap_or_default();
            vec![
                format!("RequestId: {id} Error: {message}"),
                error_type.to_owned(),
            ]
        }
    }
}

fn report(id: &str, memory_mib: u32, outcome: &Outcome, metrics: &Metrics) -> String {
    let millis = |duration: Duration| duration.as_secs_f64() * 1_000.0;
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
    use super::*;

    #[test]
    fn a_report_has_the_form_of_awss() {
        let metrics = Metrics {
            init: Some(Duration::from_micros(200_110)),
            duration: Duration::from_micros(123_450),
            max_memory_mib: 56,
        };
        let success = Outcome::Success(Bytes::new());
        assert_eq!(
            report("id", 128, &success, &metrics),
            "REPORT RequestId: id\tDuration: 123.45 ms\tBilled Duration: 324 ms\tMemory Size: 128 \
             MB\tMax Memory Used: 56 MB\tInit Duration: 200.11 ms\t"
        );
        let timeout = Outcome::Timeout {
            after: Duration::from_secs(3),
        };
        assert!(report("id", 128, &timeout, &metrics).ends_with("\tStatus: timeout"));
        assert_eq!(
            epitaph("id", "2026-11-20T00:00:03.000Z", &timeout),
            ["2026-11-20T00:00:03.000Z id Task timed out after 3.00 seconds"]
        );
    }
}
