//! The sources of a connector that this node reads, each by a task of its own.
//!
//! A runner tries again by itself what may pass at the source. What comes back from it is handled here:
//! when our log refused, the source is driven again after a pause that grows; when trying cannot help,
//! it stands still with its reason, and the connector's other sources go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connector::{Error, Pause, Runner, Settings, Source, grown_pause, pause_after};
use event::SourceId;
use event_log::Share;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::{Board, SourceState, Trouble, line};
use super::definitions::{Connector, Origin};
use super::kind::Sources;
use super::observed::{Observed, id_of};
use super::{ConnectorName, Surroundings};

/// What is read of a connector. Dropping it drops its readers; [`stop`](Self::stop) waits for them.
#[derive(Debug)]
pub(super) struct Reading {
    connector: ConnectorName,
    origin: Origin,
    around: Surroundings,
    board: Arc<Board>,
    readers: BTreeMap<SourceId, Reader>,
    tasks: JoinSet<()>,
    /// Found, and another node's.
    elsewhere: BTreeSet<SourceId>,
}

/// The reader of one source.
#[derive(Debug)]
struct Reader {
    halt: CancellationToken,
    /// `None` once it has given up.
    task: Option<Id>,
}

impl Reading {
    pub(super) fn new(connector: &Connector, around: &Surroundings, board: &Arc<Board>) -> Self {
        Self {
            connector: connector.definition.name.clone(),
            origin: connector.origin,
            around: around.clone(),
            board: Arc::clone(board),
            readers: BTreeMap::new(),
            tasks: JoinSet::new(),
            elsewhere: BTreeSet::new(),
        }
    }

    /// Whether nothing is read, nor has been given up.
    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// Whether there are readers, and all have given up.
    pub(super) fn has_failed(&self) -> bool {
        !self.readers.is_empty() && self.readers.values().all(|reader| reader.task.is_none())
    }

    /// Reads what was found, as far as it is of this node's share, and nothing else from then on. What
    /// is read already goes on undisturbed.
    pub(super) async fn take(&mut self, found: Sources, share: Share) {
        let mut sources: BTreeMap<SourceId, Box<dyn Source>> = BTreeMap::new();
        for source in found.all {
            sources.insert(id_of(source.id(), self.origin), source);
        }
        let known = self.readers.keys().filter(|id| !sources.contains_key(id));
        let gone: Vec<SourceId> = known.cloned().collect();
        self.end(&gone).await;
        self.elsewhere.clear();
        self.board.set(&self.connector, |live| {
            live.sources.retain(|id, _| sources.contains_key(id));
        });
        for (id, source) in sources {
            if !share.holds_source(&id) {
                self.is_elsewhere(id);
            } else if !self.readers.contains_key(&id) {
                self.read(id, source, found.runner);
            }
        }
    }

    /// Stops reading what is not of this node's share any more. True when something is that was not.
    pub(super) async fn let_go(&mut self, share: Share) -> bool {
        let lost = self.readers.keys().filter(|id| !share.holds_source(id));
        let lost: Vec<SourceId> = lost.cloned().collect();
        self.end(&lost).await;
        for id in lost {
            self.is_elsewhere(id);
        }
        self.elsewhere.iter().any(|id| share.holds_source(id))
    }

