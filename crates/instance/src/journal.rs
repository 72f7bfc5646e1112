//! An instance's log: what it prints, between the lines that AWS Lambda puts around it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::SharedClock;
use uuid::Uuid;

use crate::platform_event::{self, PlatformEvent};
use crate::process::output::Printer;
use crate::runtime_api::{Extensions, Stream, event};
use crate::{LogChunk, LogFormat, LogKind, LogSink, Metrics, Outcome, Severity, Spec, Taken};

/// What `X-Amz-Log-Result` shows of a log.
const TAIL: usize = 4 * 1024;

/// Writes one instance's log.
pub(crate) struct Journal {
    sink: Arc<dyn LogSink>,
    clock: SharedClock,
    account: Arc<str>,
    function: Arc<str>,
    version: Arc<str>,
    stream: Arc<str>,
    memory_mib: u32,
    format: LogFormat,
    request_id: Option<Arc<str>>,
    tail: VecDeque<u8>,
    /// Lines that the sink had no room for, and that no line has told of yet.
    dropped: usize,
    /// Who hears of it as well.
    extensions: Option<Arc<Extensions>>,
    /// Whether they were told that the runtime has done with the invocation.
    runtime_done: bool,
}

impl Journal {
    pub(crate) fn new(sink: Arc<dyn LogSink>, clock: SharedClock, spec: &Spec) -> Self {
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
            format: spec.log_format,
            request_id: None,
            tail: VecDeque::with_capacity(TAIL),
            dropped: 0,
            extensions: None,
            runtime_done: false,
        }
    }

    /// From now on, what is said is told to these extensions, too.
    pub(crate) fn tell_also(&mut self, extensions: &Arc<Extensions>) {
        self.extensions = Some(Arc::clone(extensions));
    }

    /// The name of the log stream.
    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// What somebody printed: whole lines. Those that the sink has no room for are counted.
    pub(crate) fn printed(&mut self, (printer, lines): (Printer, Bytes)) {
        let lines = match (self.format, printer) {
            (LogFormat::Text, _) | (LogFormat::Json { .. }, Printer::Extension) => lines,
            (LogFormat::Json { application, .. }, Printer::Function) => {
                severe_enough(lines, application)
            }
        };
        self.tell_lines(printer, &lines);
        if lines.is_empty() {
            return;
        }
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        if self.hand_over(LogKind::Function, lines) == Taken::Full {
            self.dropped += count;
        }
    }

    /// All of it, in order.
    pub(crate) fn printed_all(&mut self, all: impl Iterator<Item = (Printer, Bytes)>) {
        all.for_each(|printed| self.printed(printed));
    }

    /// What the platform has to say.
    pub(crate) fn platform(&mut self, event: &PlatformEvent<'_>) {
        self.tell(event);
        self.log(event);
    }

    fn log(&mut self, event: &PlatformEvent<'_>) {
        let lines = self.lines(event);
        self.log_lines(lines);
    }

    /// The event as the log shows it: whole lines, or none.
    fn lines(&self, event: &PlatformEvent<'_>) -> String {
        let now = self.clock.now();
        match self.format {
            LogFormat::Text => event.text(now),
            LogFormat::Json { system, .. } if event.severity() < system => String::new(),
            LogFormat::Json { .. } => event.json(now),
        }
    }

    fn log_lines(&mut self, lines: String) {
        if !lines.is_empty() {
            // The sink takes it, by its contract.
            let _ = self.hand_over(LogKind::Platform, lines.into());
        }
    }

    /// Tells extensions only.
    fn tell(&self, said: &PlatformEvent<'_>) {
        if let Some(extensions) = &self.extensions
            && extensions.telemetry().is_heard()
        {
            let told = Bytes::from(said.object(self.clock.now()));
            extensions.telemetry().tell(Stream::Platform, &told);
        }
    }

    fn tell_lines(&self, printer: Printer, lines: &[u8]) {
        let Some(extensions) = &self.extensions else {
            return;
        };
        let telemetry = extensions.telemetry();
        if !telemetry.is_heard() {
            return;
        }
        let stream = match printer {
            Printer::Function => Stream::Function,
            Printer::Extension => Stream::Extension,
        };
        let now = self.clock.now();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            // Where logs are objects, so are records.
            let object = match self.format {
                LogFormat::Text => None,
                LogFormat::Json { .. } => serde_json::from_slice(line)
                    .ok()
                    .filter(serde_json::Value::is_object),
            };
            let record = object.unwrap_or_else(|| String::from_utf8_lossy(line).into());
            telemetry.tell(stream, &event(now, stream.name(), record));
        }
    }

    /// The runtime has done with the invocation: extensions are told, once.
    pub(crate) fn runtime_done(
        &mut self,
        (status, error_type): (&str, Option<&str>),
        took: Duration,
        produced: usize,
    ) {
        if !std::mem::replace(&mut self.runtime_done, true) {
            self.tell(&PlatformEvent::RuntimeDone {
                id: self.id(),
                status,
                error_type,
                took,
                produced,
            });
        }
    }

    /// Nothing more will come of the invocation: extensions are told what is known of it.
    pub(crate) fn over(&mut self, outcome: &Outcome, metrics: &Metrics) {
        self.runtime_done(platform_event::status(outcome), metrics.duration, 0);
        self.tell(&PlatformEvent::Report {
            id: self.id(),
            memory_mib: self.memory_mib,
            outcome,
            metrics,
        });
    }

    /// An invocation begins: from here on, lines belong to it.
    pub(crate) fn start(&mut self, request_id: &str) {
        self.request_id = Some(request_id.into());
        self.runtime_done = false;
        let version = Arc::clone(&self.version);
        self.platform(&PlatformEvent::Start {
            id: request_id,
            version: &version,
        });
    }

    /// What went wrong, the end, the report, in one chunk; returns the log's tail and begins a new one.
    pub(crate) fn end(&mut self, outcome: &Outcome, metrics: &Metrics) -> Bytes {
        let mut said = String::new();
        let lines = std::mem::take(&mut self.dropped);
        if lines > 0 {
            said.push_str(&self.lines(&PlatformEvent::Dropped { lines }));
        }
        let id = self.id();
        match outcome {
            Outcome::Success(_) | Outcome::Error { .. } => {}
            Outcome::Timeout { .. } | Outcome::OutOfMemory | Outcome::Crashed { .. } => {
                said.push_str(&self.lines(&PlatformEvent::Fault { id, outcome }));
            }
        }
        said.push_str(&self.lines(&PlatformEvent::End {
            id,
            outcome,
            metrics,
        }));
        said.push_str(&self.lines(&PlatformEvent::Report {
            id,
            memory_mib: self.memory_mib,
            outcome,
            metrics,
        }));
        self.log_lines(said);
        self.request_id = None;
        Bytes::from(Vec::from(std::mem::take(&mut self.tail)))
    }

    pub(crate) fn id(&self) -> &str {
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

/// The lines without those that say they are less severe than `least`.
fn severe_enough(lines: Bytes, least: Severity) -> Bytes {
    let is_kept = |line: &&[u8]| Severity::of_line(line).is_none_or(|severity| severity >= least);
    if lines
        .split_inclusive(|byte| *byte == b'\n')
        .all(|line| is_kept(&line))
    {
        return lines;
    }
    let kept = lines.split_inclusive(|byte| *byte == b'\n').filter(is_kept);
    kept.collect::<Vec<_>>().concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_json_are_kept_whatever_is_asked() {
        let lines = b"{\"level\":\"INFO\"}\nplain\n{\"level\":\"ERROR\"}\n{}\n";
        let kept = severe_enough(Bytes::from_static(lines), Severity::Warn);
        assert_eq!(kept, "plain\n{\"level\":\"ERROR\"}\n");
        let all = severe_enough(Bytes::from_static(lines), Severity::Info);
        assert_eq!(all, &lines[..]);
    }
}
