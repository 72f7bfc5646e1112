//! One event out, one answer in.

use std::time::Duration;

use bytes::Bytes;
use clock::{Monotonic, SharedClock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, oneshot, watch};

use crate::Invocation;

/// The state between the platform, which offers events, and the runtime, which asks for them.
///
/// An event goes from *offered* to *taken* when the runtime asks, and from *taken* to nothing when
/// the runtime answers; there is never more than one.
pub(crate) struct Exchange {
    clock: SharedClock,
    turn: Mutex<Turn>,
    offered: Notify,
    initialisation: watch::Sender<Initialisation>,
    /// How many requests for an event wait for one.
    asking: watch::Sender<usize>,
    /// Places for answers on their way that are large.
    pub(super) large_bodies: Semaphore,
}

/// Large bodies of one instance that are kept at a time: an answer, and one that its sender has given up.
const LARGE_BODIES: usize = 2;

/// How far the runtime has come before its first event.
#[derive(Clone, Debug)]
pub(crate) enum Initialisation {
    Running,
    /// It has asked for an event, at this reading.
    Done(Monotonic),
    /// It has reported that it cannot.
    Failed(Fault),
}

/// An error that the runtime reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) error_type: String,
    pub(crate) body: Bytes,
}

/// What the runtime said about an event.
#[derive(Debug)]
pub(crate) enum Report {
    Response(Bytes),
    Error(Fault),
    /// A response of this many bytes, which is more than is allowed.
    TooLarge(u64),
}

/// A report, and how long it took.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) report: Report,
    /// From the handing out of the event to the report.
    pub(crate) duration: Duration,
}

/// Why a request of the runtime's is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It names an invocation that is not running.
    UnknownRequest,
    /// It comes at the wrong time.
    OutOfTurn,
}

enum Turn {
    Nobody,
    Offered(Offer),
    Taken(Taken),
}

struct Offer {
    invocation: Invocation,
    timeout: Duration,
    answer: oneshot::Sender<Answer>,
}

struct Taken {
    request_id: String,
    at: Monotonic,
    answer: oneshot::Sender<Answer>,
}

/// An event on its way to the runtime.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) invocation: Invocation,
    /// When it will be killed.
    pub(crate) deadline: Timestamp,
}

impl Exchange {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            turn: Mutex::new(Turn::Nobody),
            offered: Notify::new(),
            initialisation: watch::Sender::new(Initialisation::Running),
            asking: watch::Sender::new(0),
            large_bodies: Semaphore::new(LARGE_BODIES),
        }
    }

    /// Offers an event to the runtime, which has `timeout` for it once it takes it. The receiver resolves
    /// when the runtime has answered it.
    pub(crate) fn offer(
        &self,
        invocation: Invocation,
        timeout: Duration,
    ) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        *self.turn.lock() = Turn::Offered(Offer {
            invocation,
            timeout,
            answer,
        });
        self.offered.notify_one();
        receiver
    }

    /// When the running event was handed out; `None` while none is.
    pub(crate) fn taken_at(&self) -> Option<Monotonic> {
        match &*self.turn.lock() {
            Turn::Taken(taken) => Some(taken.at),
            Turn::Nobody | Turn::Offered(_) => None,
        }
    }

    /// Follows the runtime's initialisation.
    pub(crate) fn initialisation(&self) -> watch::Receiver<Initialisation> {
        self.initialisation.subscribe()
    }

    /// Follows how many requests for an event wait for one.
    pub(crate) fn asking(&self) -> watch::Receiver<usize> {
        self.asking.subscribe()
    }

    /// The next event, whenever there is one. Cancel safe: an event that was not returned is
    /// offered to the next caller.
    pub(crate) async fn next(&self) -> Result<Event, Refusal> {
        self.initialisation.send_if_modified(|state| {
            let first = matches!(state, Initialisation::Running);
            if first {
                *state = Initialisation::Done(self.clock.monotonic());
            }
            first
        });
        let _asking = Asking::begin(&self.asking);
        loop {
            let offered = self.offered.notified();
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            offered.await;
        }
    }

    fn take(&self) -> Result<Option<Event>, Refusal> {
        let mut turn = self.turn.lock();
        match std::mem::replace(&mut *turn, Turn::Nobody) {
            Turn::Nobody => Ok(None),
            Turn::Offered(Offer {
                invocation,
                timeout,
                answer,
            }) => {
                *turn = Turn::Taken(Taken {
                    request_id: invocation.request_id.clone(),
                    at: self.clock.monotonic(),
                    answer,
                });
                let deadline = self.clock.now().plus(timeout);
                Ok(Some(Event {
                    invocation,
                    deadline,
                }))
            }
            taken @ Turn::Taken(_) => {
                *turn = taken;
                Err(Refusal::OutOfTurn)
            }
        }
    }

    /// Whether `request_id` is the event that runs.
    pub(crate) fn is_running(&self, request_id: &str) -> Result<(), Refusal> {
        match &*self.turn.lock() {
            Turn::Taken(taken) if taken.request_id == request_id => Ok(()),
            Turn::Taken(_) | Turn::Offered(_) | Turn::Nobody => Err(Refusal::UnknownRequest),
        }
    }

    /// Ends the running event with what the runtime said of it.
    pub(crate) fn answer(&self, request_id: &str, report: Report) -> Result<(), Refusal> {
        let mut turn = self.turn.lock();
        match std::mem::replace(&mut *turn, Turn::Nobody) {
            Turn::Taken(taken) if taken.request_id == request_id => {
                let duration = self.clock.monotonic().since(taken.at);
                // Nobody waits when the invocation was abandoned; the instance is dying then.
                let _ = taken.answer.send(Answer { report, duration });
                Ok(())
            }
            other => {
                *turn = other;
                Err(Refusal::UnknownRequest)
            }
        }
    }

    /// Ends the initialisation with an error.
    pub(crate) fn fail_initialisation(&self, fault: Fault) -> Result<(), Refusal> {
        let mut fault = Some(fault);
        let failed = self
            .initialisation
            .send_if_modified(|state| match (&*state, fault.take()) {
                (Initialisation::Running, Some(fault)) => {
                    *state = Initialisation::Failed(fault);
                    true
                }
                (_, _) => false,
            });
        if failed {
            Ok(())
        } else {
            Err(Refusal::OutOfTurn)
        }
    }
}

