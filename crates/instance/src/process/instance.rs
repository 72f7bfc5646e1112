//! One process, one invocation after another.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use sandbox::Exit;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::{ProcessLauncher, Running};
use crate::journal::Journal;
use crate::outcome::{EXIT_ERROR, error_body};
use crate::platform_event::{PlatformEvent, SUCCESS};
use crate::runtime_api::{Answer, Extensions, Initialisation, Reason, Report};
use crate::{Finished, Instance, Invocation, Metrics, Outcome, Spec};

/// How long initialisation may take (AWS Lambda, on-demand).
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// The same ahead of invocations, unless the function may take longer (AWS Lambda, 2026).
const INIT_LIMIT_AHEAD: Duration = Duration::from_secs(130);
/// How long a process that has answered may take to ask for more. The next invocation waits for
/// it, with its concurrency taken: beyond this a new process is the shorter way.
const READY_LIMIT: Duration = Duration::from_secs(1);

/// How long extensions have for their last words, where there are external ones and where there are
/// not (AWS Lambda, 2026).
const LAST_WORDS: Duration = Duration::from_secs(2);
const LAST_WORDS_INTERNAL: Duration = Duration::from_millis(500);

/// A started process. It is read from only while it serves, and frozen in between where that can be
/// done, as at AWS: what it prints while idle is logged before the next invocation begins.
pub(super) struct ProcessInstance {
    /// For a second initialisation.
    pub(super) launcher: ProcessLauncher,
    pub(super) spec: Arc<Spec>,
    pub(super) clock: SharedClock,
    pub(super) running: Running,
    pub(super) journal: Journal,
    pub(super) initialised: bool,
    pub(super) max_memory_mib: u32,
}

/// What waiting for the process came to.
enum Waited<T> {
    For(T),
    Exited,
    TimedOut,
}

/// When an initialisation runs.
#[derive(Clone, Copy)]
enum Phase {
    /// On its own, within [`INIT_LIMIT`].
    Init,
    /// Likewise, but nobody waits for it: within [`INIT_LIMIT_AHEAD`].
    Ahead,
    /// Again, as a part of the first invocation and within its timeout.
    Invoke,
}

/// How an invocation ended, before what is left has been cleared up.
enum Ending {
    /// Initialisation has taken too long.
    NotReady,
    /// The process can serve again.
    Alive(Outcome),
    /// The process must go, or has gone.
    Dead(Outcome),
    /// The process has gone by itself; why is for the kernel to say.
    Gone,
}

#[async_trait]
impl Instance for ProcessInstance {
    async fn invoke(mut self: Box<Self>, mut invocation: Invocation) -> Finished {
        invocation.trace(self.clock.now());
        let mut metrics = Metrics::default();
        let mut left = self.spec.timeout;
        let mut initialised = self.initialise(Phase::Init, &mut metrics).await;
        if let Err(failure) = initialised {
            let begun = self.clock.monotonic();
            initialised = self.initialise_again(failure).await;
            let took = self.clock.monotonic().since(begun);
            metrics.duration = took;
            left = left.saturating_sub(took);
        }
        // What was printed until now, as far as it has come, belongs to no invocation.
        self.journal.printed_all(self.running.output.rest());
        self.journal.start(&invocation.request_id);
        let ending = match initialised {
            Ok(()) => self.run(invocation, left, &mut metrics).await,
            Err(ending) => ending,
        };
        match ending {
            Ending::NotReady => self.bury(Some(init_timed_out()), metrics).await,
            Ending::Alive(outcome) => self.finish(outcome, metrics),
            Ending::Dead(outcome) => self.bury(Some(outcome), metrics).await,
            Ending::Gone => self.bury(None, metrics).await,
        }
    }

    async fn prepare(&mut self) -> bool {
        let mut charged_to_nobody = Metrics::default();
        let initialised = self.initialise(Phase::Ahead, &mut charged_to_nobody).await;
        if initialised.is_ok() {
            self.running
                .rest
                .begin(|| self.running.api.exchange.asking());
        }
        initialised.is_ok()
    }

    async fn ready(&mut self) -> bool {
        self.running.rest.end();
        if self.running.body.has_exited().is_some() {
            return false;
        }
        let mut asking = self.running.api.exchange.asking();
        let asks = async move { asking.wait_for(|asking| *asking > 0).await.is_ok() };
        let limit = self.spec.timeout.min(READY_LIMIT);
        match self.wait(asks, limit).await {
            Waited::For(asks) => asks,
            Waited::Exited | Waited::TimedOut => false,
        }
    }

