use std::time::Duration;

use event_log::{Cleanup, EmbeddedConfig, EmbeddedLog, TopicSettings};

use super::*;

#[tokio::test]
async fn the_index_after_a_restart_equals_the_one_before() {
    let mut fixture = Fixture::new().await;
    for round in 0..40_usize {
        let at = format!("k{}", round % 13);
        fixture.clock.advance(Duration::from_millis(7));
        match round % 5 {
            4 => {
                fixture.delete(&at).await;
            }
            other => {
                fixture.put(&at, vec![1_u8; other * 30_000]).await;
            }
        }
    }
    let before = fixture.index();
    let blobs = fixture.blobs().await;
    fixture.reopen().await;
    assert_eq!(fixture.index(), before);
    assert_eq!(fixture.blobs().await, blobs);
}

#[tokio::test]
async fn a_watched_stores_topic_stays_although_a_bucket_of_its_name_was_removed() {
    let mut fixture = Fixture::new().await;
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
    let watched = event_log::TopicConfig::new(1, event_log::Lifetime::Events);
    let topic = fixture.bucket.topic();
    fixture.log.create_topic(&topic, watched).await.unwrap();
    fixture.reopen().await;
    assert!(fixture.log.topic(&topic).is_some());
    assert!(fixture.store.bucket(&fixture.bucket).is_err());
}

#[tokio::test]
async fn sequencers_go_on_after_a_restart_under_a_clock_that_went_back() {
    let mut fixture = Fixture::new().await;
    let before = fixture.put("a", "1").await.sequencer();
    fixture.clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(5)));
    fixture.reopen().await;
    assert!(fixture.put("a", "2").await.sequencer() > before);
}

#[tokio::test]
async fn overwritten_and_deleted_objects_leave_nothing_in_the_log_and_the_rest_stays() {
    const TIMES: usize = 80;
    let mut fixture = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let config = || EmbeddedConfig {
        segment_bytes: 16 << 10,
        tombstone_grace: Duration::ZERO,
        ..EmbeddedConfig::new(folder.path())
    };
    let log = EmbeddedLog::open(config(), fixture.clock.clone()).unwrap();
    fixture.log = log.clone();
    fixture.reopen().await;
    fixture.store.create_bucket(&fixture.bucket).await.unwrap();
    fixture.put("kept", "first of all").await;
    for round in 0..TIMES {
        fixture.clock.advance(Duration::from_secs(1));
        fixture
            .put("changed", format!("{round}{}", "x".repeat(1_000)))
            .await;
        fixture.put("gone", "y".repeat(1_000)).await;
        assert!(fixture.delete("gone").await);
    }
    let before = fixture.index();
    // Once for what is superseded, once for the tombstones of what is no longer there.
    for _ in 0..2 {
        fixture.clock.advance(Duration::from_secs(1));
        log.clean_up().await;
    }
    // What was written last stays for now.
    let left = fixture.held().await.len();
    assert!(
        left < TIMES * 4 / 2,
        "{left} of {} records are left",
        TIMES * 4
    );

    fixture.store.drain().await;
    drop((fixture, log));
    let mut fixture = Fixture::new().await;
    fixture.log = EmbeddedLog::open(config(), fixture.clock.clone()).unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.index(), before);
    assert_eq!(fixture.get("kept").await.unwrap(), "first of all");
    assert!(fixture.get("changed").await.unwrap().starts_with(b"79x"));
    assert!(matches!(
        fixture.get("gone").await,
        Err(Error::NoSuchKey { .. })
    ));
}

#[tokio::test]
async fn buckets_of_before_compaction_are_compacted_from_the_next_start_on() {
    let mut fixture = Fixture::new().await;
    let topic = fixture.bucket.topic();
    let cleanup = |fixture: &Fixture| fixture.log.topic(&topic).unwrap().config.settings.cleanup;
    let before = TopicSettings::DEFAULT;
    fixture.log.configure_topic(&topic, before).await.unwrap();
    assert_eq!(cleanup(&fixture), Cleanup::Delete);
    fixture.reopen().await;
    assert_eq!(cleanup(&fixture), Cleanup::Compact);
}

#[tokio::test]
async fn blobs_that_nothing_names_are_collected_at_start() {
    let mut fixture = Fixture::new().await;
    fixture.put("a", vec![1_u8; 100_000]).await;
    let mut orphan = fixture.store.inner.blobs.create().unwrap();
    orphan.write(&[Bytes::from_static(b"torn")]).unwrap();
    orphan.finish().unwrap().keep();
    assert_eq!(fixture.blobs().await, 2);
    fixture.reopen().await;
    assert_eq!(fixture.blobs().await, 1);
    assert_eq!(fixture.get("a").await.unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_bucket_whose_topic_is_gone_stops_the_start() {
    let fixture = Fixture::new().await;
    fixture
        .log
        .delete_topic(&fixture.bucket.topic())
        .await
        .unwrap();
    let error = open(&fixture.folder, &fixture.log, &fixture.clock)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("bucket.data"), "{error}");
}

#[tokio::test]
async fn a_removal_cut_short_is_finished_at_start() {
    let fixture = Fixture::new().await;
    let bucket = fixture.bucket.clone();
    fixture.store.delete_bucket(&bucket).await.unwrap();
    let config = event_log::TopicConfig::new(1, event_log::Lifetime::LongLived);
    fixture
        .log
        .create_topic(&bucket.topic(), config)
        .await
        .unwrap();
    open(&fixture.folder, &fixture.log, &fixture.clock)
        .await
        .unwrap();
    assert!(fixture.log.topic(&bucket.topic()).is_none());
}

#[tokio::test]
async fn a_store_over_the_log_on_disk_finds_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(clock::SystemClock::new());
    let open = || {
        let config = event_log::EmbeddedConfig::new(folder.path().join("log"));
        let log = event_log::EmbeddedLog::open(config, Arc::clone(&clock) as _).unwrap();
        let config = Config {
            folder: folder.path().join("objects"),
            region: String::new(),
            account: String::new(),
            partitions: NonZeroU32::new(3).unwrap(),
        };
        BucketStore::open(config, log, Arc::clone(&clock) as _)
    };
    let bucket = BucketName::new("data").unwrap();
    let index =
        |store: &BucketStore| format!("{:?}", store.list(&bucket, &ListQuery::default()).unwrap());
    let store = open().await.unwrap();
    store.create_bucket(&bucket).await.unwrap();
    for size in [0, 10, 65_536, 65_537, 300_000] {
        let at = key(&size.to_string());
        let body = PutBody::bytes(vec![3_u8; size]);
        let put = store.put(&bucket, &at, body, PutOptions::default());
        put.await.unwrap();
    }
    let before = index(&store);
    store.drain().await;
    drop(store);

    let store = open().await.unwrap();
    assert_eq!(index(&store), before);
    for size in [0, 10, 65_536, 65_537, 300_000] {
        let object = store.head(&bucket, &key(&size.to_string())).unwrap();
        let body = store.read(&object, 0..u64::MAX).await.unwrap();
        assert_eq!(body.collect().await.unwrap(), vec![3_u8; size]);
    }
}

