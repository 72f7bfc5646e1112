//! A seat at a worker: one invocation at a time, and their log.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::SharedClock;
use tokio::time::Instant;

use super::module::Module;
use super::protocol::Ending;
use super::worker::{Done, Heard, Worker};
use crate::journal::Journal;
use crate::lines::Partial;
use crate::outcome::{MAX_RESPONSE_BYTES, error_body};
use crate::process::output::Printer;
use crate::{Finished, Instance, Invocation, Metrics, Outcome, Spec};

/// How much later than its timeout an invocation may end before its worker counts as broken: what is
/// in it keeps deadlines to some milliseconds, however busy it is.
const GRACE: Duration = Duration::from_secs(5);

/// The type of an error that has none.
const UNKNOWN: &str = "Unknown";

/// A right to have one module run, once at a time.
pub(super) struct WasmInstance {
    spec: Arc<Spec>,
    worker: Arc<Worker>,
    module: Arc<Module>,
    journal: Journal,
    clock: SharedClock,
    /// What loading the module took, until an invocation has been billed for it.
    init: Option<Duration>,
    lines: Partial,
}

impl WasmInstance {
    pub(super) fn new(
        spec: Arc<Spec>,
        worker: Arc<Worker>,
        module: Arc<Module>,
        journal: Journal,
        clock: SharedClock,
        init: Option<Duration>,
    ) -> Self {
        Self {
            spec,
            worker,
            module,
            journal,
            clock,
            init,
            lines: Partial::default(),
        }
    }

    /// What this invocation finds in its environment beside what all do: what AWS tells a runtime by
    /// headers, under their names as CGI has them.
    fn variables(&self, invocation: &Invocation, trace: &str) -> Vec<String> {
        let deadline = self.clock.now().plus(self.spec.timeout).as_millis();
        let mut variables = vec![
            format!("AWS_LAMBDA_LOG_STREAM_NAME={}", self.journal.stream()),
            format!("_X_AMZN_TRACE_ID={trace}"),
            format!("LAMBDA_RUNTIME_AWS_REQUEST_ID={}", invocation.request_id),
            format!("LAMBDA_RUNTIME_DEADLINE_MS={deadline}"),
            format!("LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN={}", invocation.arn),
        ];
        let context = invocation.client_context.as_ref();
        variables.extend(context.map(|it| format!("LAMBDA_RUNTIME_CLIENT_CONTEXT={it}")));
        variables
    }

    /// Has the invocation run; what the worker says of it, or how the worker ended.
    async fn run(&mut self, mut invocation: Invocation) -> Result<Done, String> {
        let trace = invocation.trace(self.clock.now()).to_owned();
        let variables = self.variables(&invocation, &trace);
        let link = self.worker.link();
        let mut underway = link.invoke(self.module.number(), variables, invocation.payload);
        let limit = tokio::time::sleep_until(Instant::now() + self.spec.timeout + GRACE);
        tokio::pin!(limit);
        loop {
            let heard = tokio::select! {
                heard = underway.heard() => heard,
                () = &mut limit => {
                    tracing::error!(function = %self.spec.function, "a worker missed a deadline");
                    self.worker.link().condemn();
                    return Err("it did not keep a deadline".to_owned());
                }
            };
            match heard {
                Heard::Log(text) => self.print(&text),
                Heard::Done(done) => return Ok(done),
                Heard::Gone(how) => return Err(how),
            }
        }
    }

    fn print(&mut self, text: &[u8]) {
        self.lines.buffer().extend_from_slice(text);
        if let Some(lines) = self.lines.cut() {
            self.journal.printed((Printer::Function, lines));
        }
    }
}

#[async_trait]
impl Instance for WasmInstance {
    async fn invoke(mut self: Box<Self>, invocation: Invocation) -> Finished {
        let worker = Arc::clone(&self.worker);
        let place = worker.place().await;
        self.journal.start(&invocation.request_id);
        let begun = self.clock.monotonic();
        let ran = self.run(invocation).await;
        let observed = self.clock.monotonic().since(begun);
        drop(place);
        let mut metrics = Metrics {
            init: self.init.take(),
            duration: observed,
            max_memory_mib: 0,
        };
        let outcome = match ran {
            Ok(done) => {
                self.print(&done.log);
                metrics.duration = done.duration.min(observed);
                metrics.max_memory_mib = mebibytes(done.memory).min(self.spec.memory_mib);
                if done.unlogged > 0 {
                    let left_out = format!("[{} bytes of the log were left out]\n", done.unlogged);
                    self.print(left_out.as_bytes());
                }
                outcome(done, &self.spec)
            }
            Err(how) => worker_ended(&how),
        };
        if let Some(lines) = self.lines.rest() {
            self.journal.printed((Printer::Function, lines));
        }
        if let Outcome::OutOfMemory = outcome {
            metrics.max_memory_mib = self.spec.memory_mib;
        }
        let log_tail = self.journal.end(&outcome, &metrics);
        let alive = !self.worker.has_ended();
        Finished {
            outcome,
            metrics,
            log_tail,
            instance: if alive { Some(self) } else { None },
        }
    }

    async fn prepare(&mut self) -> bool {
        // Its module was loaded when it was launched.
        self.init = None;
        !self.worker.has_ended()
    }

    async fn ready(&mut self) -> bool {
        !self.worker.has_ended()
    }

    async fn shutdown(self: Box<Self>) {}
}

/// What an invocation came to, in the words of process instances.
fn outcome(done: Done, spec: &Spec) -> Outcome {
    match done.ending {
        Ending::Exit(0) | Ending::Failed if done.written > MAX_RESPONSE_BYTES as u64 => {
            Outcome::response_too_large(done.written)
        }
        Ending::Exit(0) => Outcome::Success(done.output),
        Ending::Exit(status) => reported(&done.output).unwrap_or_else(|| Outcome::Crashed {
            description: format!("exit status {status}"),
        }),
        Ending::Failed => reported(&done.output).unwrap_or_else(|| {
            let error_type = UNKNOWN.to_owned();
            let message = String::from_utf8_lossy(&done.output);
            Outcome::Error {
                body: error_body(&error_type, &message),
                error_type,
            }
        }),
        Ending::Broken(description) => Outcome::Crashed { description },
        Ending::Trap(description) => Outcome::Crashed {
            description: format!("trap: {description}"),
        },
        Ending::OutOfMemory => Outcome::OutOfMemory,
        Ending::Timeout => Outcome::Timeout {
            after: spec.timeout,
        },
        Ending::Crowded => failure("The memory for all WebAssembly functions is used up"),
        Ending::NotStarted(reason) => failure(&format!("No instance could be started: {reason}")),
    }
}

/// The error that a function reports itself: an object with a message, as an error, or on standard output
/// before an exit with another status than zero.
fn reported(output: &Bytes) -> Option<Outcome> {
    let error: serde_json::Value = serde_json::from_slice(output).ok()?;
    error.get("errorMessage")?;
    let error_type = error.get("errorType").and_then(serde_json::Value::as_str);
    Some(Outcome::Error {
        error_type: error_type.unwrap_or(UNKNOWN).to_owned(),
        body: output.clone(),
    })
}

fn worker_ended(how: &str) -> Outcome {
    failure(&format!(
        "The process that ran the function has ended: {how}"
    ))
}

/// Something that is not the function's fault.
fn failure(message: &str) -> Outcome {
    let error_type = "Sandbox.Failure";
    Outcome::Error {
        body: error_body(error_type, message),
        error_type: error_type.to_owned(),
    }
}

fn mebibytes(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
}
