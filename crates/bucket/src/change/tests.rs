use event_log::{Offset, Partition, TopicName};
use tokio_util::task::TaskTracker;

use super::*;
use crate::s3_event::{Cause, Origin};
use crate::{BucketName, Requester, Versioning};

fn place() -> Place {
    Place {
        partition: TopicName::new("bucket.data")
            .unwrap()
            .partition(Partition::new(3)),
        offset: Offset::new(41),
    }
}

fn event<'a>(origin: &'a Origin, bucket: &'a BucketName, key: &'a ObjectKey) -> S3Event<'a> {
    let mut requester = Requester::internal();
    requester.request_id = "0123456789ABCDEF".to_owned();
    requester.extended_request_id = "two".to_owned();
    S3Event {
        origin,
        bucket,
        key,
        version: VersionId::NULL,
        versioning: Versioning::Unversioned,
        cause: Cause::Put,
        time: Timestamp::from_millis(1_795_000_000_123),
        sequencer: Sequencer::try_from("00AB".to_owned()).unwrap(),
        requester,
    }
}

fn new_object() -> NewObject {
    NewObject {
        size: 3,
        etag: ETag::new("900150983cd24fb0d6963f7d28e17f72"),
        checksums: Checksums::default(),
        attributes: ObjectAttributes::default(),
        again: None,
        upload: None,
        content: NewContent::Inline(Bytes::from_static(b"abc")),
    }
}

#[test]
fn the_record_is_the_aws_event_with_the_object_beside_it() {
    let origin = Origin {
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
    };
    let bucket = BucketName::new("data").unwrap();
    let key = ObjectKey::new("in box/é.csv").unwrap();
    let record = new_object().record(&event(&origin, &bucket, &key));

    let value: serde_json::Value = serde_json::from_slice(&record.value.clone().unwrap()).unwrap();
    assert_eq!(
        value,
        serde_json::json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": "2026-11-18T11:06:40.123Z",
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": "tidemill"},
            "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "responseElements": {"x-amz-request-id": "0123456789ABCDEF", "x-amz-id-2": "two"},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "",
                "bucket": {
                    "name": "data",
                    "ownerIdentity": {"principalId": "000000000000"},
                    "arn": "arn:aws:s3:::data",
                },
                "object": {
                    "key": "in+box/%C3%A9.csv",
                    "size": 3,
                    "eTag": "900150983cd24fb0d6963f7d28e17f72",
                    "sequencer": "00000000000000AB",
                },
            },
        })
    );
    let text = |name: &str| String::from_utf8(record.header(name).unwrap().to_vec()).unwrap();
    assert_eq!(text("ce_source"), "arn:aws:s3:::data");
    assert_eq!(text("ce_type"), "com.amazonaws.s3.ObjectCreated.Put");
    assert_eq!(text("ce_subject"), "in box/é.csv");
    assert_eq!(text("tm-inline"), "abc");
    assert_eq!(record.key.as_deref(), Some("in box/é.csv".as_bytes()));
}

#[test]
fn an_event_of_the_same_change_has_the_same_id() {
    let origin = Origin {
        region: String::new(),
        account: String::new(),
    };
    let bucket = BucketName::new("data").unwrap();
    let (one, other) = (ObjectKey::new("a").unwrap(), ObjectKey::new("b").unwrap());
    let id = |key| event(&origin, &bucket, key).id();
    assert_eq!(id(&one), id(&one));
    assert_ne!(id(&one), id(&other));
}

#[test]
fn a_change_survives_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(folder.path().to_owned(), TaskTracker::new()).unwrap();
    let origin = Origin {
        region: String::new(),
        account: String::new(),
    };
    let (bucket, key) = (
        BucketName::new("data").unwrap(),
        ObjectKey::new("k").unwrap(),
    );
    let event = event(&origin, &bucket, &key);
    let mut object = new_object();
    object.attributes.headers.content_type = Some("text/csv".to_owned());
    object
        .attributes
        .metadata
        .insert("a".to_owned(), "ü".to_owned());
    let record = object.record(&event);
    let Some(Change::Put(back)) = decode(&record, place(), &blobs).unwrap() else {
        panic!("the record is a put");
    };
    let object = object.at(place(), &event);
    assert_eq!(format!("{back:?}"), format!("{:?}", Box::new(object)));

    let [deleted, tombstone] =
        deletion(&event).map(|record| decode(&record, place(), &blobs).unwrap());
    assert!(matches!(deleted, Some(Change::Delete { key, .. }) if key.as_str() == "k"));
    assert!(matches!(tombstone, Some(Change::Gone { key, .. }) if key.as_str() == "k"));
}

