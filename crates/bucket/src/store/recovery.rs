//! From the log to the index, and from there to the blobs that may stay.
//!
//! What the log has lost to damage is passed over and reported. Then nothing is removed either: the
//! lost records may have named it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use clock::{SharedClock, Timestamp};
use event_log::{Lifetime, Offset, SharedLog, StoredRecord, Topic, TopicPartition, end_of_damage};
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::bucket::Bucket;
use super::buckets::{BucketChange, bucket_log, keep_the_latest, topic_config};
use super::expiry::Alarm;
use super::{BucketInfo, BucketStore, Config, Inner};
use crate::blob::{BlobId, BlobStore};
use crate::change::{self, Change};
use crate::index::Index;
use crate::key_locks::KeyLocks;
use crate::object::{Content, Place};
use crate::s3_event::Origin;
use crate::sequencer::Sequencers;
use crate::uploads::Uploads;
use crate::{BucketName, Error, UploadId, Version, Versioning};

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
        lost: 0,
    };
    let buckets = recovery.buckets().await?;
    for bucket in buckets.values() {
        recovery.objects(bucket).await?;
    }
    let folder = config.folder.join("uploads");
    let uploads = Uploads::open(folder, &recovery.blobs, |upload| {
        let without_bucket = recovery.lost == 0 && !buckets.contains_key(&upload.bucket);
        recovery.completed.contains(&upload.id) || without_bucket
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
        expiry_alarm: Alarm::default(),
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
    /// Offsets whose records are damaged.
    lost: u64,
}

/// Whether a bucket's topic is one of ours: a connector that watches another store's bucket writes to
/// such a topic, too.
fn is_ours(topic: &Topic) -> bool {
    topic.config.lifetime == Lifetime::LongLived
}

impl Recovery {
    /// The buckets that exist. A bucket whose topic is missing is fatal, unless its removal may be
    /// among what was lost: its objects would be forgotten and their blobs collected.
    async fn buckets(&mut self) -> Result<BTreeMap<BucketName, Arc<Bucket>>, Error> {
        let place = bucket_log();
        let config = topic_config(1);
        let topic = self.log.ensure_topic(&place.topic, config).await?;
        keep_the_latest(&self.log, &topic).await?;
        let mut last = BTreeMap::new();
        let lost = self.read(&place, |stored| {
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
        });
        let lost = lost.await?;
        self.lost += lost;
        let mut buckets = BTreeMap::new();
        for (name, change) in last {
            match change {
                BucketChange::Created {
                    topic: id,
                    at,
                    lifecycle,
                    versioning,
                    ..
                } => {
                    let topic = self.log.topic(&name.topic()).filter(|topic| topic.id == id);
                    let Some(topic) = topic else {
                        if lost > 0 {
                            continue;
                        }
                        return Err(Error::Corrupt {
                            place: name.topic().to_string(),
                            reason: "the topic of a bucket is missing or another".to_owned(),
                        });
                    };
                    keep_the_latest(&self.log, &topic).await?;
                    let info = BucketInfo {
                        name: name.clone(),
                        created: at,
                    };
                    let bucket = Bucket::new(info, topic);
                    bucket.set_lifecycle(lifecycle);
                    bucket.set_versioning(versioning);
                    buckets.insert(name, Arc::new(bucket));
                }
                BucketChange::Deleted { .. } => {
                    let left = self.log.topic(&name.topic());
                    if lost == 0 && left.is_some_and(|topic| is_ours(&topic)) {
                        self.log.delete_topic(&name.topic()).await?;
                    }
                }
            }
        }
        if lost > 0 {
            self.adopt(&mut buckets)?;
        }
        Ok(buckets)
    }

    /// Takes topics with records for buckets whose creation was lost.
    fn adopt(&self, buckets: &mut BTreeMap<BucketName, Arc<Bucket>>) -> Result<(), Error> {
        for topic in self.log.topics() {
            let name = topic.name.as_str().strip_prefix("bucket.");
            let Some(name) = name.and_then(|name| BucketName::new(name).ok()) else {
                continue;
            };
            let mut records = 0;
            for partition in topic.partitions() {
                let bounds = self.log.bounds(&partition)?;
                records += bounds.end.get() - bounds.start.get();
            }
            if records == 0 || buckets.contains_key(&name) || !is_ours(&topic) {
                continue;
            }
            tracing::error!(bucket = %name, "a bucket whose creation was lost is taken as it stands");
            let info = BucketInfo {
                name: name.clone(),
                created: Timestamp::default(),
            };
            buckets.insert(name, Arc::new(Bucket::new(info, topic)));
        }
        Ok(())
    }

    async fn objects(&mut self, bucket: &Bucket) -> Result<(), Error> {
        let mut completed = Vec::new();
        for partition in bucket.topic.partitions() {
            let lost = self.read(&partition, |stored| {
                let place = Place {
                    partition: partition.clone(),
                    offset: stored.offset,
                };
                match change::decode(&stored.record, place, &self.blobs)? {
                    Some(Change::Put(object)) => {
                        self.sequencers.observe(object.sequencer);
                        completed.extend(object.upload);
                        bucket.insert(Version::Object(Arc::from(object)));
                    }
                    Some(Change::Marker(marker)) => {
                        self.sequencers.observe(marker.order);
                        bucket.insert(Version::Marker(Arc::new(marker)));
                    }
                    Some(Change::Delete {
                        key,
                        version,
                        sequencer,
                    }) => {
                        self.sequencers.observe(sequencer);
                        bucket.remove(&key, version);
                    }
                    Some(Change::Gone { key, version }) => drop(bucket.remove(&key, version)),
                    None => tracing::warn!(
                        %partition, offset = %stored.offset,
                        "a record in a bucket's topic is no change of an object; it is ignored"
                    ),
                }
                Ok(())
            });
            let lost = lost.await?;
            self.lost += lost;
        }
        self.completed.extend(completed);
        if bucket.versioning() == Versioning::Unversioned && bucket.with_index(Index::has_versions)
        {
            tracing::error!(
                bucket = %bucket.info.name,
                "a bucket holds versions and what was said of its versioning is lost; it keeps them"
            );
            bucket.set_versioning(Versioning::Enabled);
        }
        Ok(())
    }

    /// Applies every record that can be read; returns how many offsets are lost to damage.
    async fn read(
        &self,
        partition: &TopicPartition,
        mut apply: impl FnMut(StoredRecord) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let bounds = self.log.bounds(partition)?;
        let mut next: Offset = bounds.start;
        let mut lost = 0;
        while next < bounds.end {
            let chunk = match self.log.read(partition, next, READ_BYTES).await {
                Err(damage @ event_log::Error::Corrupt { .. }) => {
                    let to = end_of_damage(&*self.log, partition, next, bounds.end, &damage).await;
                    tracing::error!(
                        %partition, from = %next, %to, error = %damage,
                        "changes are damaged in the log: what they said of objects or buckets is lost"
                    );
                    lost += to.get() - next.get();
                    next = to;
                    continue;
                }
                read => read?,
            };
            for batch in &chunk.batches {
                for stored in batch.records()? {
                    if stored.offset >= next {
                        apply(stored)?;
                    }
                }
            }
            if chunk.next == next {
                break; // What was to be read has gone meanwhile.
            }
            next = chunk.next;
        }
        metrics::counter!("tidemill_bucket_lost_offsets_total").increment(lost);
        Ok(lost)
    }

    /// Removes blobs that no object and no upload names, unless a lost record may have named them.
    /// Those of superseded versions have already gone with them.
    fn collect(
        &self,
        buckets: &BTreeMap<BucketName, Arc<Bucket>>,
        uploads: &Uploads,
    ) -> Result<(), Error> {
        let mut named: HashMap<BlobId, &BucketName> = HashMap::new();
        for (name, bucket) in buckets {
            bucket.with_index(|index| {
                for object in index.objects() {
                    match &object.content {
                        Content::Blobs(blobs) => {
                            named.extend(blobs.refs().iter().map(|blob| (blob.id, name)));
                        }
                        Content::Inline(_) | Content::File(_) => {}
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
        if self.lost > 0 {
            tracing::error!(
                lost = self.lost,
                count = orphans.len(),
                "blobs that nothing names stay: a lost change may have named them"
            );
        } else if !orphans.is_empty() {
            tracing::info!(count = orphans.len(), "removing blobs that nothing names");
            self.blobs.remove(orphans);
        }
        for bucket in named.into_values() {
            tracing::error!(%bucket, "an object's blob is missing; reading it will fail");
        }
        Ok(())
    }
}
