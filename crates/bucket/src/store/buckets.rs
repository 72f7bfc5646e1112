//! Making, finding and removing buckets.
//!
//! Which buckets exist is in the topic `tidemill.buckets`, keyed by name. A bucket's topic is made
//! before its creation is recorded and removed after its removal is, so that after a crash a topic
//! without a bucket may be left (adopted while empty, or removed at start), never a bucket without
//! its topic.

use std::sync::Arc;

use clock::Timestamp;
use event::Record;
use event_log::{
    Cleanup, Lifetime, Partition, RecordBatch, Settlement, SharedLog, Topic, TopicConfig,
    TopicName, TopicPartition, TopicSettings,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::bucket::{Bucket, Gate};
use super::{BucketInfo, BucketStore, Inner};
use crate::index::Index;
use crate::{
    BucketName, Error, Lifecycle, LifecycleRule, ListQuery, Listing, VersionListing, VersionQuery,
    Versioning,
};

/// What a bucket is like, or that it is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(super) enum BucketChange {
    Created {
        bucket: BucketName,
        /// Its topic's identity.
        topic: Uuid,
        at: Timestamp,
        /// What it was given since.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lifecycle: Option<Lifecycle>,
        /// Whether it keeps versions.
        #[serde(default, skip_serializing_if = "Versioning::is_unversioned")]
        versioning: Versioning,
    },
    Deleted {
        bucket: BucketName,
        at: Timestamp,
    },
}

/// The one partition of the topic of buckets.
pub(super) fn bucket_log() -> TopicPartition {
    TopicName::new("tidemill.buckets")
        .expect("the name keeps the rules")
        .partition(Partition::new(0))
}

/// How a topic of the store keeps its records: the latest of every key for ever, and older ones
/// until whoever works on them has finished them.
pub(super) fn topic_config(partitions: u32) -> TopicConfig {
    let mut config = TopicConfig::new(partitions, Lifetime::LongLived);
    config.settings.cleanup = Cleanup::Compact;
    config
}

/// Has a topic of an older version keep its records as new ones do.
pub(super) async fn keep_the_latest(log: &SharedLog, topic: &Topic) -> Result<(), Error> {
    let settings = TopicSettings {
        cleanup: Cleanup::Compact,
        ..topic.config.settings
    };
    if settings != topic.config.settings {
        log.configure_topic(&topic.name, settings).await?;
    }
    Ok(())
}

impl BucketStore {
    /// Makes a bucket and its topic.
    ///
    /// # Errors
    /// [`Error::BucketExists`]; [`Error::TopicTaken`] when a topic of that name holds records of
    /// somebody else.
    pub async fn create_bucket(&self, name: &BucketName) -> Result<BucketInfo, Error> {
        let (store, name) = (self.clone(), name.clone());
        self.to_the_end(async move { store.inner.create_bucket(name).await })
            .await
    }

