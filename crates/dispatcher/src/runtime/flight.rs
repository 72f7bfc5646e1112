//! One batch on its way: concurrency, the run, the verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use clock::Timestamp;
use event_log::{StoredRecord, TopicPartition};
use function::{Draw, Function, QualifiedName};
use instance::Outcome;
use metering::UsageRecord;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::feed::Feed;
use super::reading;
use super::status::{OK, problem};
use crate::BatchAnswer;
use crate::attempt::Attempt;
use crate::concurrency::Permit;
use crate::schedule::{Flight, FlightId, Verdict};

/// What a flight needs.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) shared: Arc<Shared>,
    pub(super) feed: Arc<Feed>,
    pub(super) place: TopicPartition,
    pub(super) flight: Flight,
    /// Its records as far as they are in memory.
    pub(super) records: Vec<StoredRecord>,
    /// Set when the attempt begins.
    pub(super) started: Arc<AtomicBool>,
    /// Cancelled when nothing more is to be begun.
    pub(super) halt: CancellationToken,
}

/// A flight that has ended.
#[derive(Debug)]
pub(super) struct Flown {
    pub(super) id: FlightId,
    pub(super) verdict: Verdict,
    /// What it used; `None` when there was no attempt.
    pub(super) usage: Option<UsageRecord>,
    /// For dead letters: what the function said.
    pub(super) response: Option<Response>,
    /// For the trigger's status.
    pub(super) result: String,
}

/// What a function said of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) request_id: String,
    /// AWS's `X-Amz-Function-Error`, if it failed.
    pub(super) function_error: Option<&'static str>,
    pub(super) body: Bytes,
}

/// Why a flight never began.
enum Grounded {
    Refused(String),
    Rejected(String),
}

impl Departure {
    pub(super) async fn fly(mut self) -> Flown {
        match self.begin().await {
            Ok((function, permit)) => self.run(&function, permit).await,
            Err(Grounded::Refused(reason)) => self.grounded(Verdict::Refused, reason),
            Err(Grounded::Rejected(reason)) => self.grounded(Verdict::Rejected, reason),
        }
    }

