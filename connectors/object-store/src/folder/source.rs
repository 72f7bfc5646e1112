//! The contract, kept by looking through a folder.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use connector::{Batch, Memory, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::TopicName;
use tokio::time::Instant;

use super::scan::{Look, Seen, files_among};
use super::tree::{Hints, Tree};
use crate::FolderConfig;
use crate::backlog::Backlog;
use crate::position::generation_of;

/// How long the folder must be quiet after a hint: programs that copy set times after they have closed.
const QUIET: Duration = Duration::from_millis(20);

/// How long a look is put off by ever more hints.
const LONGEST_DELAY: Duration = Duration::from_millis(250);

/// How long a file must be left alone that no hint has told to be complete.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// A watched folder.
#[derive(Debug)]
pub struct FolderSource {
    id: SourceId,
    topic: TopicName,
    config: FolderConfig,
    clock: SharedClock,
    hints: Hints,
    settled_after: Duration,
    memory: Option<Memory>,
    watched: Option<Watched>,
}

/// The folder since it was opened.
#[derive(Debug)]
struct Watched {
    root: PathBuf,
    tree: Tree,
    backlog: Backlog,
    /// When to look next.
    due: Instant,
    /// How long to wait for files that may not be complete.
    patience: Duration,
    /// What was said to be no object.
    refused: BTreeSet<(PathBuf, &'static str)>,
}

impl FolderSource {
    /// A source that has not looked yet.
    ///
    /// # Errors
    /// The topic `bucket.<name>` would have no legal name.
    pub fn new(config: FolderConfig, clock: SharedClock) -> Result<Self, event_log::Error> {
        let bucket = &config.bucket.bucket;
        Ok(Self {
            id: SourceId::new(format!("/folder/{bucket}")),
            topic: TopicName::new(format!("bucket.{bucket}"))?,
            config,
            clock,
            hints: Hints::Wanted,
            settled_after: SETTLED_AFTER,
            memory: None,
            watched: None,
        })
    }

    fn unavailable(
        &self,
        act: &str,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> SourceError {
        SourceError::Unavailable {
            act: format!("{act} folder {}", self.config.path.display()),
            source: error.into(),
        }
    }

    /// Looks through the folder, on a thread where that does no harm.
    async fn look(&mut self, mut watched: Watched) -> Result<Watched, SourceError> {
        let mut folders = watched.tree.folders.take();
        let mut look = Look {
            root: watched.root.clone(),
            known: std::mem::take(&mut watched.backlog.known),
            closed: std::mem::take(&mut watched.tree.closed),
            now: self.clock.now(),
            settled_after: self.settled_after,
        };
        let looked = tokio::task::spawn_blocking(move || {
            let seen = match &mut folders {
                Some(folders) => look.run(folders),
                None => Err(std::io::Error::other("it is being looked through")),
            };
            (folders, look.known, seen)
        });
        let looked = looked.await;
        let (folders, known, seen) =
            looked.map_err(|error| self.unavailable("look through", error))?;
        watched.tree.folders = folders;
        watched.backlog.known = known;
        let mut seen = seen.map_err(|error| self.unavailable("look through", error))?;
        for (key, entry) in std::mem::take(&mut seen.different) {
            watched.backlog.seen(key, entry);
        }
        seen.unsettled += self.name_missing(&mut watched).await?;
        watched.backlog.release();
        watched.take_in(seen, self.settled_after, self.config.interval, &self.id);
        Ok(watched)
    }

    /// Takes in what the look has not come to, and counts the files among it that are there after all.
    async fn name_missing(&self, watched: &mut Watched) -> Result<usize, SourceError> {
        let mut there = 0;
        while let Some(keys) = watched.backlog.missing().await? {
            let (root, asked) = (watched.root.clone(), keys.clone());
            let files = tokio::task::spawn_blocking(move || files_among(&root, &asked)).await;
            let files = files.map_err(|error| self.unavailable("look through", error))?;
            let files = files.map_err(|error| self.unavailable("look through", error))?;
            there += files.len();
            for key in keys {
                match files.contains(&key) {
                    true => drop(watched.backlog.known.keep(&key)),
                    false => watched.backlog.gone(key),
                }
            }
        }
        Ok(there)
    }
}

impl Watched {
    fn take_in(
        &mut self,
        seen: Seen,
        settled_after: Duration,
        interval: Duration,
        source: &SourceId,
    ) {
        for refused in seen.refused.difference(&self.refused) {
            let (path, reason) = refused;
            metrics::counter!("tidemill_folder_refused_total", "source" => source.to_string())
                .increment(1);
            tracing::warn!(%source, ?path, reason, "a file can be no object");
        }
        self.refused = seen.refused;
        let pause = match seen.unsettled {
            0 => {
                self.patience = settled_after;
                interval
            }
            _ => {
                let pause = self.patience;
                self.patience = (pause * 2).min(interval.max(settled_after));
                pause.min(interval)
            }
        };
        self.due = Instant::now() + pause;
    }

    /// Waits until it is time to look.
    async fn until_due(&mut self, settled_after: Duration) -> std::io::Result<()> {
        tokio::select! {
            hint = self.tree.hint() => hint?,
            () = tokio::time::sleep_until(self.due) => return Ok(()),
        }
        self.patience = settled_after;
        let latest = Instant::now() + LONGEST_DELAY;
        loop {
            let quiet = (Instant::now() + QUIET).min(latest);
            match tokio::time::timeout_at(quiet, self.tree.hint()).await {
                Ok(hint) => hint?,
                Err(_) => break,
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for FolderSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn recall(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.watched = None;
        let root = std::fs::canonicalize(&self.config.path);
        let root = root.map_err(|error| self.unavailable("find", error))?;
        let tree = Tree::new(self.hints).map_err(|error| self.unavailable("watch", error))?;
        let mut backlog = Backlog::default();
        if let Some(memory) = &self.memory {
            backlog.recall(memory.clone());
        }
        backlog.open(position, &self.config.bucket).await?;
        self.watched = Some(Watched {
            root,
            tree,
            backlog,
            due: Instant::now(),
            patience: self.settled_after,
            refused: BTreeSet::new(),
        });
        Ok(vec![TopicPlan {
            name: self.topic.clone(),
            partitions: self.config.bucket.partitions,
        }])
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        // Taken out: a call that is dropped halfway leaves no half-made look behind.
        let mut watched = match self.watched.take() {
            Some(watched) => watched,
            None => return Err(self.unavailable("read", "it is not open")),
        };
        loop {
            let now = self.clock.now();
            let (topic, config) = (&self.topic, &self.config.bucket);
            if let Some(batch) = watched.backlog.take(max_bytes, topic, config, now) {
                self.watched = Some(watched);
                return Ok(batch);
            }
            let waited = watched.until_due(self.settled_after).await;
            waited.map_err(|error| self.unavailable("watch", error))?;
            watched = self.look(watched).await?;
        }
    }

    async fn acknowledge(&mut self, _position: &SourcePosition) -> Result<(), SourceError> {
        // A folder keeps nothing for us that it could forget.
        Ok(())
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        generation_of(one).cmp(&generation_of(other))
    }

    fn lag(&self) -> Option<u64> {
        let watched = self.watched.as_ref()?;
        u64::try_from(watched.backlog.len()).ok()
    }
}

#[cfg(test)]
mod tests;
