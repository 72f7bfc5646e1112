//! The contract, kept by listing.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use clock::SharedClock;
use connector::{Batch, Memory, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::TopicName;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};

use crate::backlog::Backlog;
use crate::entry::Entry;
use crate::position::generation_of;
use crate::{Config, Hint, Listed, Listing};

/// Objects that arrive together are compared together: as many as S3 puts on a page.
const PAGE: usize = 1_000;

/// Hints that are taken before they are followed.
const HINTS: usize = 1_000;

/// Objects that are looked at at once.
const LOOKS: usize = 16;

/// Objects that hints may lead to while a pass is under way; further hints wait for its end.
const MOST_LOOKED_AT: usize = 10_000;

/// A watched store.
pub struct ObjectStoreSource {
    id: SourceId,
    topic: TopicName,
    config: Config,
    listing: Arc<dyn Listing>,
    wake_ups: BoxStream<'static, ()>,
    hints: BoxStream<'static, Hint>,
    clock: SharedClock,
    backlog: Backlog,
    pass: Pass,
    /// Whether another pass is to follow at once.
    again: Again,
    /// What hints have named and was not looked at yet.
    hinted: BTreeSet<String>,
    /// What was looked at since the pass has begun: what the pass says of it may be older.
    looked_at: HashSet<String>,
}

/// Where the source is with listing.
enum Pass {
    /// It rests until a wake-up.
    Resting,
    /// It begins.
    Due,
    /// What there is comes in.
    Listing(BoxStream<'static, Vec<object_store::Result<Listed>>>),
    /// Everything has come; what is missing is named.
    Naming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    AtOnce,
}

impl std::fmt::Debug for ObjectStoreSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStoreSource")
            .field("id", &self.id)
            .field("listing", &self.listing)
            .finish_non_exhaustive()
    }
}

impl ObjectStoreSource {
    /// A source that lists a store after opening and at every item of `wake_ups`. Several wake-ups
    /// in a row may be one.
    ///
    /// # Errors
    /// The topic `bucket.<name>` would have no legal name.
    pub fn new(
        listing: Arc<dyn Listing>,
        wake_ups: BoxStream<'static, ()>,
        clock: SharedClock,
        config: Config,
    ) -> Result<Self, event_log::Error> {
        Ok(Self {
            id: SourceId::new(format!("/object-store/{}", config.bucket)),
            topic: TopicName::new(format!("bucket.{}", config.bucket))?,
            config,
            listing,
            wake_ups,
            hints: stream::pending().boxed(),
            clock,
            backlog: Backlog::default(),
            pass: Pass::Due,
            again: Again::No,
            hinted: BTreeSet::new(),
            looked_at: HashSet::new(),
        })
    }

    /// The same source, which also follows `hints`.
    #[must_use]
    pub fn hinted_by(mut self, hints: BoxStream<'static, Hint>) -> Self {
        // One that ends has no more to say.
        self.hints = hints.chain(stream::pending()).boxed();
        self
    }

    /// Takes a hint, and those that wait behind it.
    fn heed(&mut self, first: Option<Hint>) {
        let mut next = first;
        while let Some(hint) = next {
            self.note(hint);
            next = match self.hinted.len() < HINTS {
                true => self.hints.next().now_or_never().flatten(),
                false => None,
            };
        }
    }

    fn note(&mut self, hint: Hint) {
        match (hint, &self.pass) {
            (Hint::Object(key), _) => {
                let prefix = self.config.prefix.as_deref().unwrap_or_default();
                if key.starts_with(prefix) {
                    self.hinted.insert(key);
                }
            }
            (Hint::Anything, Pass::Resting) => self.pass = Pass::Due,
            (Hint::Anything, Pass::Due) => {}
            // It may be about what the pass has gone by.
            (Hint::Anything, Pass::Listing(_) | Pass::Naming) => self.again = Again::AtOnce,
        }
    }