    /// Waits until a reader has given up; for ever, when there are none.
    pub(super) async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.note(ended),
            None => std::future::pending().await,
        }
    }

    /// Stops reading.
    pub(super) async fn stop(mut self) {
        let all: Vec<SourceId> = self.readers.keys().cloned().collect();
        self.end(&all).await;
    }

    fn read(&mut self, id: SourceId, inner: Box<dyn Source>, settings: Settings) {
        self.board
            .set_source(&self.connector, &id, |live| *live = Default::default());
        let source = Box::new(Observed {
            inner,
            id: id.clone(),
            connector: self.connector.clone(),
            board: Arc::clone(&self.board),
            clock: self.around.clock.clone(),
        });
        let (log, clock) = (self.around.log.clone(), self.around.clock.clone());
        let halt = CancellationToken::new();
        let task = Task {
            runner: Runner::new(source, log, clock, settings),
            id: id.clone(),
            connector: self.connector.clone(),
            around: self.around.clone(),
            board: Arc::clone(&self.board),
        };
        let task = self.tasks.spawn(task.run(halt.clone())).id();
        let reader = Reader {
            halt,
            task: Some(task),
        };
        self.readers.insert(id, reader);
    }

    fn is_elsewhere(&mut self, id: SourceId) {
        self.board.set_source(&self.connector, &id, |live| {
            live.state = SourceState::Elsewhere;
        });
        self.elsewhere.insert(id);
    }

    /// Halts readers, waits for their ends, and forgets them.
    async fn end(&mut self, ids: &[SourceId]) {
        for id in ids {
            if let Some(reader) = self.readers.get(id) {
                reader.halt.cancel();
            }
        }
        let still = |this: &Self| {
            let mut readers = ids.iter().filter_map(|id| this.readers.get(id));
            readers.any(|reader| reader.task.is_some())
        };
        while still(self) {
            match self.tasks.join_next_with_id().await {
                Some(ended) => self.note(ended),
                None => break,
            }
        }
        for id in ids {
            self.readers.remove(id);
        }
    }

    fn note(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let (task, panicked) = match ended {
            Ok((task, ())) => (task, None),
            Err(error) => (error.id(), Some(error)),
        };
        let of_task = |(_, reader): &(&SourceId, &mut Reader)| reader.task == Some(task);
        let Some((id, reader)) = self.readers.iter_mut().find(of_task) else {
            return;
        };
        reader.task = None;
        if let Some(error) = panicked {
            tracing::error!(connector = %self.connector, source = %id, %error, "a source's reader panicked");
            let at = self.around.clock.now();
            self.board.set_source(&self.connector, id, |live| {
                live.state = SourceState::Failed;
                live.trouble = Some(Trouble {
                    text: error.to_string(),
                    at,
                });
            });
        }
    }
}

/// What a reader does.
struct Task {
    runner: Runner,
    id: SourceId,
    connector: ConnectorName,
    around: Surroundings,
    board: Arc<Board>,
}

impl Task {
    /// Runs until it is halted or gives up.
    async fn run(mut self, halt: CancellationToken) {
        let mut failures = 0;
        loop {
            let before = self.around.log.position(&self.id);
            let Err(error) = self.runner.drive(&halt).await else {
                return;
            };
            if self.around.log.position(&self.id) != before {
                failures = 0;
            }
            failures += 1;
            let pause = pause(&error, failures);
            self.tell(&error, pause);
            match pause {
                Pause::Forever => return,
                Pause::For(pause) => tokio::select! {
                    () = halt.cancelled() => return,
                    () = wait(pause) => {}
                },
            }
        }
    }

    fn tell(&self, error: &Error, pause: Pause) {
        let text = line(error);
        let (connector, source) = (&self.connector, &self.id);
        let state = match pause {
            Pause::Forever => {
                tracing::error!(%connector, %source, error = text, "a source is not read until its connector is resumed");
                SourceState::Failed
            }
            Pause::For(_) => {
                tracing::warn!(%connector, %source, error = text, "a source's reader failed and is started again");
                SourceState::Retrying
            }
        };
        let at = self.around.clock.now();
        self.board.set_source(connector, source, |live| {
            live.state = state;
            live.trouble = Some(Trouble { text, at });
        });
    }
}

async fn wait(pause: Duration) {
    tokio::time::sleep_until(Instant::now() + pause).await;
}

/// What the end of a runner asks for.
fn pause(error: &Error, failures: u32) -> Pause {
    match error {
        Error::Source { source, .. } => pause_after(source, failures),
        Error::Contract { .. } | Error::TopicTaken { .. } => Pause::Forever,
        // The log knows the position: whoever opens the next epoch goes on there.
        Error::Log { .. } => Pause::For(grown_pause(failures)),
    }
}
