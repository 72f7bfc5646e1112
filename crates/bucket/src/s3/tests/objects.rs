use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, Delete, MetadataDirective, ObjectCannedAcl, ObjectIdentifier,
    ServerSideEncryption, StorageClass,
};

use super::*;

#[tokio::test]
async fn an_object_comes_back_with_what_was_said_about_it() {
    let fixture = Fixture::new().await;
    let expires = aws_sdk_s3::primitives::DateTime::from_secs(1_800_000_000);
    let put = fixture.client.put_object().bucket(BUCKET).key("a b/é");
    let put = put
        .cache_control("no-cache")
        .content_disposition("inline")
        .content_encoding("gzip")
        .content_language("de")
        .content_type("text/csv")
        .expires(expires)
        .metadata("owner", "me")
        .body(ByteStream::from_static(b"hello"));
    put.send().await.unwrap();
    let get = fixture.client.get_object().bucket(BUCKET).key("a b/é");
    let got = get.send().await.unwrap();
    assert_eq!(got.cache_control(), Some("no-cache"));
    assert_eq!(got.content_disposition(), Some("inline"));
    assert_eq!(got.content_encoding(), Some("gzip"));
    assert_eq!(got.content_language(), Some("de"));
    assert_eq!(got.content_type(), Some("text/csv"));
    assert_eq!(got.expires_string(), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    assert_eq!(got.metadata().unwrap()["owner"], "me");
    assert_eq!(got.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    let missing = fixture
        .client
        .get_object()
        .bucket(BUCKET)
        .key("nope")
        .send();
    assert_eq!(code(missing.await), "NoSuchKey");
}

#[tokio::test]
async fn a_reader_chooses_the_headers_of_the_answer() {
    let fixture = Fixture::new().await;
    fixture.put("a", "hello").await;
    let expires = aws_sdk_s3::primitives::DateTime::from_secs(1_800_000_000);
    let get = fixture.client.get_object().bucket(BUCKET).key("a");
    let got = get
        .response_cache_control("no-store")
        .response_content_disposition("attachment; filename=\"b.csv\"")
        .response_content_encoding("identity")
        .response_content_language("fr")
        .response_content_type("text/csv")
        .response_expires(expires)
        .send()
        .await
        .unwrap();
    assert_eq!(got.cache_control(), Some("no-store"));
    assert_eq!(
        got.content_disposition(),
        Some("attachment; filename=\"b.csv\"")
    );
    assert_eq!(got.content_encoding(), Some("identity"));
    assert_eq!(got.content_language(), Some("fr"));
    assert_eq!(got.content_type(), Some("text/csv"));
    assert_eq!(got.expires_string(), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    let head = fixture.client.head_object().bucket(BUCKET).key("a");
    let head = head.response_content_type("text/plain").send().await;
    assert_eq!(head.unwrap().content_type(), Some("text/plain"));
    // Only this answer: the object stays what it is.
    let head = fixture.client.head_object().bucket(BUCKET).key("a").send();
    assert_ne!(head.await.unwrap().content_type(), Some("text/plain"));
}

#[tokio::test]
async fn every_checksum_is_computed_kept_and_given_back() {
    let fixture = Fixture::new().await;
    for (size, algorithm) in [
        (0, ChecksumAlgorithm::Crc32),
        (10, ChecksumAlgorithm::Crc32C),
        (65_536, ChecksumAlgorithm::Sha1),
        (65_537, ChecksumAlgorithm::Sha256),
        (2_000_000, ChecksumAlgorithm::Crc64Nvme),
    ] {
        let bytes = vec![7_u8; size];
        let put = fixture.client.put_object().bucket(BUCKET).key("a");
        let put = put
            .checksum_algorithm(algorithm.clone())
            .body(ByteStream::from(bytes.clone()));
        put.send().await.unwrap();
        let get = fixture.client.get_object().bucket(BUCKET).key("a");
        // The SDK verifies what it is given back.
        let got = get
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap();
        let given = match algorithm {
            ChecksumAlgorithm::Crc32 => got.checksum_crc32(),
            ChecksumAlgorithm::Crc32C => got.checksum_crc32_c(),
            ChecksumAlgorithm::Sha1 => got.checksum_sha1(),
            ChecksumAlgorithm::Sha256 => got.checksum_sha256(),
            _ => got.checksum_crc64_nvme(),
        };
        assert!(given.is_some(), "{algorithm:?}");
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes);
    }
}

#[tokio::test]
async fn a_body_with_a_wrong_checksum_is_never_visible() {
    let fixture = Fixture::new().await;
    let put = || {
        let put = fixture.client.put_object().bucket(BUCKET).key("bad");
        put.body(ByteStream::from(vec![1; 100_000]))
    };
    let wrong = put().checksum_sha256("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert_eq!(code(wrong.send().await), "BadDigest");
    let wrong = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==");
    assert_eq!(code(wrong.send().await), "BadDigest");
    assert_eq!(code(put().content_md5("AA").send().await), "InvalidDigest");
    let get = fixture.client.get_object().bucket(BUCKET).key("bad").send();
    assert_eq!(code(get.await), "NoSuchKey");
}

#[tokio::test]
async fn ranges_are_read_and_those_outside_refused() {
    let fixture = Fixture::new().await;
    fixture.put("a", "0123456789").await;
    fixture.put("empty", "").await;
    let get = |key, range| {
        let get = fixture.client.get_object().bucket(BUCKET).key(key);
        get.range(range).send()
    };
    for (range, bytes, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-1", "9", "bytes 9-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
    ] {
        let got = get("a", range).await.unwrap();
        assert_eq!(got.content_range(), Some(content_range));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes.as_bytes());
    }
    assert_eq!(code(get("a", "bytes=10-").await), "InvalidRange");
    for range in ["bytes=0-", "bytes=-1"] {
        assert_eq!(code(get("empty", range).await), "InvalidRange");
    }
}

#[tokio::test]
async fn reads_and_writes_keep_their_conditions() {
    let fixture = Fixture::new().await;
    let tag = fixture.put("a", "1").await;
    let get = || fixture.client.get_object().bucket(BUCKET).key("a");
    let known = get().if_none_match(&tag).send().await.unwrap_err();
    assert_eq!(known.raw_response().unwrap().status().as_u16(), 304);
    assert!(
        known
            .raw_response()
            .unwrap()
            .headers()
            .get("etag")
            .is_some()
    );
    assert_eq!(
        code(get().if_match("\"x\"").send().await),
        "PreconditionFailed"
    );
    get().if_match(&tag).send().await.unwrap();

    let put = || fixture.client.put_object().bucket(BUCKET).key("a");
    assert_eq!(
        code(put().if_none_match("*").send().await),
        "PreconditionFailed"
    );
    put().if_match(&tag).send().await.unwrap();
    assert_eq!(
        code(put().if_match(&tag).send().await),
        "PreconditionFailed"
    );
    let delete = || fixture.client.delete_object().bucket(BUCKET).key("a");
    assert_eq!(
        code(delete().if_match(&tag).send().await),
        "PreconditionFailed"
    );
    delete().if_match("*").send().await.unwrap();
    assert_eq!(code(put().if_match(&tag).send().await), "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_clients_that_race_to_create_one_wins() {
    let fixture = Fixture::new().await;
    let mut racers = JoinSet::new();
    for racer in 0..10_u8 {
        let put = fixture.client.put_object().bucket(BUCKET).key("one");
        let put = put
            .if_none_match("*")
            .body(ByteStream::from(vec![racer; 70_000]));
        racers.spawn(async move { (racer, put.send().await) });
    }
    let mut winners = Vec::new();
    for (racer, outcome) in racers.join_all().await {
        match outcome {
            Ok(_) => winners.push(racer),
            Err(error) => assert_eq!(error.code(), Some("PreconditionFailed")),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(fixture.get("one").await, vec![winners[0]; 70_000]);
}

#[tokio::test]
async fn copies_keep_or_replace_what_was_said_about_the_source() {
    let fixture = Fixture::new().await;
    let put = fixture.client.put_object().bucket(BUCKET).key("from é");
    let put = put
        .metadata("a", "1")
        .body(ByteStream::from(vec![5; 100_000]));
    put.send().await.unwrap();
    let copy = |key: &str| {
        let copy = fixture.client.copy_object().bucket(BUCKET).key(key);
        copy.copy_source("data/from%20%C3%A9")
    };
    let head = |key: &str| fixture.client.head_object().bucket(BUCKET).key(key).send();
    copy("kept").send().await.unwrap();
    assert_eq!(head("kept").await.unwrap().metadata().unwrap()["a"], "1");
    let replaced = copy("replaced").metadata_directive(MetadataDirective::Replace);
    replaced.metadata("b", "2").send().await.unwrap();
    let metadata = head("replaced").await.unwrap().metadata.unwrap();
    assert_eq!(metadata, HashMap::from([("b".to_owned(), "2".to_owned())]));
    assert_eq!(fixture.get("replaced").await, vec![5; 100_000]);
    assert_eq!(code(copy("from é").send().await), "InvalidRequest");
}

#[tokio::test]
async fn many_keys_are_deleted_at_once_and_each_has_its_answer() {
    let fixture = Fixture::new().await;
    fixture.put("a", "1").await;
    fixture.put("b", "2").await;
    let named = |key: &str| ObjectIdentifier::builder().key(key);
    let delete = Delete::builder()
        .objects(named("a").build().unwrap())
        .objects(named("b").e_tag("\"x\"").build().unwrap())
        .objects(named("absent").build().unwrap())
        .build()
        .unwrap();
    let answer = fixture.client.delete_objects().bucket(BUCKET);
    let answer = answer.delete(delete).send().await.unwrap();
    let deleted: Vec<_> = answer.deleted().iter().filter_map(|d| d.key()).collect();
    assert_eq!(deleted, ["a", "absent"]);
    assert_eq!(answer.errors()[0].key(), Some("b"));
    assert_eq!(answer.errors()[0].code(), Some("PreconditionFailed"));
}

#[tokio::test]
async fn parameters_that_are_not_applied_are_refused() {
    let fixture = Fixture::new().await;
    let put = || fixture.client.put_object().bucket(BUCKET).key("a");
    let refused = [
        (
            put().server_side_encryption(ServerSideEncryption::AwsKms),
            "NotImplemented",
        ),
        (put().website_redirect_location("/x"), "NotImplemented"),
        (
            put().acl(ObjectCannedAcl::PublicRead),
            "AccessControlListNotSupported",
        ),
        (
            put().storage_class(StorageClass::Glacier),
            "InvalidStorageClass",
        ),
        (put().expected_bucket_owner("111111111111"), "AccessDenied"),
        (put().metadata("a", "x".repeat(2048)), "MetadataTooLarge"),
    ];
    for (put, expected) in refused {
        assert_eq!(code(put.send().await), expected);
    }
    let missing = fixture.client.get_object().bucket(BUCKET).key("a").send();
    assert_eq!(code(missing.await), "NoSuchKey");
    let taken = put()
        .acl(ObjectCannedAcl::BucketOwnerFullControl)
        .storage_class(StorageClass::Standard)
        .expected_bucket_owner("000000000000");
    taken.send().await.unwrap();
}