    /// Looks at what hints have named.
    async fn look(&mut self) -> Result<(), SourceError> {
        match self.pass {
            Pass::Resting | Pass::Due => {}
            // From here on: what a page says of them was asked before.
            Pass::Listing(_) | Pass::Naming => self.looked_at.extend(self.hinted.iter().cloned()),
        }
        let listing = &self.listing;
        let looks = stream::iter(self.hinted.clone()).map(|key| async move {
            let found = listing.one(&key).await?;
            Ok((key, found))
        });
        let looks: object_store::Result<Vec<(String, Option<Listed>)>> =
            looks.buffer_unordered(LOOKS).try_collect().await;
        let looks = looks.map_err(|error| {
            let act = format!("look at objects of {}", self.config.bucket);
            classify(act, error)
        })?;
        self.hinted.clear();
        for (key, found) in looks {
            match found {
                Some(object) => self.backlog.seen(key, Entry::of(object).1),
                None => self.backlog.gone(key),
            }
        }
        self.backlog.release();
        Ok(())
    }

    /// Goes one step on with the pass, or waits until there is reason for one.
    async fn step(&mut self) -> Result<(), SourceError> {
        match &mut self.pass {
            Pass::Resting => tokio::select! {
                hint = self.hints.next() => self.heed(hint),
                wake_up = self.wake_ups.next() => {
                    wake_up.ok_or_else(|| SourceError::Rejected {
                        act: format!("watch {}", self.config.bucket),
                        source: "its wake-ups have ended".into(),
                    })?;
                    self.pass = Pass::Due;
                }
            },
            Pass::Due => {
                self.backlog.begin_pass();
                self.looked_at.clear();
                self.again = Again::No;
                let all = self.listing.all(self.config.prefix.as_deref());
                self.pass = Pass::Listing(all.ready_chunks(PAGE).boxed());
            }
            Pass::Listing(pages) => tokio::select! {
                hint = self.hints.next(), if self.looked_at.len() < MOST_LOOKED_AT => self.heed(hint),
                page = pages.next() => match page {
                    Some(page) => self.compare(page)?,
                    None => self.pass = Pass::Naming,
                },
            },
            Pass::Naming => match self.backlog.missing().await? {
                Some(names) => {
                    names.into_iter().for_each(|key| self.backlog.gone(key));
                    self.backlog.release_full();
                }
                None => {
                    self.backlog.release();
                    self.pass = match self.again {
                        Again::No => Pass::Resting,
                        Again::AtOnce => Pass::Due,
                    };
                }
            },
        }
        Ok(())
    }

    fn compare(&mut self, page: Vec<object_store::Result<Listed>>) -> Result<(), SourceError> {
        for object in page {
            let act = || format!("list {}", self.config.bucket);
            let object = object.map_err(|error| classify(act(), error))?;
            if !self.looked_at.contains(&object.key) {
                let (key, entry) = Entry::of(object);
                self.backlog.listed(key, entry);
            }
        }
        self.backlog.release_full();
        Ok(())
    }
}

#[async_trait]
impl Source for ObjectStoreSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    fn recall(&mut self, memory: Memory) {
        self.backlog.recall(memory);
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        // The pass will find what was hinted at.
        self.hinted.clear();
        self.pass = Pass::Due;
        self.backlog.open(position, &self.config).await?;
        Ok(vec![TopicPlan {
            name: self.topic.clone(),
            partitions: self.config.partitions,
        }])
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        loop {
            let now = self.clock.now();
            let (topic, config) = (&self.topic, &self.config);
            if let Some(batch) = self.backlog.take(max_bytes, topic, config, now) {
                return Ok(batch);
            }
            match self.hinted.is_empty() {
                true => self.step().await?,
                false => self.look().await?,
            }
        }
    }

    async fn acknowledge(&mut self, _position: &SourcePosition) -> Result<(), SourceError> {
        // The store keeps nothing for us that it could forget.
        Ok(())
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        generation_of(one).cmp(&generation_of(other))
    }

    fn lag(&self) -> Option<u64> {
        u64::try_from(self.backlog.len()).ok()
    }
}

fn classify(act: String, error: object_store::Error) -> SourceError {
    use object_store::Error as E;
    let source = Box::new(error);
    match *source {
        E::Unauthenticated { .. }
        | E::PermissionDenied { .. }
        | E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::UnknownConfigurationKey { .. } => SourceError::Rejected { act, source },
        // Foreign and open-ended: whatever else a store says may pass.
        _ => SourceError::Unavailable { act, source },
    }
}

#[cfg(test)]
mod tests;
