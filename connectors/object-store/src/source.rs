//! The contract, kept by listing.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use clock::{SharedClock, Timestamp};
use connector::{Batch, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::TopicName;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectMeta, ObjectStore};

use crate::Config;
use crate::backlog::Backlog;
use crate::manifest::{Entry, Manifest};

/// A watched store.
pub struct ObjectStoreSource {
    id: SourceId,
    topic: TopicName,
    config: Config,
    store: Arc<dyn ObjectStore>,
    wake_ups: BoxStream<'static, ()>,
    clock: SharedClock,
    backlog: Backlog,
    /// Whether the store must be listed before the next wake-up.
    due: bool,
}

impl std::fmt::Debug for ObjectStoreSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStoreSource")
            .field("id", &self.id)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl ObjectStoreSource {
    /// A source that lists `store` after opening and at every item of `wake_ups`. Several wake-ups
    /// in a row may be one.
    ///
    /// # Errors
    /// The topic `bucket.<name>` would have no legal name.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        wake_ups: BoxStream<'static, ()>,
        clock: SharedClock,
        config: Config,
    ) -> Result<Self, event_log::Error> {
        Ok(Self {
            id: SourceId::new(format!("/object-store/{}", config.bucket)),
            topic: TopicName::new(format!("bucket.{}", config.bucket))?,
            config,
            store,
            wake_ups,
            clock,
            backlog: Backlog::default(),
            due: true,
        })
    }
}

#[async_trait]
impl Source for ObjectStoreSource {
    fn id(&self) -> &SourceId {
        &self.id
    }

    async fn open(
        &mut self,
        position: Option<&SourcePosition>,
    ) -> Result<Vec<TopicPlan>, SourceError> {
        self.backlog = Backlog::at(position, &self.config)?;
        self.due = true;
        Ok(vec![TopicPlan {
            name: self.topic.clone(),
            partitions: self.config.partitions,
        }])
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        loop {
            let now = self.clock.now();
            let (topic, config) = (&self.topic, &self.config);
            if let Some(batch) = self.backlog.take(max_bytes, topic, config, now)? {
                return Ok(batch);
            }
            if !self.due {
                self.wake_ups
                    .next()
                    .await
                    .ok_or_else(|| SourceError::Rejected {
                        act: format!("watch {}", self.config.bucket),
                        source: "its wake-ups have ended".into(),
                    })?;
                self.due = true;
            }
            let listing = list(&self.store, &self.config).await?;
            self.backlog.found(listing);
            self.due = false;
        }
    }

    async fn acknowledge(&mut self, _position: &SourcePosition) -> Result<(), SourceError> {
        // The store keeps nothing for us that it could forget.
        Ok(())
    }

    fn order(&self, one: &SourcePosition, other: &SourcePosition) -> Ordering {
        Manifest::generation_of(one).cmp(&Manifest::generation_of(other))
    }

    fn lag(&self) -> Option<u64> {
        u64::try_from(self.backlog.len()).ok()
    }
}

async fn list(
    store: &Arc<dyn ObjectStore>,
    config: &Config,
) -> Result<BTreeMap<String, Entry>, SourceError> {
    store
        .list(config.prefix.as_ref())
        .map_ok(|object| (object.location.as_ref().to_owned(), Entry::from(object)))
        .try_collect()
        .await
        .map_err(|error| classify(format!("list {}", config.bucket), error))
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

impl From<ObjectMeta> for Entry {
    fn from(object: ObjectMeta) -> Self {
        Self {
            // Without the quotes that belong to HTTP.
            etag: object.e_tag.map(|etag| etag.trim_matches('"').to_owned()),
            size: object.size,
            modified: Timestamp::from_millis(object.last_modified.timestamp_millis()),
        }
    }
}

#[cfg(test)]
mod tests;
