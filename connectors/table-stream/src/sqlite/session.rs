//! An attached file: looks, waits, and what may be forgotten.

use std::time::Duration;

use clock::SharedClock;
use connector::{Batch, SourceError};
use event::SourceId;
use tokio::time::Instant;

use super::failure::unavailable;
use super::look::Reader;
use super::position::{Place, State, resumable};
use super::wake::{Pause, Watch};

/// So many acknowledged changes are removed without waiting for a quiet moment.
const REMOVE_FROM: i64 = 1_000;

/// How long it must have been quiet before fewer are: removing takes the write lock, and programs that
/// do not wait for locks fail when they meet it.
const QUIET: Duration = Duration::from_secs(1);

pub(super) struct Session {
    id: SourceId,
    clock: SharedClock,
    watch: Watch,
    /// Taken out while a thread looks: a call that is dropped halfway leaves nothing half-read behind.
    reader: Option<Reader>,
    pub(super) place: Place,
    pub(super) state: State,
    pub(super) waiting: i64,
    /// Every change up to this one is durable in our log.
    acknowledged: i64,
    /// Changes before this one were removed.
    removed: i64,
}

impl Session {
    pub(super) fn new(
        id: SourceId,
        clock: SharedClock,
        watch: Watch,
        reader: Reader,
        place: Place,
        state: State,
    ) -> Self {
        Self {
            id,
            clock,
            watch,
            reader: Some(reader),
            waiting: 0,
            acknowledged: 0,
            removed: 0,
            place,
            state,
        }
    }

    /// Waits for something to hand over.
    pub(super) async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        let mut pause = Pause::first();
        let mut quiet_from = Instant::now();
        loop {
            let (place, state) = (self.place, self.state.clone());
            let now = self.clock.now();
            let look = move |reader: &mut Reader| reader.look(place, state, max_bytes, now);
            if let Some(found) = self.with_reader(look).await?? {
                self.waiting = found.waiting;
                let moved = found.place > self.place;
                (self.place, self.state) = (found.place, found.state);
                match found.newcomer {
                    _ if moved => {
                        return Ok(Batch {
                            deliveries: found.deliveries,
                            notices: found.notices,
                            notes: Vec::new(),
                            position: resumable(self.place, &self.state),
                        });
                    }
                    Some(table) => {
                        let text = format!("table {table} is to be read from its beginning");
                        return Err(unavailable(format!("read {}", self.id), text));
                    }
                    // The tables changed while it looked.
                    None => continue,
                }
            }
            self.waiting = 0;
            let next_look = Instant::now() + pause.get();
            let to_remove = self.removed < self.acknowledged;
            let removal = quiet_from + QUIET;
            tokio::select! {
                hint = self.watch.hint() => {
                    hint.map_err(|error| unavailable("wait for hints", error))?;
                    pause = Pause::first();
                    quiet_from = Instant::now();
                }
                () = tokio::time::sleep_until(next_look) => pause = pause.longer(),
                () = tokio::time::sleep_until(removal), if to_remove => self.remove().await?,
            }
        }
    }

    /// Everything up to `change` is durable in our log.
    pub(super) async fn acknowledge(&mut self, change: i64) -> Result<(), SourceError> {
        self.acknowledged = self.acknowledged.max(change);
        while self.acknowledged - self.removed >= REMOVE_FROM {
            let before = self.removed;
            self.remove().await?;
            if self.removed == before {
                break;
            }
        }
        Ok(())
    }

    /// Removes acknowledged changes. One that cannot be removed now is removed later.
    async fn remove(&mut self) -> Result<(), SourceError> {
        let (to, mark) = (self.acknowledged, self.state.mark.clone());
        let forget = move |reader: &mut Reader| reader.forget(to, &mark);
        match self.with_reader(forget).await? {
            Ok(left) => self.removed = to - left,
            Err(error) => {
                tracing::debug!(source = %self.id, %error, "acknowledged changes stay for now");
                // Until more are acknowledged.
                self.removed = to;
            }
        }
        Ok(())
    }

    /// Runs `work` where blocking does no harm.
    async fn with_reader<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Reader) -> T + Send + 'static,
    ) -> Result<T, SourceError> {
        let gone = || unavailable(format!("read {}", self.id), "it is not open");
        let mut reader = self.reader.take().ok_or_else(gone)?;
        let worked = tokio::task::spawn_blocking(move || {
            let done = work(&mut reader);
            (reader, done)
        });
        let (reader, done) = worked
            .await
            .map_err(|error| unavailable(format!("read {}", self.id), error))?;
        self.reader = Some(reader);
        Ok(done)
    }
}
