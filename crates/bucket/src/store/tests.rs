mod lifecycle;
mod objects;
mod recovery;
mod tagging;
mod uploads;
mod versions;

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use clock::{ManualClock, Timestamp};
use event::Record;
use event_log::{MemoryLog, SharedLog};
use tempfile::TempDir;

use super::*;
use crate::{
    ETag, ListQuery, Object, ObjectKey, PutBody, PutOptions, Requester, Version, VersionId,
    VersionQuery, Versioning, WriteCondition,
};

/// A store with one bucket over a log in memory and a temporary folder.
struct Fixture {
    folder: TempDir,
    log: SharedLog,
    clock: Arc<ManualClock>,
    store: BucketStore,
    bucket: BucketName,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log: SharedLog = MemoryLog::new();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(
            1_795_000_000_000,
        )));
        let store = open(&folder, &log, &clock).await.unwrap();
        let bucket = BucketName::new("data").unwrap();
        store.create_bucket(&bucket).await.unwrap();
        Self {
            folder,
            log,
            clock,
            store,
            bucket,
        }
    }

    /// The store as a restart after a crash finds it.
    async fn reopen(&mut self) {
        self.store.drain().await;
        self.store = open(&self.folder, &self.log, &self.clock).await.unwrap();
    }

    async fn put(&self, at: &str, bytes: impl Into<Bytes>) -> Arc<Object> {
        self.put_if(at, bytes, WriteCondition::Always)
            .await
            .unwrap()
    }

    async fn put_if(
        &self,
        at: &str,
        bytes: impl Into<Bytes>,
        condition: WriteCondition,
    ) -> Result<Arc<Object>, Error> {
        let options = PutOptions {
            condition,
            ..Default::default()
        };
        let body = PutBody::bytes(bytes);
        self.store.put(&self.bucket, &key(at), body, options).await
    }

    async fn get(&self, at: &str) -> Result<Bytes, Error> {
        let object = self.store.head(&self.bucket, &key(at))?;
        let body = self.store.read(&object, 0..u64::MAX).await?;
        body.collect().await
    }

    async fn delete(&self, at: &str) -> bool {
        let (at, requester) = (key(at), Requester::internal());
        let deleted = self
            .store
            .delete(&self.bucket, &at, WriteCondition::Always, requester);
        match deleted.await.unwrap() {
            Deletion::Nothing => false,
            Deletion::Removed(_) | Deletion::Marked(_) => true,
        }
    }

    fn keys(&self) -> Vec<String> {
        let query = ListQuery {
            limit: usize::MAX,
            ..Default::default()
        };
        let listing = self.store.list(&self.bucket, &query).unwrap();
        let objects = listing.objects.iter();
        objects.map(|object| object.key().to_string()).collect()
    }

    /// Everything visible, as text.
    fn index(&self) -> String {
        let query = ListQuery {
            limit: usize::MAX,
            ..Default::default()
        };
        let objects = self.store.list(&self.bucket, &query).unwrap();
        let query = VersionQuery {
            limit: usize::MAX,
            ..Default::default()
        };
        let versions = self.store.list_versions(&self.bucket, &query).unwrap();
        format!("{objects:#?} {versions:#?}")
    }

    /// Every event of the bucket's topic, partition by partition.
    async fn records(&self) -> Vec<Record> {
        let mut records = self.held().await;
        records.retain(|record| record.value.is_some());
        records
    }

    /// Every record of the bucket's topic, tombstones included.
    async fn held(&self) -> Vec<Record> {
        let topic = self.log.topic(&self.bucket.topic()).unwrap();
        let mut records = Vec::new();
        for partition in topic.partitions() {
            let bounds = self.log.bounds(&partition).unwrap();
            let mut next = bounds.start;
            while next < bounds.end {
                let chunk = self.log.read(&partition, next, usize::MAX).await.unwrap();
                next = chunk.next;
                for batch in chunk.batches {
                    let stored = batch.records().unwrap().into_iter();
                    records.extend(stored.map(|stored| stored.record));
                }
            }
        }
        records
    }

    /// Number of blobs on the disk, once removals under way are done.
    async fn blobs(&self) -> usize {
        self.store.inner.tasks.close();
        self.store.inner.tasks.wait().await;
        self.store.inner.tasks.reopen();
        self.store.inner.blobs.all().unwrap().len()
    }
}

