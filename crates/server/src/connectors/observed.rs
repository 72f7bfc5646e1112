//! A source whose work is written on the board.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use connector::{Batch, Memory, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};

use super::ConnectorName;
use super::board::{Board, SourceLive, SourceState, Trouble, line};
use super::definitions::Origin;

/// Passes everything on, and notes it. It also gives the source an id of the connector's own.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) inner: Box<dyn Source>,
    pub(super) id: SourceId,
    pub(super) connector: ConnectorName,
    pub(super) board: Arc<Board>,
    pub(super) clock: SharedClock,
}

/// The id under which the log keeps a source's position. A connector that is removed and added again
/// begins anew, so its sources are others.
pub(super) fn id_of(source: &SourceId, origin: Origin) -> SourceId {
    match origin {
        Origin::Declared => source.clone(),
        Origin::Added(id) => SourceId::new(format!("{source}#{}", &id.simple().to_string()[..8])),
    }
}

impl Observed {
    fn note(&self, change: impl FnOnce(&mut SourceLive)) {
        self.board.set_source(&self.connector, &self.id, change);
    }

    fn failed(&self, error: &SourceError) {
        let trouble = Trouble {
            text: line(error),
            at: self.clock.now(),
        };
        self.note(|live| {
            live.state = SourceState::Retrying;
            live.trouble = Some(trouble);
        });
    }

    fn measure(&self) {
        let (events, bytes) = (self.inner.lag(), self.inner.lag_bytes());
        self.note(|live| {
            live.lag_events = events;
            live.lag_bytes = bytes;
        });
    }
}

#[async_trait]
impl Source for Observed {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn recall(&mut self, memory: Memory) {
        self.inner.recall(memory);
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        let opened = self.inner.open(position).await;
        match &opened {
            Ok(_) => {
                self.note(|live| live.state = SourceState::Reading);
                self.measure();
            }
            Err(error) => self.failed(error),
        }
        opened
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        let next = self.inner.next(max_bytes).await;
        match &next {
            Ok(batch) => {
                let newest = batch.deliveries.iter().map(|it| it.record.timestamp).max();
                let delay = newest.map(|at| self.clock.now().since(at).as_millis());
                self.note(|live| {
                    live.events += batch.deliveries.len() as u64;
                    if let Some(delay) = delay {
                        live.delay_ms = u64::try_from(delay).ok();
                    }
                });
            }
            Err(error) => self.failed(error),
        }
        next
    }

    async fn check(&mut self, quiet: Duration) -> Result<(), SourceError> {
        let checked = self.inner.check(quiet).await;
        match &checked {
            Ok(()) => self.measure(),
            Err(error) => self.failed(error),
        }
        checked
    }

    async fn acknowledge(&mut self, position: &SourcePosition) -> Result<(), SourceError> {
        let acknowledged = self.inner.acknowledge(position).await;
        match &acknowledged {
            Ok(()) => self.measure(),
            Err(error) => self.failed(error),
        }
        acknowledged
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        self.inner.order(one, other)
    }

    fn lag(&self) -> Option<u64> {
        self.inner.lag()
    }

    fn lag_bytes(&self) -> Option<u64> {
        self.inner.lag_bytes()
    }
}