    async fn shutdown(mut self: Box<Self>) {
        self.part(Reason::Spindown).await;
        self.running.body.kill().await;
    }
}

impl ProcessInstance {
    /// Starts the process anew and has it initialise as a part of the invocation, as AWS does when
    /// the first time has failed. Where it cannot be started, the first failure stands.
    async fn initialise_again(&mut self, failure: Ending) -> Result<(), Ending> {
        self.journal.printed_all(self.running.output.rest());
        let launcher = self.launcher.clone();
        let Ok(fresh) = launcher.begin(&self.spec, &mut self.journal).await else {
            return Err(failure);
        };
        let old = std::mem::replace(&mut self.running, fresh);
        old.body.kill().await;
        // Its time is the invocation's.
        let mut within = Metrics::default();
        match self.initialise(Phase::Invoke, &mut within).await {
            Err(Ending::NotReady) => Err(Ending::Dead(Outcome::Timeout {
                after: self.spec.timeout,
            })),
            other => other,
        }
    }

    /// Waits for the process to be ready, the first time.
    async fn initialise(&mut self, phase: Phase, metrics: &mut Metrics) -> Result<(), Ending> {
        if self.initialised {
            return Ok(());
        }
        let progress = self.running.api.exchange.initialisation();
        let (limit, name) = match phase {
            Phase::Init => (INIT_LIMIT, "init"),
            Phase::Ahead => (INIT_LIMIT_AHEAD.max(self.spec.timeout), "init"),
            Phase::Invoke => (self.spec.timeout, "invoke"),
        };
        let extensions = Arc::clone(&self.running.api.extensions);
        let waited = self.wait(over(progress, &extensions), limit).await;
        for state in extensions.states() {
            self.journal.platform(&PlatformEvent::Extension(&state));
        }
        for (name, streams) in &extensions.telemetry().close() {
            self.journal
                .platform(&PlatformEvent::Subscription { name, streams });
        }
        let took = match &waited {
            Waited::For(Initialisation::Done(at)) => at.since(self.running.started),
            Waited::For(_) | Waited::Exited | Waited::TimedOut => {
                self.clock.monotonic().since(self.running.started)
            }
        };
        metrics.init = Some(took);
        self.note_memory();
        let (status, error_type, initialised) = match waited {
            Waited::For(Initialisation::Done(_)) => {
                self.initialised = true;
                self.running.body.limit_cpu();
                (SUCCESS, None, Ok(()))
            }
            // `over` returns nothing else.
            Waited::For(Initialisation::Running) | Waited::TimedOut => {
                ("timeout", None, Err(Ending::NotReady))
            }
            Waited::For(Initialisation::Failed(fault)) => {
                let error_type = fault.error_type.clone();
                let outcome = Outcome::Error {
                    body: fault.body,
                    error_type: fault.error_type,
                };
                ("error", Some(error_type), Err(Ending::Dead(outcome)))
            }
            Waited::Exited => ("error", Some(EXIT_ERROR.to_owned()), Err(Ending::Gone)),
        };
        self.journal.printed_all(self.running.output.rest());
        let error_type = error_type.as_deref();
        self.journal.platform(&PlatformEvent::InitRuntimeDone {
            phase: name,
            status,
            error_type,
        });
        self.journal.platform(&PlatformEvent::InitReport {
            took,
            phase: name,
            status,
            error_type,
        });
        initialised
    }

    /// Has the process serve, for at most `left`.
    async fn run(
        &mut self,
        invocation: Invocation,
        left: Duration,
        metrics: &mut Metrics,
    ) -> Ending {
        let offered = self.clock.monotonic();
        let extensions = Arc::clone(&self.running.api.extensions);
        let deadline = self.clock.now().plus(left);
        extensions.invoke(&invocation, deadline);
        let answer = self.running.api.exchange.offer(invocation, left);
        let waited = self.answer(answer, left).await;
        if let Waited::For(Answer { report, duration }) = &waited {
            let (ended, produced) = match report {
                Report::Response(body) => ((SUCCESS, None), body.len()),
                Report::Error(fault) => (("error", Some(&*fault.error_type)), fault.body.len()),
                Report::TooLarge(_) => (("error", None), 0),
            };
            self.journal.runtime_done(ended, *duration, produced);
        }
        let waited = if extensions.are_none() {
            waited
        } else {
            let spent = self.clock.monotonic().since(offered);
            match self.after(waited, left.saturating_sub(spent)).await {
                Ok(waited) => waited,
                Err(outcome) => {
                    metrics.duration += self.clock.monotonic().since(offered);
                    return Ending::Dead(outcome);
                }
            }
        };
        if let Waited::For(Answer { duration, .. }) = &waited {
            metrics.duration += *duration;
        } else {
            let from = self.running.api.exchange.taken_at().unwrap_or(offered);
            metrics.duration += self.clock.monotonic().since(from);
        }
        match waited {
            Waited::For(Answer { report, .. }) => Ending::Alive(match report {
                Report::Response(body) => Outcome::Success(body),
                Report::Error(fault) => Outcome::Error {
                    body: fault.body,
                    error_type: fault.error_type,
                },
                Report::TooLarge(bytes) => Outcome::response_too_large(bytes),
            }),
            Waited::Exited => Ending::Gone,
            Waited::TimedOut => Ending::Dead(Outcome::Timeout {
                after: self.spec.timeout,
            }),
        }
    }

