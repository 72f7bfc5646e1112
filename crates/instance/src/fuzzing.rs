//! The Runtime API of one instance without the instance, for programs that send it nonsense.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::SharedClock;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::runtime_api::{
    Answer, Exchange, Extensions, Initialisation, Reason, Report, Stream, connection, event,
};
use crate::{Invocation, Spec};

/// The state behind an instance's connections, and the platform's side of it.
pub struct Api {
    clock: SharedClock,
    exchange: Arc<Exchange>,
    extensions: Arc<Extensions>,
}

/// An event that was offered to the runtime.
pub struct Offered {
    answer: oneshot::Receiver<Answer>,
}

/// What came of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// A response.
    Response(Bytes),
    /// An error: its type, and its body.
    Error(String, Bytes),
    /// A response of so many bytes, which are too many.
    TooLarge(u64),
}

impl Api {
    /// Of an instance of `spec`, whose layers have these external extensions.
    #[must_use]
    pub fn new(clock: SharedClock, spec: &Spec, external: Vec<String>) -> Self {
        Self {
            exchange: Arc::new(Exchange::new(Arc::clone(&clock))),
            extensions: Arc::new(Extensions::new(spec, external)),
            clock,
        }
    }

    /// Serves one connection until it ends.
    pub fn serve<I>(&self, io: I) -> impl Future<Output = ()> + use<I>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (exchange, extensions) = (Arc::clone(&self.exchange), Arc::clone(&self.extensions));
        connection(TokioIo::new(io), exchange, extensions)
    }

    /// Offers an event, to the runtime and to extensions. The one before must have been answered.
    #[must_use]
    pub fn offer(&self, invocation: Invocation, timeout: Duration) -> Offered {
        let deadline = self.clock.now().plus(timeout);
        self.extensions.invoke(&invocation, deadline);
        Offered {
            answer: self.exchange.offer(invocation, timeout),
        }
    }

    /// Whether the runtime has taken the event that was offered, and not answered it yet.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.exchange.taken_at().is_some()
    }

    /// Whether the runtime has reported that it cannot initialise.
    #[must_use]
    pub fn failed(&self) -> bool {
        let progress = self.exchange.initialisation();
        matches!(*progress.borrow(), Initialisation::Failed(_))
    }

    /// Ends the time in which extensions register and subscribe.
    pub fn close_registration(&self) {
        self.extensions.close();
        self.extensions.telemetry().close();
    }

    /// Tells those who listen that the function has printed something.
    pub fn tell(&self, printed: &str) {
        let event = event(self.clock.now(), "function", json!(printed));
        self.extensions.telemetry().tell(Stream::Function, &event);
    }

    /// Takes what is to be handed to a listener, which takes it, and returns how many events that are.
    pub fn hand_over(&self) -> usize {
        let telemetry = self.extensions.telemetry();
        telemetry.hurry();
        let Some(batch) = telemetry.take() else {
            return 0;
        };
        telemetry.handed_over(&batch, Ok(()), self.clock.now());
        batch.events.len()
    }

    /// Tells extensions of the end.
    pub fn shut_down(&self) {
        self.extensions
            .shut_down(Reason::Spindown, self.clock.now());
    }
}

impl Offered {
    /// What came of it, once that is known, and then no more.
    pub fn answered(&mut self) -> Option<Answered> {
        let answer = self.answer.try_recv().ok()?;
        Some(match answer.report {
            Report::Response(body) => Answered::Response(body),
            Report::Error(fault) => Answered::Error(fault.error_type, fault.body),
            Report::TooLarge(bytes) => Answered::TooLarge(bytes),
        })
    }
}