    /// Removes an empty bucket, its uploads in progress and its topic. What cannot be removed once
    /// the bucket is gone goes when a bucket of that name is made, or at the next start.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::BucketNotEmpty`].
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), Error> {
        let (store, name) = (self.clone(), name.clone());
        self.to_the_end(async move { store.inner.delete_bucket(&name).await })
            .await
    }

    /// A bucket.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn bucket(&self, name: &BucketName) -> Result<BucketInfo, Error> {
        Ok(self.inner.bucket(name)?.info.clone())
    }

    /// Every bucket, Tidemill's own included, by name.
    #[must_use]
    pub fn buckets(&self) -> Vec<BucketInfo> {
        let buckets = self.inner.buckets.read();
        buckets.values().map(|bucket| bucket.info.clone()).collect()
    }

    /// Gives a bucket lifecycle rules in place of those it has, durably.
    /// [`run_lifecycle`](Self::run_lifecycle) applies them.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::Full`].
    pub async fn put_lifecycle(
        &self,
        bucket: &BucketName,
        rules: Vec<LifecycleRule>,
    ) -> Result<(), Error> {
        let since = self.inner.clock.now();
        self.change_lifecycle(bucket, Some(Lifecycle { rules, since }))
            .await
    }

    /// Takes a bucket's lifecycle rules away, durably.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::Full`].
    pub async fn delete_lifecycle(&self, bucket: &BucketName) -> Result<(), Error> {
        self.change_lifecycle(bucket, None).await
    }

    async fn change_lifecycle(
        &self,
        bucket: &BucketName,
        lifecycle: Option<Lifecycle>,
    ) -> Result<(), Error> {
        let (store, bucket) = (self.clone(), bucket.clone());
        self.to_the_end(async move { store.inner.change_lifecycle(&bucket, lifecycle).await })
            .await
    }

    /// A bucket's lifecycle rules.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn lifecycle(&self, bucket: &BucketName) -> Result<Option<Arc<Lifecycle>>, Error> {
        Ok(self.inner.bucket(bucket)?.lifecycle())
    }

    /// A page of a bucket's objects.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn list(&self, bucket: &BucketName, query: &ListQuery) -> Result<Listing, Error> {
        let bucket = self.inner.bucket(bucket)?;
        Ok(bucket.with_index(|index| query.page(index.current())))
    }

    /// A page of a bucket's versions.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn list_versions(
        &self,
        bucket: &BucketName,
        query: &VersionQuery,
    ) -> Result<VersionListing, Error> {
        let bucket = self.inner.bucket(bucket)?;
        Ok(bucket.with_index(|index| query.page(index)))
    }

    /// Whether a bucket keeps versions.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`].
    pub fn versioning(&self, bucket: &BucketName) -> Result<Versioning, Error> {
        Ok(self.inner.bucket(bucket)?.versioning())
    }

    /// Has a bucket keep versions or stop to, durably. Writes that it was asked for before are done
    /// by then, as the bucket was; what was there before is the version `null`.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`]; [`Error::VersioningIsForGood`] when a bucket that has kept versions
    /// is to be unversioned; [`Error::Full`].
    pub async fn put_versioning(
        &self,
        bucket: &BucketName,
        versioning: Versioning,
    ) -> Result<(), Error> {
        let (store, bucket) = (self.clone(), bucket.clone());
        self.to_the_end(async move { store.inner.change_versioning(&bucket, versioning).await })
            .await
    }
}

impl Inner {
    pub(super) fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, Error> {
        let bucket = self.buckets.read().get(name).cloned();
        bucket.ok_or_else(|| Error::NoSuchBucket {
            bucket: name.clone(),
        })
    }

    async fn create_bucket(&self, name: BucketName) -> Result<BucketInfo, Error> {
        let mut leftovers = self.bucket_changes.lock().await;
        if self.bucket(&name).is_ok() {
            return Err(Error::BucketExists { bucket: name });
        }
        if leftovers.contains(&name) {
            self.log.delete_topic(&name.topic()).await?;
            leftovers.remove(&name);
        }
        let topic = self.empty_topic(&name.topic()).await?;
        let at = self.clock.now();
        self.record_bucket(BucketChange::Created {
            bucket: name.clone(),
            topic: topic.id,
            at,
            lifecycle: None,
            versioning: Versioning::Unversioned,
        })
        .await?;
        let info = BucketInfo {
            name: name.clone(),
            created: at,
        };
        let bucket = Arc::new(Bucket::new(info.clone(), topic));
        self.buckets.write().insert(name, bucket);
        Ok(info)
    }

    /// A topic for a new bucket: a new one, or an empty one that an interrupted creation left.
    async fn empty_topic(&self, name: &TopicName) -> Result<Topic, Error> {
        let config = topic_config(self.partitions.get());
        let Some(topic) = self.log.topic(name) else {
            return Ok(self.log.create_topic(name, config).await?);
        };
        for partition in topic.partitions() {
            if !self.log.bounds(&partition)?.is_empty() {
                return Err(Error::TopicTaken {
                    topic: name.clone(),
                });
            }
        }
        match topic.config.lifetime {
            Lifetime::LongLived => {
                keep_the_latest(&self.log, &topic).await?;
                Ok(topic)
            }
            Lifetime::Events => Err(Error::TopicTaken {
                topic: name.clone(),
            }),
        }
    }

