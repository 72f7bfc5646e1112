use futures::stream::{self, StreamExt};

use super::*;
use crate::ingest::INLINE_BYTES;
use crate::{ChecksumAlgorithm, CopyOptions, ObjectAttributes};

#[tokio::test]
async fn an_object_is_visible_with_its_event_and_gone_with_the_next() {
    let fixture = Fixture::new().await;
    fixture.put("a", "one").await;
    assert_eq!(fixture.get("a").await.unwrap(), "one");
    assert_eq!(event_names(&fixture.records().await), ["ObjectCreated:Put"]);

    assert!(fixture.delete("a").await);
    assert!(matches!(
        fixture.get("a").await,
        Err(Error::NoSuchKey { .. })
    ));
    let records = fixture.records().await;
    assert_eq!(
        event_names(&records),
        ["ObjectCreated:Put", "ObjectRemoved:Delete"]
    );

    assert!(!fixture.delete("a").await);
    assert_eq!(fixture.records().await.len(), 2);
}

#[tokio::test]
async fn changes_of_a_key_have_growing_sequencers_and_ids_of_their_own() {
    let fixture = Fixture::new().await;
    for bytes in ["1", "2", "3"] {
        fixture.put("a", bytes).await;
    }
    fixture.delete("a").await;
    let records = fixture.records().await;
    let mut last = String::new();
    for record in &records {
        let event: serde_json::Value =
            serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        let sequencer = event["s3"]["object"]["sequencer"].as_str().unwrap();
        assert!(sequencer > last.as_str());
        sequencer.clone_into(&mut last);
    }
    let ids: std::collections::HashSet<_> = records
        .iter()
        .map(|record| record.header("ce_id"))
        .collect();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn bytes_ride_in_the_record_up_to_the_boundary_and_in_a_blob_above_it() {
    let fixture = Fixture::new().await;
    let bytes = |len: u64| vec![7_u8; usize::try_from(len).unwrap()];
    fixture.put("at", bytes(INLINE_BYTES)).await;
    assert_eq!(fixture.blobs().await, 0);
    fixture.put("above", bytes(INLINE_BYTES + 1)).await;
    assert_eq!(fixture.blobs().await, 1);
    assert_eq!(fixture.get("at").await.unwrap(), bytes(INLINE_BYTES));
    assert_eq!(fixture.get("above").await.unwrap(), bytes(INLINE_BYTES + 1));
    let inlined: Vec<usize> = fixture
        .records()
        .await
        .iter()
        .filter_map(|record| record.header("tm-inline").map(Bytes::len))
        .collect();
    assert_eq!(inlined, [bytes(INLINE_BYTES).len()]);
}

#[tokio::test]
async fn any_range_of_any_object_is_read() {
    let fixture = Fixture::new().await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    fixture.put("large", large.clone()).await;
    fixture.put("small", "0123456789").await;
    let read = |at: &'static str, range: std::ops::Range<u64>| {
        let fixture = &fixture;
        async move {
            let object = fixture.store.head(&fixture.bucket, &key(at)).unwrap();
            let body = fixture.store.read(&object, range).await.unwrap();
            body.collect().await.unwrap()
        }
    };
    assert_eq!(read("small", 3..7).await, "3456");
    assert_eq!(read("small", 9..100).await, "9");
    assert_eq!(read("small", 10..20).await, "");
    assert_eq!(read("large", 0..3_000_000).await, large);
    assert_eq!(
        read("large", 262_143..1_048_577).await,
        large[262_143..1_048_577]
    );
}

