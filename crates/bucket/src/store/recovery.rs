//! From the log to the index, and from there to the blobs that may stay.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use clock::SharedClock;
use event_log::{Lifetime, Offset, SharedLog, StoredRecord, TopicConfig, TopicPartition};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::bucket::Bucket;
use super::buckets::{BucketChange, bucket_log};
use super::{BucketInfo, BucketStore, Config, Inner};
use crate::blob::{BlobId, BlobStore};
use crate::change::{self, Change};
use crate::key_locks::KeyLocks;
use crate::object::{Content, Place};
use crate::s3_event::Origin;
use crate::sequencer::Sequencers;
use crate::uploads::Uploads;
use crate::{BucketName, Error, UploadId};

/// Bytes asked of the log at once.
const READ_BYTES: usize = 4 * 1024 * 1024;

pub(super) async fn recover(
    config: Config,
    log: SharedLog,
    clock: SharedClock,
) -> Result<BucketStore, Error> {
    let tasks = TaskTracker::new();
    let blobs = BlobStore::open(config.folder.join("blobs"), tasks.clone())
        .map_err(|source| Error::io("open the folder of blobs", source))?;
    let mut recovery = Recovery {
        log,
        blobs,
        sequencers: Sequencers::default(),
        completed: HashSet::new(),
    };
    let buckets = recovery.buckets().await?;
    for bucket in buckets.values() {
        recovery.objects(bucket).await?;
    }
    let folder = config.folder.join("uploads");
    let uploads = Uploads::open(folder, &recovery.blobs, |upload| {
        recovery.completed.contains(&upload.id) || !buckets.contains_key(&upload.bucket)
    })?;
    recovery.collect(&buckets, &uploads)?;
    let inner = Inner {
        log: recovery.log,
        clock,
        origin: Origin {
            region: config.region,
            account: config.account,
        },
        partitions: config.partitions,
        blobs: recovery.blobs,
        uploads,
        buckets: RwLock::new(buckets),
        bucket_changes: Mutex::default(),
        keys: KeyLocks::new(),
        sequencers: recovery.sequencers,
        tasks,
    };
    Ok(BucketStore {
        inner: Arc::new(inner),
    })
}

struct Recovery {
    log: SharedLog,
    blobs: BlobStore,
    sequencers: Sequencers,
    /// Uploads that became objects, whatever became of those.
    completed: HashSet<UploadId>,
}

impl Recovery {
    /// The buckets that exist. A bucket whose topic is missing is fatal: its objects would be
    /// forgotten and their blobs collected.
    async fn buckets(&self) -> Result<BTreeMap<BucketName, Arc<Bucket>>, Error> {
        let place = bucket_log();
        let config = TopicConfig {
            partitions: 1,
            lifetime: Lifetime::LongLived,
        };
        self.log.ensure_topic(&place.topic, config).await?;
        let mut last = BTreeMap::new();
        self.read(&place, |stored| {
            let value = stored.record.value.clone().unwrap_or_default();
            let change: BucketChange =
                serde_json::from_slice(&value).map_err(|error| Error::Corrupt {
                    place: format!("{place}@{}", stored.offset),
                    reason: error.to_string(),
                })?;
            let name = match &change {
                BucketChange::Created { bucket, .. } | BucketChange::Deleted { bucket, .. } => {
                    bucket.clone()
                }
            };
            last.insert(name, change);
            Ok(())
        })
        .await?;
        let mut buckets = BTreeMap::new();
        for (name, change) in last {
            match change {
                BucketChange::Created { topic: id, at, .. } => {
                    let topic = self.log.topic(&name.topic()).filter(|topic| topic.id == id);
                    let topic = topic.ok_or_else(|| Error::Corrupt {
                        place: name.topic().to_string(),
                        reason: "the topic of a bucket is missing or another".to_owned(),
                    })?;
                    let info = BucketInfo {
                        name: name.clone(),
                        created: at,
                    };
                    buckets.insert(name, Arc::new(Bucket::new(info, topic)));
                }
                BucketChange::Deleted { .. } => {
                    if self.log.topic(&name.topic()).is_some() {
                        self.log.delete_topic(&name.topic()).await?;
                    }
                }
            }
        }
        Ok(buckets)
    }

    async fn objects(&mut self, bucket: &Bucket) -> Result<(), Error> {
        let mut completed = Vec::new();
        for partition in bucket.topic.partitions() {
            self.read(&partition, |stored| {
                let place = Place {
                    partition: partition.clone(),
                    offset: stored.offset,
                };
                match change::decode(&stored.record, place, &self.blobs)? {
                    Some(Change::Put(object)) => {
                        self.sequencers.observe(object.sequencer);
                        completed.extend(object.upload);
                        bucket.insert(Arc::from(object));
                    }
                    Some(Change::Delete { key, sequencer }) => {
                        self.sequencers.observe(sequencer);
                        bucket.remove(&key);
                    }
                    None => tracing::warn!(
                        %partition, offset = %stored.offset,
                        "a record in a bucket's topic is no change of an object; it is ignored"
                    ),
                }
                Ok(())
            })
            .await?;
        }
        self.completed.extend(completed);
        Ok(())
    }

    async fn read(
        &self,
        partition: &TopicPartition,
        mut apply: impl FnMut(StoredRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let bounds = self.log.bounds(partition)?;
        let mut next: Offset = bounds.start;
        while next < bounds.end {
            let batches = self.log.read(partition, next, READ_BYTES).await?;
            let Some(last) = batches.last() else { break };
            let end = last.end_offset();
            for batch in &batches {
                for stored in batch.records()? {
                    if stored.offset >= next {
                        apply(stored)?;
                    }
                }
            }
            next = end;
        }
        Ok(())
    }

    /// Removes blobs that no object and no upload names. Those of superseded versions have already
    /// gone with them.
    fn collect(
        &self,
        buckets: &BTreeMap<BucketName, Arc<Bucket>>,
        uploads: &Uploads,
    ) -> Result<(), Error> {
        let mut named: HashMap<BlobId, &BucketName> = HashMap::new();
        for (name, bucket) in buckets {
            bucket.with_objects(|objects| {
                for object in objects.values() {
                    match &object.content {
                        Content::Blobs(blobs) => {
                            named.extend(blobs.refs().iter().map(|blob| (blob.id, name)));
                        }
                        Content::Inline(_) => {}
                    }
                }
            });
        }
        let in_progress: HashSet<BlobId> = uploads.blobs().iter().map(|blob| blob.id).collect();
        let present = self
            .blobs
            .all()
            .map_err(|source| Error::io("list the blobs", source))?;
        let mut orphans = Vec::new();
        for id in present {
            if named.remove(&id).is_none() && !in_progress.contains(&id) {
                orphans.push(id);
            }
        }
        if !orphans.is_empty() {
            tracing::info!(count = orphans.len(), "removing blobs that nothing names");
            self.blobs.remove(orphans);
        }
        for bucket in named.into_values() {
            tracing::error!(%bucket, "an object's blob is missing; reading it will fail");
        }
        Ok(())
    }
}