#[test]
fn a_change_of_a_version_survives_its_record_and_says_which_one_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(folder.path().to_owned(), TaskTracker::new()).unwrap();
    let origin = Origin {
        region: String::new(),
        account: String::new(),
    };
    let (bucket, key) = (
        BucketName::new("data").unwrap(),
        ObjectKey::new("k").unwrap(),
    );
    let mut event = event(&origin, &bucket, &key);
    event.versioning = Versioning::Enabled;
    event.version = VersionId::new(event.sequencer);
    let id = event.version;
    let shown = |record: &Record| {
        let value: serde_json::Value =
            serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        value["s3"]["object"].clone()
    };

    let record = new_object().record(&event);
    assert_eq!(shown(&record)["versionId"], id.to_string());
    let Some(Change::Put(put)) = decode(&record, place(), &blobs).unwrap() else {
        panic!("the record is a put");
    };
    assert_eq!((put.version, put.order), (id, event.sequencer));

    event.cause = Cause::Mark;
    let record = marking(&event);
    assert_eq!(
        shown(&record),
        serde_json::json!({
            "key": "k",
            "sequencer": "00000000000000AB",
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "versionId": id.to_string(),
        })
    );
    let kind = String::from_utf8(record.header("ce_type").unwrap().to_vec()).unwrap();
    assert_eq!(kind, "com.amazonaws.s3.ObjectRemoved.DeleteMarkerCreated");
    let Some(Change::Marker(back)) = decode(&record, place(), &blobs).unwrap() else {
        panic!("the record is a marker");
    };
    assert_eq!(back, marker(&event));

    let [deleted, tombstone] = deletion(&event);
    assert_eq!(shown(&deleted)["versionId"], id.to_string());
    assert_eq!(deleted.key, tombstone.key);
    assert_eq!(deleted.key, record.key);
    assert!(matches!(
        decode(&tombstone, place(), &blobs).unwrap(),
        Some(Change::Gone { version, .. }) if version == id
    ));
}

/// The format on disk: what is written today must be read for ever.
#[test]
fn stored_changes_of_versions_of_the_first_format_are_read() {
    for text in [
        r#"{"change":"delete-marker","sequencer":"00000000000000AB"}"#,
        r#"{"change":"put","sequencer":"00000000000000AC","size":7,"etag":"x","modified":5,"order":"00000000000000AB"}"#,
    ] {
        let stored: Stored = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&stored).unwrap(), text);
    }
}

/// The format on disk: what is written today must be read for ever.
#[test]
fn stored_metadata_of_the_first_format_is_read() {
    let text = r#"{"change":"put","sequencer":"00000000000000AB","size":7,"etag":"x-2",
        "checksums":{"kind":"composite","values":{"crc32":"AAAA-2"}},
        "headers":{"content-type":"text/csv","expires":5},"metadata":{"a":"b"},
        "upload":"000000000000000000000000000000ff",
        "blobs":[["ab000000000000000000000000000000",7]]}"#;
    let stored: Stored = serde_json::from_str(text).unwrap();
    let compact: String = text.split_whitespace().collect();
    assert_eq!(serde_json::to_string(&stored).unwrap(), compact);
}

#[test]
fn records_that_no_store_wrote_are_passed_over_and_garbled_ones_name_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = BlobStore::open(folder.path().to_owned(), TaskTracker::new()).unwrap();
    let foreign = Record::new("hello", Timestamp::default()).with_key("k");
    assert!(decode(&foreign, place(), &blobs).unwrap().is_none());
    let garbled = foreign.with_header(OBJECT, "{");
    let error = decode(&garbled, place(), &blobs).unwrap_err().to_string();
    assert!(error.contains("bucket.data-3@41"), "{error}");
}