    /// Waits for all that an attempt needs: the records, the function, its concurrency.
    async fn begin(&mut self) -> Result<(Arc<Function>, Permit), Grounded> {
        self.complete_records().await?;
        let Some(target) = self.feed.function_of(&self.records) else {
            return Err(Grounded::Rejected(
                "the record names no function".to_owned(),
            ));
        };
        let clock = &self.shared.parts().clock;
        let expiry = self.flight.expires_at.map(|at| instant_of(at, clock.now()));
        let expired = async {
            match expiry {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.function_with_room(&target) => ready,
            () = self.halt.cancelled() => Err(Grounded::Refused("the trigger stops".to_owned())),
            () = expired => Err(Grounded::Refused("the event waited too long".to_owned())),
        }
    }

    /// The version that serves this attempt, as it is once there is room for it. A trigger waits for
    /// what does not exist; an asynchronous invocation does not.
    async fn function_with_room(
        &self,
        target: &QualifiedName,
    ) -> Result<(Arc<Function>, Permit), Grounded> {
        let functions = &self.shared.parts().functions;
        let mut changes = functions.changes();
        let draw = self.draw();
        loop {
            changes.mark_unchanged();
            let missing = format!("function {target} does not exist");
            match functions.resolve(target, draw) {
                Some(_) if self.is_off(target) => {
                    let reason = format!(
                        "function {} is switched off: it reserves nothing",
                        target.name
                    );
                    return Err(Grounded::Rejected(reason));
                }
                Some(_) => {
                    let permit = self.shared.invoker.permit(&target.name).await;
                    // It may have changed, or gone, while we waited.
                    if let Some(function) = functions.resolve(target, draw) {
                        return Ok((function, permit));
                    }
                }
                None if self.feed.id().is_none() => return Err(Grounded::Rejected(missing)),
                None => {
                    self.report(problem(&missing));
                    if changes.changed().await.is_err() {
                        return Err(Grounded::Refused(missing));
                    }
                }
            }
        }
    }

    fn draw(&self) -> Draw {
        self.attempt().draw()
    }

    fn attempt(&self) -> Attempt {
        let offsets = self.flight.offsets.iter().copied();
        self.feed.attempt(&self.place, offsets, self.flight.attempt)
    }

    /// A function that reserves nothing runs nothing: an asynchronous invocation fails at once, as
    /// with AWS; a trigger waits.
    fn is_off(&self, target: &QualifiedName) -> bool {
        let functions = &self.shared.parts().functions;
        let reserved = functions
            .function(&target.name)
            .and_then(|it| it.reserved_concurrency);
        self.feed.id().is_none() && reserved == Some(0)
    }

    async fn complete_records(&mut self) -> Result<(), Grounded> {
        if self.records.len() == self.flight.offsets.len() {
            return Ok(());
        }
        let loaded = reading::load(&self.shared, &self.place, &self.flight.offsets).await;
        self.records = loaded.map_err(|error| Grounded::Refused(error.to_string()))?;
        if self.records.len() == self.flight.offsets.len() {
            return Ok(());
        }
        let reason = "its record is no longer in the log".to_owned();
        Err(Grounded::Rejected(reason))
    }

    async fn run(self, function: &Function, permit: Permit) -> Flown {
        self.started.store(true, Ordering::Release);
        let attempt = self.attempt();
        let request_id =
            self.feed
                .request_id(&attempt, &function.account, &function.name, &self.records);
        let partition = self.place.partition;
        let run = self
            .feed
            .run(&self.shared, partition, &self.records, request_id.clone());
        let ran = match self.shared.invoker.run(function, run, permit).await {
            Ok(ran) => ran,
            Err(not_run) => {
                let reason = error_text(&not_run);
                tracing::warn!(
                    function = %function.name, place = %attempt.event, reason, "could not run"
                );
                return self.grounded(Verdict::Refused, reason);
            }
        };
        let usage = attempt.usage(function, &request_id, &ran);
        let (verdict, result) = self.judge(&ran.outcome);
        Flown {
            id: self.flight.id,
            verdict,
            usage: Some(usage),
            response: Some(Response {
                function_error: ran.outcome.function_error(),
                body: ran.outcome.body(&request_id),
                request_id,
            }),
            result,
        }
    }

    fn judge(&self, outcome: &Outcome) -> (Verdict, String) {
        let answer = match outcome {
            Outcome::Success(answer) => answer,
            Outcome::Error { .. }
            | Outcome::Timeout { .. }
            | Outcome::OutOfMemory
            | Outcome::Crashed { .. } => {
                return (Verdict::Failed, problem("Function call failed"));
            }
        };
        let partition = self.place.partition;
        match self
            .feed
            .answer(&self.shared, partition, &self.records, answer)
        {
            BatchAnswer::Done => (Verdict::Succeeded, OK.to_owned()),
            BatchAnswer::Failed(offsets) => (Verdict::ItemsFailed(offsets), OK.to_owned()),
            BatchAnswer::Unreadable => (
                Verdict::Failed,
                problem("the function's answer names items that are not in the batch"),
            ),
        }
    }

    fn grounded(self, verdict: Verdict, reason: String) -> Flown {
        Flown {
            id: self.flight.id,
            verdict,
            usage: None,
            response: None,
            result: problem(reason),
        }
    }

    fn report(&self, result: String) {
        let key = (self.feed.id(), self.place.clone());
        self.shared
            .status
            .set(&key, |entry| entry.last_result = result);
    }
}

/// The moment `at` on tokio's clock.
pub(super) fn instant_of(at: Timestamp, now: Timestamp) -> Instant {
    Instant::now() + at.since(now)
}

/// An error with its causes, on one line.
pub(super) fn error_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