/// Counts a request while it waits.
struct Asking<'a>(&'a watch::Sender<usize>);

impl<'a> Asking<'a> {
    fn begin(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|asking| *asking += 1);
        Self(count)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|asking| *asking -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::ManualClock;

    use super::*;

    fn exchange() -> (Arc<ManualClock>, Exchange) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000)));
        let shared: SharedClock = clock.clone();
        (clock, Exchange::new(shared))
    }

    fn invocation(request_id: &str) -> Invocation {
        Invocation {
            request_id: request_id.to_owned(),
            payload: Bytes::from_static(b"{}"),
            arn: "arn".to_owned(),
            trace_id: None,
            client_context: None,
        }
    }

    fn response() -> Report {
        Report::Response(Bytes::from_static(b"1"))
    }

    #[tokio::test]
    async fn duration_runs_from_handing_out_the_event_to_its_answer() {
        let (clock, exchange) = exchange();
        let answer = exchange.offer(invocation("a"), Duration::from_secs(3));
        clock.advance(Duration::from_millis(100));
        let event = exchange.next().await.unwrap();
        assert_eq!(event.deadline, Timestamp::from_millis(4_100));
        clock.advance(Duration::from_millis(7));
        exchange.answer("a", response()).unwrap();
        assert_eq!(answer.await.unwrap().duration, Duration::from_millis(7));
    }

    #[tokio::test]
    async fn an_answer_for_another_request_is_refused_and_changes_nothing() {
        let (_, exchange) = exchange();
        let answer = exchange.offer(invocation("a"), Duration::from_secs(3));
        assert_eq!(
            exchange.answer("a", response()),
            Err(Refusal::UnknownRequest)
        );
        exchange.next().await.unwrap();
        assert_eq!(
            exchange.answer("b", response()),
            Err(Refusal::UnknownRequest)
        );
        assert_eq!(exchange.answer("a", response()), Ok(()));
        assert_eq!(
            exchange.answer("a", response()),
            Err(Refusal::UnknownRequest)
        );
        assert!(matches!(answer.await.unwrap().report, Report::Response(_)));
    }

    #[tokio::test]
    async fn no_second_event_is_handed_out_while_one_runs() {
        let (_, exchange) = exchange();
        let _answer = exchange.offer(invocation("a"), Duration::from_secs(3));
        exchange.next().await.unwrap();
        assert_eq!(exchange.next().await.err(), Some(Refusal::OutOfTurn));
    }

    #[tokio::test]
    async fn initialisation_ends_once() {
        let (clock, exchange) = exchange();
        clock.advance(Duration::from_millis(40));
        let _answer = exchange.offer(invocation("a"), Duration::from_secs(3));
        exchange.next().await.unwrap();
        let fault = Fault {
            error_type: "E".to_owned(),
            body: Bytes::new(),
        };
        assert_eq!(exchange.fail_initialisation(fault), Err(Refusal::OutOfTurn));
        let state = exchange.initialisation().borrow().clone();
        let at = Monotonic::from_origin(Duration::from_millis(40));
        assert!(matches!(state, Initialisation::Done(done) if done == at));
    }
}
