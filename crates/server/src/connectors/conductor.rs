//! One connector's work: finding its sources, and a reader for each.
//!
//! A conductor looks for sources, has those read that are this node's, and looks again: after the
//! pause that the kind asks for, sooner while a part of the source is absent, and at once when this
//! node's share has grown. Sources that came are read in addition and those that are gone are let go;
//! nobody else is disturbed. When finding fails, it is tried again after a pause that grows; when trying
//! cannot help and nothing is read, the connector waits until its user resumes it, which is a new
//! conductor.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use connector::{Pause, SourceError, grown_pause, pause_after};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Phase, Trouble, line};
use super::definitions::Connector;
use super::kind::{Absent, Sources};
use super::reading::Reading;
use super::{ConnectorName, Surroundings};

/// Drives one connector until it is stopped.
#[derive(Debug)]
pub(super) struct Conductor {
    pub(super) connector: Connector,
    pub(super) around: Surroundings,
    pub(super) board: Arc<Board>,
}

type Look<'a> = Pin<Box<dyn Future<Output = Result<Sources, SourceError>> + Send + 'a>>;

impl Conductor {
    pub(super) async fn run(self, stop: CancellationToken) {
        let name = self.name().clone();
        self.board.begin(&name);
        let mut reading = Reading::new(&self.connector, &self.around, &self.board);
        let mut shares = self.around.log.share();
        let mut share = *shares.borrow_and_update();
        let mut unlucky = 0;
        let mut look = self.look_in(Duration::ZERO);
        loop {
            self.tell(&reading);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = shares.changed() => {
                    share = *shares.borrow_and_update();
                    if reading.let_go(share).await {
                        look = self.look_in(Duration::ZERO);
                    }
                }
                () = reading.ended() => {}
                looked = &mut look => {
                    let again = match looked {
                        Ok(found) => {
                            unlucky = if found.lack_something() { unlucky + 1 } else { 0 };
                            let again = look_again(&found, unlucky);
                            self.note(&found.absent);
                            reading.take(found, share).await;
                            self.board.set(&name, |live| live.phase = Phase::Reading);
                            again
                        }
                        Err(error) => {
                            unlucky += 1;
                            self.found_nothing(&error, unlucky, &reading)
                        }
                    };
                    look = match again {
                        Some(pause) => self.look_in(pause),
                        None => Box::pin(std::future::pending()),
                    };
                }
            }
        }
        reading.stop().await;
        running_gauge(&name).set(0.0);
        self.board.end(&name);
    }

    fn name(&self) -> &ConnectorName {
        &self.connector.definition.name
    }

    fn look_in(&self, pause: Duration) -> Look<'_> {
        let at = Instant::now() + pause;
        Box::pin(async move {
            tokio::time::sleep_until(at).await;
            let kind = self.connector.definition.settings.as_kind();
            kind.sources(self.name(), &self.around).await
        })
    }

    /// Writes down what is not there, and says it when it is news.
    fn note(&self, absent: &[Absent]) {
        let name = self.name();
        let at = self.around.clock.now();
        let mut news = Vec::new();
        self.board.set(name, |live| {
            let before = std::mem::take(&mut live.absent);
            for Absent { what, why, weight } in absent {
                let text = line(why);
                let known = before.get(what).filter(|(known, _)| known.text == text);
                if known.is_none() {
                    news.push((what.clone(), text.clone()));
                }
                let at = known.map_or(at, |(known, _)| known.at);
                let trouble = Trouble { text, at };
                live.absent.insert(what.clone(), (trouble, *weight));
            }
        });
        for (what, error) in news {
            tracing::warn!(connector = %name, what, error, "a part of a connector's source cannot be read");
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of topics, in a gauge")]
        metrics::gauge!("tidemill_connector_absent", "connector" => name.to_string())
            .set(absent.len() as f64);
    }

    /// Decides when to look again after a failure; never, when that is its user's turn.
    fn found_nothing(
        &self,
        error: &SourceError,
        failures: u32,
        reading: &Reading,
    ) -> Option<Duration> {
        let name = self.name();
        let text = line(error);
        let pause = match pause_after(error, failures) {
            Pause::For(pause) => Some(pause),
            // Those that are read say themselves what they lack.
            Pause::Forever if !reading.is_empty() => Some(grown_pause(failures)),
            Pause::Forever => None,
        };
        match pause {
            None => {
                tracing::error!(connector = %name, error = text, "a connector is stopped until it is resumed");
            }
            Some(_) => {
                tracing::warn!(connector = %name, error = text, failures, "a connector's sources were not found; they are looked for again");
            }
        }
        let at = self.around.clock.now();
        self.board.set(name, |live| {
            live.trouble = Some(Trouble { text, at });
            live.phase = match pause {
                None => Phase::Failed,
                Some(_) if reading.is_empty() => Phase::Waiting,
                Some(_) => Phase::Reading,
            };
        });
        pause
    }

    fn tell(&self, reading: &Reading) {
        let phase = self.board.of(self.name()).map(|live| live.phase);
        let runs = match phase {
            Some(Phase::Waiting | Phase::Failed) => false,
            Some(Phase::Preparing | Phase::Reading) | None => !reading.has_failed(),
        };
        running_gauge(self.name()).set(if runs { 1.0 } else { 0.0 });
    }
}

/// When to look again: as the kind says, and soon while something is absent.
fn look_again(found: &Sources, unlucky: u32) -> Option<Duration> {
    let soon = found.lack_something().then(|| grown_pause(unlucky));
    found.look_again.into_iter().chain(soon).min()
}

fn running_gauge(name: &ConnectorName) -> metrics::Gauge {
    metrics::gauge!("tidemill_connector_running", "connector" => name.to_string())
}
