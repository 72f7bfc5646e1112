//! The contract, kept by listing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use async_trait::async_trait;
use clock::{SharedClock, Timestamp};
use connector::{Batch, Delivery, Placement, Source, SourceError, TopicPlan};
use event::{SourceId, SourcePosition};
use event_log::TopicName;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectMeta, ObjectStore};

use crate::Config;
use crate::manifest::{Change, Entry, Manifest};
use crate::s3_event::event;

/// A watched store.
pub struct ObjectStoreSource {
    id: SourceId,
    topic: TopicName,
    config: Config,
    store: Arc<dyn ObjectStore>,
    wake_ups: BoxStream<'static, ()>,
    clock: SharedClock,
    manifest: Manifest,
    /// Found by the last listing and not handed over yet.
    pending: VecDeque<Change>,
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
            manifest: Manifest::default(),
            pending: VecDeque::new(),
            due: true,
        })
    }

    /// As many pending changes as fit, at least one; `None` for none at all.
    fn take(&mut self, max_bytes: usize) -> Result<Option<Batch>, SourceError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let mut manifest = self.manifest.clone();
        manifest.generation += 1;
        let now = self.clock.now();
        let mut records = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes
            && let Some(change) = self.pending.pop_front()
        {
            let record = event(&self.config, &change, manifest.generation, now).into_record();
            bytes += record.payload_len();
            records.push(record);
            manifest.apply(&change);
        }
        let position = manifest
            .to_position()
            .map_err(|error| SourceError::Rejected {
                act: format!("remember what is in {}", self.config.bucket),
                source: Box::new(error),
            })?;
        self.manifest = manifest;
        let deliver = |record| Delivery {
            position: position.clone(),
            topic: self.topic.clone(),
            placement: Placement::ByKey,
            record,
        };
        Ok(Some(Batch {
            deliveries: records.into_iter().map(deliver).collect(),
            position,
        }))
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
        let manifest = position.map(Manifest::from_position).transpose();
        self.manifest = manifest
            .map_err(|error| SourceError::Rejected {
                act: format!("resume {}", self.config.bucket),
                source: Box::new(error),
            })?
            .unwrap_or_default();
        self.pending.clear();
        self.due = true;
        Ok(vec![TopicPlan {
            name: self.topic.clone(),
            partitions: self.config.partitions,
        }])
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        loop {
            if let Some(batch) = self.take(max_bytes)? {
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
            self.pending = self.manifest.changes_to(listing).into();
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
        u64::try_from(self.pending.len()).ok()
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
