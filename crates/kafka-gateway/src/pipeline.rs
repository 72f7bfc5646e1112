//! Requests of one connection between decoding and answer.
//!
//! Answers leave in the order of requests. Requests are carried out one after the other, as a Kafka
//! broker does, with one exception that no client can tell apart: Produce requests in a row are all
//! submitted to the log at once and in order, so that they share a group commit.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use kafka_protocol::messages::RequestKind;

use crate::broker::{Answer, Broker, Client, Space};
use crate::produce::{Weight, Writes};
use crate::wire::{self, Body, Header, Request, WireError};

/// Requests of one connection that are read and not yet answered. Clients keep at most five
/// (idempotent producers) to a few dozen under way.
pub(crate) const MAX_IN_FLIGHT: usize = 64;

/// The requests of one connection, oldest first.
pub(crate) struct Pipeline {
    broker: Arc<Broker>,
    client: Client,
    stages: VecDeque<(Stage, Space)>,
}

/// How far a request has come: `Waiting` becomes `Running` or `Writing` when its turn comes, and
/// both end in an answer.
#[expect(
    clippy::large_enum_variant,
    reason = "a connection has at most 64, and a box would cost each request an allocation"
)]
enum Stage {
    Waiting(Request),
    Running(BoxFuture<'static, Result<Answer, WireError>>),
    Writing(Header, Writes),
}

impl Pipeline {
    pub(crate) fn new(broker: Arc<Broker>, client: Client) -> Self {
        Self {
            broker,
            client,
            stages: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, request: Request, space: Space) {
        self.stages.push_back((Stage::Waiting(request), space));
    }

    pub(crate) fn len(&self) -> usize {
        self.stages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// The answer to the oldest request; pending forever when there is none. Dropping this future
    /// loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Answer, WireError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer, WireError>> {
        for index in 0..self.stages.len() {
            let started = self.start(index);
            let (stage, _) = &mut self.stages[index];
            match stage {
                // Behind writes: its turn comes when it is the oldest.
                Stage::Waiting(_) => break,
                Stage::Running(answer) => {
                    let Poll::Ready(answer) = answer.as_mut().poll(context) else {
                        break;
                    };
                    self.stages.pop_front();
                    return Poll::Ready(answer);
                }
                Stage::Writing(header, writes) => {
                    let done = writes.poll(context);
                    if index == 0 && done.is_ready() {
                        let answer = settled(header, writes);
                        self.stages.pop_front();
                        return Poll::Ready(answer);
                    }
                    // A later write must not reach the log before this one.
                    if !writes.are_submitted() {
                        break;
                    }
                    if started == Weight::Heavy {
                        // The next one may be as heavy, and other connections wait.
                        context.waker().wake_by_ref();
                        break;
                    }
                }
            }
        }
        Poll::Pending
    }

    /// Starts the request at `index` if it is its turn: any request when it is the oldest, a
    /// Produce request also behind others of its kind. Says what that took.
    fn start(&mut self, index: usize) -> Weight {
        let (stage, _) = &mut self.stages[index];
        let Stage::Waiting(request) = stage else {
            return Weight::Light;
        };
        let is_produce = matches!(request.body, Body::Served(RequestKind::Produce(_)));
        if index > 0 && !is_produce {
            return Weight::Light;
        }
        let placeholder = Stage::Running(Box::pin(std::future::pending()));
        let Stage::Waiting(request) = std::mem::replace(stage, placeholder) else {
            return Weight::Light;
        };
        match request.body {
            Body::Served(RequestKind::Produce(produce)) => {
                let writes = Writes::begin(&self.broker, produce);
                let weight = writes.weight();
                *stage = Stage::Writing(request.header, writes);
                weight
            }
            Body::Served(_) | Body::FutureApiVersions => {
                let answer = self.broker.clone().answer(request, self.client.clone());
                *stage = Stage::Running(Box::pin(answer));
                Weight::Light
            }
        }
    }
}

/// The answer to a Produce request whose writes are done. Without acknowledgement a refusal can
/// only be shown by closing the connection.
fn settled(header: &Header, writes: &mut Writes) -> Result<Answer, WireError> {
    if writes.are_acknowledged() {
        return Ok(Answer::of(wire::encode(header, &writes.response())?));
    }
    if writes.are_refused() {
        return Err(WireError::RefusedUnheard);
    }
    Ok(Answer {
        frame: None,
        space: Space::default(),
    })
}