/// A store over a log on disk, whose bytes can be damaged while it is closed.
struct OnDisk {
    folder: TempDir,
}

impl OnDisk {
    async fn open(&self) -> (BucketStore, Arc<event_log::EmbeddedLog>) {
        let clock = Arc::new(clock::SystemClock::new());
        let config = event_log::EmbeddedConfig::new(self.folder.path().join("log"));
        let log = event_log::EmbeddedLog::open(config, Arc::clone(&clock) as _).unwrap();
        let config = Config {
            folder: self.folder.path().join("objects"),
            region: String::new(),
            account: String::new(),
            partitions: NonZeroU32::MIN,
        };
        let shared: SharedLog = log.clone();
        (BucketStore::open(config, shared, clock).await.unwrap(), log)
    }

    async fn close((store, log): (BucketStore, Arc<event_log::EmbeddedLog>)) {
        store.drain().await;
        log.close().await;
    }

    fn blobs(&self) -> usize {
        fn files(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap();
            let count = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
                true => files(&entry.path()),
                false => 1,
            };
            entries.map(|entry| count(entry.unwrap())).sum()
        }
        files(&self.folder.path().join("objects/blobs"))
    }
}

/// Flips a bit of the place in each file under `folder` where `text` stands; returns in how many.
fn damage(folder: &std::path::Path, text: &str) -> usize {
    let mut damaged = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damaged += damage(&path, text);
            continue;
        }
        let mut content = std::fs::read(&path).unwrap();
        let mut windows = content.windows(text.len());
        if let Some(at) = windows.position(|window| window == text.as_bytes()) {
            content[at] ^= 1;
            std::fs::write(&path, content).unwrap();
            damaged += 1;
        }
    }
    damaged
}

async fn write(store: &BucketStore, bucket: &BucketName, at: &str, bytes: impl Into<Bytes>) {
    let (at, body) = (key(at), PutBody::bytes(bytes));
    let put = store.put(bucket, &at, body, PutOptions::default());
    put.await.unwrap();
}

#[tokio::test]
async fn a_damaged_change_costs_its_object_alone_and_no_blob() {
    let disk = OnDisk {
        folder: tempfile::tempdir().unwrap(),
    };
    let bucket = BucketName::new("data").unwrap();
    let (store, log) = disk.open().await;
    store.create_bucket(&bucket).await.unwrap();
    write(&store, &bucket, "before", "1").await;
    write(&store, &bucket, "lost-object", vec![1_u8; 200_000]).await;
    write(&store, &bucket, "after", vec![2_u8; 200_000]).await;
    OnDisk::close((store, log)).await;
    assert_eq!(damage(&disk.folder.path().join("log"), "lost-object"), 1);
    let blobs = disk.blobs();
    for _ in 0..2 {
        let (store, log) = disk.open().await;
        assert!(store.head(&bucket, &key("before")).is_ok());
        assert!(store.head(&bucket, &key("lost-object")).is_err());
        let after = store.head(&bucket, &key("after")).unwrap();
        let body = store.read(&after, 0..u64::MAX).await.unwrap();
        assert_eq!(body.collect().await.unwrap(), vec![2_u8; 200_000]);
        OnDisk::close((store, log)).await;
        assert_eq!(disk.blobs(), blobs);
    }
}

#[tokio::test]
async fn a_bucket_whose_creation_is_damaged_keeps_its_objects() {
    let disk = OnDisk {
        folder: tempfile::tempdir().unwrap(),
    };
    let (first, second) = (
        BucketName::new("first").unwrap(),
        BucketName::new("second").unwrap(),
    );
    let (store, log) = disk.open().await;
    for bucket in [&first, &second] {
        store.create_bucket(bucket).await.unwrap();
        write(&store, bucket, "big", vec![1_u8; 200_000]).await;
    }
    OnDisk::close((store, log)).await;
    let creation = r#""created","bucket":"first""#;
    assert_eq!(damage(&disk.folder.path().join("log"), creation), 1);
    let (store, _log) = disk.open().await;
    for bucket in [&first, &second] {
        let object = store.head(bucket, &key("big")).unwrap();
        let body = store.read(&object, 0..u64::MAX).await.unwrap();
        assert_eq!(body.collect().await.unwrap().len(), 200_000);
    }
}