#[tokio::test]
async fn odd_keys_are_keys_like_any_other() {
    let mut fixture = Fixture::new().await;
    let long = "x".repeat(900);
    let mut keys = vec![
        "p",
        "p/",
        "p/q",
        "../x",
        "/",
        "//",
        "a b+c",
        "ключ/😀",
        &long,
    ];
    for at in &keys {
        fixture.put(at, at.to_string()).await;
    }
    fixture.reopen().await;
    for at in &keys {
        assert_eq!(fixture.get(at).await.unwrap(), at.as_bytes(), "{at}");
    }
    keys.sort_unstable();
    assert_eq!(fixture.keys(), keys);
    assert!(ObjectKey::new("x".repeat(1025)).is_err());
    assert!(ObjectKey::new("").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_racing_creators_exactly_one_wins() {
    for large in [false, true] {
        let fixture = Arc::new(Fixture::new().await);
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..10_u8 {
            let fixture = Arc::clone(&fixture);
            racers.spawn(async move {
                let bytes = vec![racer; if large { 100_000 } else { 10 }];
                fixture.put_if("one", bytes, WriteCondition::Absent).await
            });
        }
        let outcomes = racers.join_all().await;
        let winners: Vec<_> = outcomes
            .iter()
            .filter_map(|one| one.as_ref().ok())
            .collect();
        assert_eq!(winners.len(), 1);
        for loser in outcomes.iter().filter_map(|one| one.as_ref().err()) {
            assert!(matches!(loser, Error::PreconditionFailed { .. }));
        }
        let visible = fixture.store.head(&fixture.bucket, &key("one")).unwrap();
        assert_eq!(visible.etag(), winners[0].etag());
        assert_eq!(fixture.records().await.len(), 1);
        assert_eq!(fixture.blobs().await, usize::from(large));
    }
}

#[tokio::test]
async fn a_write_that_names_a_tag_replaces_only_that_version() {
    let fixture = Fixture::new().await;
    let missing = WriteCondition::Tag(ETag::new("x"));
    assert!(matches!(
        fixture.put_if("a", "1", missing).await,
        Err(Error::NoSuchKey { .. })
    ));
    let first = fixture.put("a", "1").await.etag().clone();
    let tagged = WriteCondition::Tag(first);
    fixture.put_if("a", "2", tagged.clone()).await.unwrap();
    assert!(matches!(
        fixture.put_if("a", "3", tagged).await,
        Err(Error::PreconditionFailed { .. })
    ));
    assert_eq!(fixture.get("a").await.unwrap(), "2");
}

#[tokio::test]
async fn a_body_that_is_not_what_was_announced_is_never_visible() {
    let fixture = Fixture::new().await;
    let large = Bytes::from(vec![1_u8; 100_000]);
    let bodies = [
        PutBody::bytes(large.clone()).with_md5([0; 16]),
        PutBody::bytes(large.clone()).with_length(99_999),
        PutBody::bytes(large.clone()).with_checksum(ChecksumAlgorithm::Sha256, "AAAA".to_owned()),
        PutBody::bytes(large.clone())
            .computing(ChecksumAlgorithm::Crc32)
            .with_trailer(|| Ok([(ChecksumAlgorithm::Crc32, "AAAAAA==".to_owned())].into())),
        PutBody::stream(stream::iter([Ok(large), Err("the line went dead".into())])),
    ];
    let at = key("a");
    for body in bodies {
        let put = fixture
            .store
            .put(&fixture.bucket, &at, body, PutOptions::default());
        put.await.unwrap_err();
    }
    assert!(fixture.keys().is_empty());
    assert!(fixture.records().await.is_empty());
    assert_eq!(fixture.blobs().await, 0);
}

#[tokio::test]
async fn a_reader_sees_its_version_to_the_end_while_the_key_moves_on() {
    let fixture = Fixture::new().await;
    let old = vec![1_u8; 2_000_000];
    fixture.put("a", old.clone()).await;
    let object = fixture.store.head(&fixture.bucket, &key("a")).unwrap();
    let mut body = fixture.store.read(&object, 0..u64::MAX).await.unwrap();
    drop(object);
    let mut read = body.next().await.unwrap().unwrap().to_vec();
    fixture.put("a", vec![2_u8; 200_000]).await;
    assert_eq!(fixture.blobs().await, 2);
    while let Some(chunk) = body.next().await {
        read.extend_from_slice(&chunk.unwrap());
    }
    assert!(read == old);
    drop(body);
    assert_eq!(fixture.blobs().await, 1);
}

#[tokio::test]
async fn a_copy_lives_on_when_its_source_goes() {
    let fixture = Fixture::new().await;
    for (source, bytes) in [("small", vec![3_u8; 10]), ("large", vec![3_u8; 100_000])] {
        let object = fixture.put(source, bytes.clone()).await;
        let copy = fixture
            .store
            .copy(
                &object,
                &fixture.bucket,
                &key("copy"),
                CopyOptions::default(),
            )
            .await
            .unwrap();
        assert_eq!(copy.etag(), object.etag());
        drop((object, copy));
        fixture.delete(source).await;
        assert_eq!(fixture.get("copy").await.unwrap(), bytes);
    }
    assert_eq!(fixture.blobs().await, 1);
    let names = event_names(&fixture.records().await);
    assert_eq!(
        names
            .iter()
            .filter(|name| *name == "ObjectCreated:Copy")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_copy_gets_the_checksum_it_asks_for_and_attributes_of_its_own() {
    let fixture = Fixture::new().await;
    let source = fixture.put("a", vec![9_u8; 100_000]).await;
    assert!(
        source
            .checksums()
            .get(ChecksumAlgorithm::Crc64Nvme)
            .is_some()
    );
    let mut attributes = ObjectAttributes::default();
    attributes.metadata.insert("k".to_owned(), "v".to_owned());
    let options = CopyOptions {
        attributes: Some(attributes.clone()),
        checksum: Some(ChecksumAlgorithm::Sha1),
        ..Default::default()
    };
    let copy = fixture
        .store
        .copy(&source, &fixture.bucket, &key("b"), options)
        .await
        .unwrap();
    assert!(copy.checksums().get(ChecksumAlgorithm::Sha1).is_some());
    assert_eq!(*copy.attributes(), attributes);
    assert_eq!(fixture.get("b").await.unwrap(), vec![9_u8; 100_000]);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_blob_and_no_half_made_change() {
    let fixture = Fixture::new().await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let arriving = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|chunk| (Ok(chunk), receiver))
    });
    let (store, bucket) = (fixture.store.clone(), fixture.bucket.clone());
    let upload = tokio::spawn(async move {
        let body = PutBody::stream(arriving);
        store
            .put(&bucket, &key("a"), body, PutOptions::default())
            .await
    });
    sender.send(Bytes::from(vec![0; 2_000_000])).unwrap();
    // The blob appears once the first chunk has been written.
    while fixture.blobs().await == 0 {
        tokio::task::yield_now().await;
    }
    upload.abort();
    assert!(upload.await.unwrap_err().is_cancelled());
    while fixture.blobs().await != 0 {
        tokio::task::yield_now().await;
    }
    assert!(fixture.records().await.is_empty());
}