async fn open(
    folder: &TempDir,
    log: &SharedLog,
    clock: &Arc<ManualClock>,
) -> Result<BucketStore, Error> {
    let config = Config {
        folder: folder.path().join("objects"),
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        partitions: NonZeroU32::new(8).unwrap(),
    };
    BucketStore::open(config, Arc::clone(log), Arc::clone(clock) as _).await
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

fn event_names(records: &[Record]) -> Vec<String> {
    let mut names: Vec<String> = records
        .iter()
        .map(|record| {
            let event: serde_json::Value =
                serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            event["eventName"].as_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_bucket_can_be_removed_once_it_is_empty_and_made_again() {
    let mut fixture = Fixture::new().await;
    let bucket = fixture.bucket.clone();
    assert!(matches!(
        fixture.store.create_bucket(&bucket).await,
        Err(Error::BucketExists { .. })
    ));
    fixture.put("a", "1").await;
    assert!(matches!(
        fixture.store.delete_bucket(&bucket).await,
        Err(Error::BucketNotEmpty { .. })
    ));
    assert!(fixture.delete("a").await);
    fixture.store.delete_bucket(&bucket).await.unwrap();
    assert!(fixture.log.topic(&bucket.topic()).is_none());
    assert!(matches!(
        fixture.put_if("a", "1", WriteCondition::Always).await,
        Err(Error::NoSuchBucket { .. })
    ));

    fixture.store.create_bucket(&bucket).await.unwrap();
    fixture.reopen().await;
    assert!(fixture.keys().is_empty());
    fixture.put("b", "2").await;
    assert_eq!(fixture.keys(), ["b"]);
}

#[tokio::test]
async fn a_topic_with_records_of_somebody_else_is_not_taken_over() {
    let fixture = Fixture::new().await;
    let bucket = BucketName::new("taken").unwrap();
    let config = event_log::TopicConfig::new(1, event_log::Lifetime::LongLived);
    let topic = fixture
        .log
        .create_topic(&bucket.topic(), config)
        .await
        .unwrap();
    let batch = event_log::RecordBatch::of_one(Record::new("x", Timestamp::default()));
    let settlement = event_log::Settlement::of(topic.partition_for(b""), batch);
    fixture.log.commit(settlement).await.unwrap();
    assert!(matches!(
        fixture.store.create_bucket(&bucket).await,
        Err(Error::TopicTaken { .. })
    ));
}

#[tokio::test]
async fn the_registry_has_its_bucket_from_the_start() {
    let fixture = Fixture::new().await;
    let names: Vec<String> = fixture
        .store
        .buckets()
        .into_iter()
        .map(|bucket| bucket.name.to_string())
        .collect();
    assert_eq!(names, ["data", REGISTRY_BUCKET]);
    assert!(BucketName::new(REGISTRY_BUCKET).unwrap().is_reserved());
}

#[tokio::test]
async fn a_bucket_whose_upload_cannot_be_removed_can_be_made_again() {
    let fixture = Fixture::new().await;
    fixture.put("a", "1").await;
    fixture.delete("a").await;
    let at = key("big");
    let upload = NewUpload {
        attributes: Default::default(),
        checksum: None,
    };
    let created = fixture.store.create_upload(&fixture.bucket, &at, upload);
    created.await.unwrap();
    // Its file has gone already, so that removing it fails.
    let uploads = fixture.folder.path().join("objects/uploads");
    std::fs::remove_dir_all(&uploads).unwrap();
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
    fixture.store.create_bucket(&fixture.bucket).await.unwrap();
    assert!(fixture.records().await.is_empty());
}

#[tokio::test]
async fn only_the_topic_of_a_removed_bucket_is_removed_for_a_new_one() {
    let fixture = Fixture::new().await;
    let bucket = BucketName::new("later").unwrap();
    let config = event_log::TopicConfig::new(1, event_log::Lifetime::LongLived);
    let topic = fixture.log.create_topic(&bucket.topic(), config).await;
    let place = topic.unwrap().partitions().next().unwrap();
    let record = Record::new("left", Timestamp::from_millis(1));
    let batch = event_log::RecordBatch::of_one(record);
    let settlement = event_log::Settlement::of(place, batch);
    fixture.log.commit(settlement).await.unwrap();
    assert!(matches!(
        fixture.store.create_bucket(&bucket).await,
        Err(Error::TopicTaken { .. })
    ));
    let mut leftovers = fixture.store.inner.bucket_changes.lock().await;
    leftovers.insert(bucket.clone());
    drop(leftovers);
    fixture.store.create_bucket(&bucket).await.unwrap();
    assert!(fixture.store.inner.bucket_changes.lock().await.is_empty());
}
