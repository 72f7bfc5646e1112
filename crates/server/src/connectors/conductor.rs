//! One connector's work: finding its sources, and a runner for each.
//!
//! A runner tries again by itself what may pass. What comes back from it, or from finding sources, is
//! handled here by the same classes: tried again after a pause that grows, or given up with the
//! reason until the user resumes the connector, which is a new conductor.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use connector::{Pause, Runner, Settings, Source, SourceError, pause_after};
use event::SourceId;
use event_log::{Share, SharedLog};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Phase, SourceState, Trouble, line};
use super::definitions::Connector;
use super::kind::Sources;
use super::observed::{Observed, id_of};
use super::{ConnectorName, Surroundings};

/// Drives one connector until it is stopped.
#[derive(Debug)]
pub(super) struct Conductor {
    pub(super) connector: Connector,
    pub(super) around: Surroundings,
    pub(super) board: Arc<Board>,
}

/// Why a round of reading ended.
enum Ended {
    /// It was told to.
    Stopped,
    /// Other sources are this node's now.
    Changed,
    /// There are other sources now: these.
    Found(Sources),
    /// A part of it failed.
    Failed(SourceError),
}

type Runners = JoinSet<Result<(), connector::Error>>;

impl Conductor {
    pub(super) async fn run(self, stop: CancellationToken) {
        let name = self.name().clone();
        self.board.begin(&name);
        let running =
            metrics::gauge!("tidemill_connector_running", "connector" => name.to_string());
        let mut failures = 0;
        let mut found = None;
        loop {
            self.board.set(&name, |live| live.phase = Phase::Preparing);
            running.set(1.0);
            let error = match self.round(&stop, found.take(), &mut failures).await {
                Ended::Stopped => break,
                Ended::Changed => continue,
                Ended::Found(sources) => {
                    found = Some(sources);
                    continue;
                }
                Ended::Failed(error) => error,
            };
            failures += 1;
            running.set(0.0);
            let text = line(&error);
            let pause = pause_after(&error, failures);
            match pause {
                Pause::Forever => {
                    tracing::error!(connector = %name, error = text, "a connector is stopped until it is resumed")
                }
                Pause::For(_) => {
                    tracing::warn!(connector = %name, error = text, failures, "a connector failed and is started again")
                }
            }
            let at = self.around.clock.now();
            self.board.set(&name, |live| {
                live.trouble = Some(Trouble { text, at });
                live.phase = match pause {
                    Pause::Forever => Phase::Failed,
                    Pause::For(_) => Phase::Waiting,
                };
            });
            let again = async {
                match pause {
                    Pause::Forever => std::future::pending().await,
                    Pause::For(pause) => tokio::time::sleep_until(Instant::now() + pause).await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = again => {}
            }
        }
        running.set(0.0);
        self.board.end(&name);
    }

    fn name(&self) -> &ConnectorName {
        &self.connector.definition.name
    }

    fn log(&self) -> &SharedLog {
        &self.around.log
    }

    /// Reads all sources that are this node's until something changes: those that were `found`, else
    /// those that there are. No runner outlives it.
    async fn round(
        &self,
        stop: &CancellationToken,
        found: Option<Sources>,
        failures: &mut u32,
    ) -> Ended {
        let found = match found {
            Some(found) => Ok(found),
            None => tokio::select! {
                biased;
                () = stop.cancelled() => return Ended::Stopped,
                found = self.sources() => found,
            },
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => return Ended::Failed(error),
        };
        *failures = 0;
        let mut shares = self.log().share();
        let share = *shares.borrow_and_update();
        let ids = self.ids(&found.all);
        self.board.set(self.name(), |live| {
            live.phase = Phase::Reading;
            live.sources.retain(|id, _| ids.contains(id));
        });
        let halt = CancellationToken::new();
        let mut runners = self.start(found.all, share, &halt);
        let mut others = pin!(self.others(found.look_again, &ids));
        let ended = loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break Ended::Stopped,
                Ok(()) = shares.changed() => {
                    let now = *shares.borrow_and_update();
                    if ids.iter().any(|id| now.holds_source(id) != share.holds_source(id)) {
                        break Ended::Changed;
                    }
                }
                Some(ended) = runners.join_next() => break failure(ended),
                others = &mut others => break Ended::Found(others),
            }
        };
        halt.cancel();
        while runners.join_next().await.is_some() {}
        ended
    }

    async fn sources(&self) -> Result<Sources, SourceError> {
        let kind = self.connector.definition.settings.as_kind();
        kind.sources(self.name(), &self.around).await
    }

    fn ids(&self, sources: &[Box<dyn Source>]) -> Vec<SourceId> {
        let origin = self.connector.origin;
        let ids = sources.iter().map(|source| id_of(source.id(), origin));
        ids.collect()
    }

    fn start(
        &self,
        sources: Vec<Box<dyn Source>>,
        share: Share,
        halt: &CancellationToken,
    ) -> Runners {
        let mut runners = JoinSet::new();
        for inner in sources {
            let id = id_of(inner.id(), self.connector.origin);
            let held = share.holds_source(&id);
            self.board.set_source(self.name(), &id, |live| {
                live.state = match held {
                    true => SourceState::Opening,
                    false => SourceState::Elsewhere,
                };
            });
            if !held {
                continue;
            }
            let source = Box::new(Observed {
                inner,
                id,
                connector: self.name().clone(),
                board: Arc::clone(&self.board),
                clock: self.around.clock.clone(),
            });
            let clock = self.around.clock.clone();
            let runner = Runner::new(source, self.log().clone(), clock, Settings::default());
            runners.spawn(runner.run(halt.clone()));
        }
        runners
    }

    /// Waits until there are other sources than these, and returns them: a source that came later may
    /// begin elsewhere, and only who first sees it knows that it is one.
    async fn others(&self, look_again: Option<Duration>, known: &[SourceId]) -> Sources {
        let Some(pause) = look_again else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep_until(Instant::now() + pause).await;
            match self.sources().await {
                Ok(found) if self.ids(&found.all) != known => return found,
                Ok(_) => {}
                // Those that run say themselves when the source cannot be reached.
                Err(error) => {
                    tracing::debug!(connector = %self.name(), error = line(&error), "look for further sources");
                }
            }
        }
    }
}

/// What the end of a runner means for its connector.
fn failure(ended: Result<Result<(), connector::Error>, tokio::task::JoinError>) -> Ended {
    use connector::Error as E;
    let error = match ended {
        // Only those that were halted end so.
        Ok(Ok(())) => return Ended::Changed,
        Ok(Err(E::Source { source, .. })) => return Ended::Failed(source),
        Ok(Err(error)) => error,
        Err(panicked) => {
            return Ended::Failed(SourceError::Rejected {
                act: "read a source".to_owned(),
                source: panicked.into(),
            });
        }
    };
    let act = error.to_string();
    match error {
        E::Contract { .. } | E::TopicTaken { .. } => Ended::Failed(SourceError::Rejected {
            act: "read a source".to_owned(),
            source: error.into(),
        }),
        // The log knows the position: whoever opens the next epoch goes on there.
        E::Log { source, .. } => Ended::Failed(SourceError::Unavailable {
            act,
            source: source.into(),
        }),
        E::Source { source, .. } => Ended::Failed(source),
    }
}