    /// Waits for the answer to an event that has been offered: for `left` from when it is handed out, which
    /// on a busy machine is some milliseconds later.
    async fn answer(
        &mut self,
        answer: oneshot::Receiver<Answer>,
        left: Duration,
    ) -> Waited<Answer> {
        let answer = answered(answer);
        tokio::pin!(answer);
        let waited = self.wait(answer.as_mut(), left).await;
        let exchange = &self.running.api.exchange;
        match (&waited, exchange.taken_at()) {
            (Waited::TimedOut, Some(at)) => {
                let rest = left.saturating_sub(self.clock.monotonic().since(at));
                self.wait(answer, rest).await
            }
            (Waited::For(_) | Waited::Exited | Waited::TimedOut, _) => waited,
        }
    }

    /// Waits until the extensions have done with an invocation, too: their time is billed with it, and
    /// who runs on would be frozen in the middle of its work.
    async fn after(
        &mut self,
        waited: Waited<Answer>,
        left: Duration,
    ) -> Result<Waited<Answer>, Outcome> {
        let mut answer = match waited {
            Waited::For(answer) => answer,
            other @ (Waited::Exited | Waited::TimedOut) => return Ok(other),
        };
        let begun = self.clock.monotonic();
        let extensions = Arc::clone(&self.running.api.extensions);
        match self.wait(extensions.done(), left).await {
            Waited::For(Ok(())) => {
                answer.duration += self.clock.monotonic().since(begun);
                Ok(Waited::For(answer))
            }
            Waited::For(Err(fault)) => Err(Outcome::Error {
                body: fault.body,
                error_type: fault.error_type,
            }),
            Waited::Exited => Ok(Waited::Exited),
            Waited::TimedOut => Ok(Waited::TimedOut),
        }
    }

    /// Gives extensions time for their last words, as AWS does: the runtime is asked to end first.
    async fn part(&mut self, reason: Reason) {
        let extensions = Arc::clone(&self.running.api.extensions);
        if extensions.are_none() {
            return;
        }
        self.running.rest.end();
        let limit = if extensions.has_external() {
            LAST_WORDS
        } else {
            LAST_WORDS_INTERNAL
        };
        let (end, deadline) = (Instant::now() + limit, self.clock.now().plus(limit));
        self.running.body.terminate();
        extensions.telemetry().hurry();
        // Whoever ends on the news of the end is to have heard all before it.
        let drained = extensions.telemetry().drained();
        self.linger(drained, Instant::now() + limit / 2).await;
        extensions.shut_down(reason, deadline);
        self.linger(std::future::pending(), end).await;
        self.journal.printed_all(self.running.output.rest());
    }

    /// Waits for `what`, at most until `end`, unless all that runs has ended before.
    async fn linger(&mut self, what: impl Future<Output = ()>, end: Instant) {
        tokio::pin!(what);
        let end = tokio::time::sleep_until(end);
        tokio::pin!(end);
        let Running { body, output, .. } = &mut self.running;
        loop {
            tokio::select! {
                biased;
                () = body.all_exited() => break,
                () = &mut what => break,
                () = &mut end => break,
                printed = output.lines() => self.journal.printed(printed),
            }
        }
    }