    async fn delete_bucket(&self, name: &BucketName) -> Result<(), Error> {
        let mut leftovers = self.bucket_changes.lock().await;
        let bucket = self.bucket(name)?;
        {
            let mut gate = bucket.gate.write().await;
            if !bucket.with_index(Index::is_empty) {
                return Err(Error::BucketNotEmpty {
                    bucket: name.clone(),
                });
            }
            self.record_bucket(BucketChange::Deleted {
                bucket: name.clone(),
                at: self.clock.now(),
            })
            .await?;
            *gate = Gate::Removed;
        }
        self.buckets.write().remove(name);
        // Whoever completes an upload holds its lock while it waits for the gate, so the gate must
        // be let go before uploads are locked here.
        for upload in self.uploads.of_bucket(name) {
            if let Ok(state) = upload.lock().await {
                let finished = self.uploads.finish(&upload, state, &[]).await;
                if let Err(error) = finished {
                    tracing::error!(bucket = %name, %error, "an upload of a removed bucket stays until the next start");
                }
            }
        }
        if let Err(error) = self.log.delete_topic(&name.topic()).await {
            tracing::error!(bucket = %name, %error, "the topic of a removed bucket stays for now");
            leftovers.insert(name.clone());
        }
        Ok(())
    }

    async fn change_lifecycle(
        &self,
        name: &BucketName,
        lifecycle: Option<Lifecycle>,
    ) -> Result<(), Error> {
        let _changes = self.bucket_changes.lock().await;
        let bucket = self.bucket(name)?;
        let versioning = bucket.versioning();
        self.record_settings(&bucket, lifecycle.clone(), versioning)
            .await?;
        bucket.set_lifecycle(lifecycle);
        self.expiry_alarm.ring();
        Ok(())
    }

    async fn change_versioning(
        &self,
        name: &BucketName,
        versioning: Versioning,
    ) -> Result<(), Error> {
        let _changes = self.bucket_changes.lock().await;
        let bucket = self.bucket(name)?;
        if bucket.versioning() == versioning {
            return Ok(());
        }
        if versioning.is_unversioned() {
            return Err(Error::VersioningIsForGood {
                bucket: name.clone(),
            });
        }
        let _writes = bucket.gate.write().await;
        let lifecycle = bucket.lifecycle().map(|lifecycle| (*lifecycle).clone());
        self.record_settings(&bucket, lifecycle, versioning).await?;
        bucket.set_versioning(versioning);
        Ok(())
    }

    /// The topic of buckets keeps the latest record of each, so it says everything about its bucket.
    pub(super) async fn record_settings(
        &self,
        bucket: &Bucket,
        lifecycle: Option<Lifecycle>,
        versioning: Versioning,
    ) -> Result<(), Error> {
        self.record_bucket(BucketChange::Created {
            bucket: bucket.info.name.clone(),
            topic: bucket.topic.id,
            at: bucket.info.created,
            lifecycle,
            versioning,
        })
        .await
    }

    async fn record_bucket(&self, change: BucketChange) -> Result<(), Error> {
        let (bucket, at) = match &change {
            BucketChange::Created { bucket, at, .. } | BucketChange::Deleted { bucket, at } => {
                (bucket.as_str().to_owned(), *at)
            }
        };
        let value = serde_json::to_vec(&change).expect("a change has only text as keys");
        let record = Record::new(value, at).with_key(bucket);
        let settlement = Settlement::of(bucket_log(), RecordBatch::of_one(record));
        self.log.commit(settlement).await?;
        Ok(())
    }
}
