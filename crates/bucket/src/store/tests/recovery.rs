use super::*;

#[tokio::test]
async fn the_index_after_a_restart_equals_the_one_before() {
    let mut fixture = Fixture::new().await;
    for round in 0..40_usize {
        let at = format!("k{}", round % 13);
        fixture.clock.advance(std::time::Duration::from_millis(7));
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
async fn sequencers_go_on_after_a_restart_under_a_clock_that_went_back() {
    let mut fixture = Fixture::new().await;
    let before = fixture.put("a", "1").await.sequencer();
    fixture.clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(5)));
    fixture.reopen().await;
    assert!(fixture.put("a", "2").await.sequencer() > before);
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
    let config = event_log::TopicConfig {
        partitions: 1,
        lifetime: event_log::Lifetime::LongLived,
    };
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