    /// Waits for `what`, reading what the process prints meanwhile.
    async fn wait<T>(&mut self, what: impl Future<Output = T>, limit: Duration) -> Waited<T> {
        tokio::pin!(what);
        let deadline = tokio::time::sleep_until(Instant::now() + limit);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                // In this order: an answer counts even if the process has ended since, and a
                // process that prints without end still meets its deadline.
                biased;
                it = &mut what => return Waited::For(it),
                _ = self.running.body.exited() => return Waited::Exited,
                () = &mut deadline => return Waited::TimedOut,
                printed = self.running.output.lines() => self.journal.printed(printed),
            }
        }
    }

    /// Reports an invocation after which the process lives on.
    fn finish(mut self: Box<Self>, outcome: Outcome, mut metrics: Metrics) -> Finished {
        self.note_memory();
        metrics.max_memory_mib = self.max_memory_mib;
        self.journal.printed_all(self.running.output.rest());
        self.journal.over(&outcome, &metrics);
        let log_tail = self.journal.end(&outcome, &metrics);
        self.running
            .rest
            .begin(|| self.running.api.exchange.asking());
        Finished {
            outcome,
            metrics,
            log_tail,
            instance: Some(self),
        }
    }

    /// Kills what is left, then reports. Without an outcome, the end of the process is it.
    async fn bury(mut self: Box<Self>, outcome: Option<Outcome>, mut metrics: Metrics) -> Finished {
        self.note_memory();
        metrics.max_memory_mib = self.max_memory_mib;
        self.journal.printed_all(self.running.output.rest());
        // Extensions are told before they have no more time to hear it; which end it was of those that
        // only the kernel knows is found out later.
        let crashed = || Outcome::Crashed {
            description: String::new(),
        };
        let known = outcome.clone().unwrap_or_else(crashed);
        self.journal.over(&known, &metrics);
        self.part(match &outcome {
            Some(Outcome::Timeout { .. }) => Reason::Timeout,
            Some(_) | None => Reason::Failure,
        })
        .await;
        let id = self.journal.id().to_owned();
        let Self {
            running: Running {
                body, mut output, ..
            },
            mut journal,
            spec,
            max_memory_mib,
            ..
        } = *self;
        let ended = body.kill().await;
        let outcome = outcome.unwrap_or_else(|| {
            if ended.out_of_memory && ended.exit == Exit::KILLED {
                Outcome::OutOfMemory
            } else if ended.companion.is_some() {
                extension_crashed(&id, ended.exit)
            } else {
                Outcome::Crashed {
                    description: ended.exit.to_string(),
                }
            }
        });
        metrics.max_memory_mib = match outcome {
            Outcome::OutOfMemory => spec.memory_mib,
            Outcome::Success(_)
            | Outcome::Error { .. }
            | Outcome::Timeout { .. }
            | Outcome::Crashed { .. } => max_memory_mib,
        };
        journal.printed_all(output.rest());
        let log_tail = journal.end(&outcome, &metrics);
        Finished {
            outcome,
            metrics,
            log_tail,
            instance: None,
        }
    }

    /// Reads the memory's high-water mark while there is a process to read it from.
    fn note_memory(&mut self) {
        if let Some(bytes) = self.running.body.peak_memory() {
            let mib = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
            self.max_memory_mib = self.max_memory_mib.max(mib);
        }
    }
}

/// Resolves when initialisation is over.
async fn over(
    mut progress: watch::Receiver<Initialisation>,
    extensions: &Extensions,
) -> Initialisation {
    let over = |state: &Initialisation| !matches!(state, Initialisation::Running);
    let state = tokio::select! {
        state = progress.wait_for(over) => state.map(|state| state.clone()),
        fault = extensions.failed() => return Initialisation::Failed(fault),
    };
    let Ok(state) = state else {
        // The exchange outlives this future; both are the instance's.
        return std::future::pending().await;
    };
    if !matches!(state, Initialisation::Done(_)) {
        return state;
    }
    extensions.close();
    match extensions.ready().await {
        Ok(()) => state,
        Err(fault) => Initialisation::Failed(fault),
    }
}

/// Resolves when the event has been answered.
async fn answered(answer: oneshot::Receiver<Answer>) -> Answer {
    match answer.await {
        Ok(answer) => answer,
        // The exchange keeps the sender until it answers, and outlives this future.
        Err(_) => std::future::pending().await,
    }
}

/// An extension has ended while it was needed, in the words of AWS's emulator.
fn extension_crashed(request_id: &str, exit: Exit) -> Outcome {
    let how = match exit {
        Exit::Status(0) => "exit code 0".to_owned(),
        other => other.to_string(),
    };
    let error_type = "Extension.Crash";
    Outcome::Error {
        body: error_body(error_type, &format!("RequestId: {request_id} Error: {how}")),
        error_type: error_type.to_owned(),
    }
}

fn init_timed_out() -> Outcome {
    let error_type = "Runtime.InitError";
    let message = format!(
        "Initialisation timed out after {:.2} seconds",
        INIT_LIMIT.as_secs_f64()
    );
    Outcome::Error {
        body: error_body(error_type, &message),
        error_type: error_type.to_owned(),
    }
}
