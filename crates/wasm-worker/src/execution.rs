//! One invocation, from the event to the report.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use clock::SharedClock;
use instance::wasm_protocol::{Ending, Report};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::broken::Broken;
use crate::entry::{Call, Entry, Given, Said, World};
use crate::limits::{Budget, Limits, Refusal};
use crate::log::Log;
use crate::program::Program;
use crate::ticker::Ticker;
use crate::wasi::Exit;

/// How many ticks an invocation may see before it lets others go on: at least one whole one.
const FIRST_TURN: u64 = 2;
const LATER_TURNS: u64 = 1;

/// An invocation that has been ordered.
pub(crate) struct Invocation {
    pub(crate) id: u64,
    pub(crate) program: Arc<Program>,
    pub(crate) environment: Vec<String>,
    pub(crate) event: Bytes,
    pub(crate) log: Log,
    pub(crate) cancelled: CancellationToken,
}

/// What all invocations run on.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) budget: Budget,
    pub(crate) ticker: Ticker,
    pub(crate) clock: SharedClock,
}

/// How a call came to its end.
enum Ended {
    /// By itself, or by a trap.
    Called(wasmtime::Result<Said>),
    /// Its time was over while it waited for something.
    Overslept,
    /// Before it began: there is no memory for it.
    Crowded,
}

impl Invocation {
    /// Runs the program once; `None` when it was cancelled.
    ///
    /// The first time that it is pending, the invocation is at a point where it lets others go on, and
    /// wants to be polled again on the slow lane, within its runtime.
    pub(crate) async fn run(self, ground: Ground) -> Option<Report> {
        let program = Arc::clone(&self.program);
        match &program.entry {
            Entry::Module(entry) => self.call(entry, ground).await,
            Entry::Component(entry) => self.call(entry, ground).await,
        }
    }

    async fn call<E: Call>(self, entry: &E, ground: Ground) -> Option<Report> {
        let begun = ground.clock.monotonic();
        let timeout = self.program.timeout;
        let mut limits = Limits::new(self.program.memory, ground.budget);
        let has_room = limits.hold(E::HELD);
        let mut environment = self.program.environment.clone();
        environment.extend(self.environment);
        let world = entry.world(Given {
            event: self.event,
            environment,
            limits,
            log: Some(self.log.clone()),
        });
        let mut store = Store::new(&ground.engine, world);
        store.limiter(|world| world.limits());
        store.set_epoch_deadline(FIRST_TURN);
        let (clock, cancelled) = (Arc::clone(&ground.clock), self.cancelled.clone());
        store.epoch_deadline_callback(move |_| {
            if cancelled.is_cancelled() || clock.monotonic().since(begun) >= timeout {
                return Err(Trap::Interrupt.into());
            }
            Ok(UpdateDeadline::Yield(LATER_TURNS))
        });
        let ticking = ground.ticker.begin();
        let ended = if has_room {
            let call = entry.call(&mut store);
            watched(pin!(call), &self.log, timeout, &self.cancelled).await?
        } else {
            Ended::Crowded
        };
        drop(ticking);
        if self.cancelled.is_cancelled() {
            return None;
        }
        let world = store.data_mut();
        let ending = ending(ended, world.limits().refusal(), &self.log);
        let memory = world.limits().used();
        let (written, output) = world.take_output();
        drop(store);
        let (log, unlogged) = self.log.rest();
        Some(Report::Done {
            id: self.id,
            ending,
            duration: ground.clock.monotonic().since(begun),
            memory,
            unlogged,
            log,
            written,
            output,
        })
    }
}

/// Has `call` run to its end, to `left` from now, or until it is cancelled. What takes no longer than a
/// turn sets no timer. `None` when it was cancelled.
async fn watched(
    mut call: std::pin::Pin<&mut impl Future<Output = wasmtime::Result<Said>>>,
    log: &Log,
    left: Duration,
    cancelled: &CancellationToken,
) -> Option<Ended> {
    let mut turn = poll_fn(move |context| {
        let polled = call.as_mut().poll(context);
        if polled.is_pending() {
            log.flush();
        }
        polled
    });
    let first = poll_fn(|context| Poll::Ready(pin!(&mut turn).poll(context)));
    if let Poll::Ready(result) = first.await {
        return Some(Ended::Called(result));
    }
    let_others_go_on().await;
    tokio::select! {
        biased;
        () = cancelled.cancelled() => None,
        result = turn => Some(Ended::Called(result)),
        () = tokio::time::sleep_until(Instant::now() + left) => Some(Ended::Overslept),
    }
}

/// Is pending once, and does not ask to be polled again: whoever polls it moves it to the slow lane, and
/// polls it there.
async fn let_others_go_on() {
    let mut gone = false;
    let once = poll_fn(|_| {
        if std::mem::replace(&mut gone, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    once.await;
}

/// What the end means.
fn ending(ended: Ended, refusal: Option<Refusal>, log: &Log) -> Ending {
    let error = match ended {
        Ended::Called(Ok(Said::Result)) => return Ending::Exit(0),
        Ended::Called(Ok(Said::Error)) => return Ending::Failed,
        Ended::Overslept => return Ending::Timeout,
        Ended::Crowded => return Ending::Crowded,
        Ended::Called(Err(error)) => error,
    };
    let exit = error.downcast_ref::<Exit>().map(|exit| exit.0);
    let trap = error.downcast_ref::<Trap>().copied();
    if exit == Some(0) {
        return Ending::Exit(0);
    }
    if trap == Some(Trap::Interrupt) {
        return Ending::Timeout;
    }
    // Whatever a program does when it gets no memory, that was why.
    match refusal {
        Some(Refusal::Limit) => return Ending::OutOfMemory,
        Some(Refusal::Crowded) => return Ending::Crowded,
        None => {}
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return Ending::Crowded;
    }
    if let Some(broken) = error.downcast_ref::<Broken>() {
        return Ending::Broken(broken.to_string());
    }
    match (exit, trap) {
        (Some(status), _) => Ending::Exit(status),
        (None, Some(trap)) => {
            if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
                log.write(format!("{trap}\n{backtrace}\n").as_bytes());
            }
            let text = trap.to_string();
            Ending::Trap(text.trim_start_matches("wasm trap: ").to_owned())
        }
        (None, None) => Ending::NotStarted(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests;
