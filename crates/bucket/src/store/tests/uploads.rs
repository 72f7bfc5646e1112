use std::collections::BTreeMap;

use super::*;
use crate::{
    ChecksumAlgorithm, ChecksumKind, CompletedPart, Part, PartNumber, PartSizes, UploadId,
};

fn number(number: u16) -> PartNumber {
    PartNumber::new(number).unwrap()
}

impl Fixture {
    async fn begin(&self, checksum: Option<(ChecksumAlgorithm, ChecksumKind)>) -> UploadId {
        let upload = NewUpload {
            attributes: Default::default(),
            checksum,
        };
        self.store
            .create_upload(&self.bucket, &key("big"), upload)
            .await
            .unwrap()
    }

    async fn part(&self, id: UploadId, part: u16, body: impl Into<Bytes>) -> Result<Part, Error> {
        self.store
            .upload_part(
                &self.bucket,
                &key("big"),
                &id,
                number(part),
                PutBody::bytes(body),
            )
            .await
    }

    async fn complete(&self, id: UploadId, parts: &[&Part]) -> Result<Arc<Object>, Error> {
        let completion = completion(parts);
        self.store
            .complete_upload(&self.bucket, &key("big"), &id, completion)
            .await
    }
}

fn completion(parts: &[&Part]) -> UploadCompletion {
    UploadCompletion {
        parts: parts
            .iter()
            .map(|part| CompletedPart {
                number: part.number,
                etag: Some(part.etag.clone()),
                checksums: BTreeMap::new(),
            })
            .collect(),
        part_sizes: PartSizes::Any,
        size: None,
        checksums: BTreeMap::new(),
        condition: WriteCondition::Always,
        requester: Requester::internal(),
    }
}

#[tokio::test]
async fn an_upload_survives_restarts_and_completes_without_copying() {
    let mut fixture = Fixture::new().await;
    let id = fixture.begin(None).await;
    let two = fixture.part(id, 2, vec![2_u8; 70_000]).await.unwrap();
    fixture.part(id, 1, "thrown away").await.unwrap();
    fixture.reopen().await;
    let one = fixture.part(id, 1, vec![1_u8; 80_000]).await.unwrap();
    let three = fixture.part(id, 3, "not listed").await.unwrap();
    fixture.reopen().await;
    let (_, parts) = fixture
        .store
        .upload(&fixture.bucket, &key("big"), &id)
        .await
        .unwrap();
    assert_eq!(parts, [one.clone(), two.clone(), three]);
    assert_eq!(fixture.blobs().await, 3);

    let object = fixture.complete(id, &[&one, &two]).await.unwrap();
    assert!(object.etag().as_str().ends_with("-2"));
    assert_eq!(object.parts(), Some(vec![80_000, 70_000]));
    assert_eq!(fixture.blobs().await, 2);
    let again = fixture.complete(id, &[&one, &two]).await.unwrap();
    assert_eq!(again.sequencer(), object.sequencer());
    assert_eq!(
        event_names(&fixture.records().await),
        ["ObjectCreated:CompleteMultipartUpload"]
    );

    fixture.reopen().await;
    let bytes = fixture.get("big").await.unwrap();
    assert!(bytes == [vec![1_u8; 80_000], vec![2_u8; 70_000]].concat());
    assert!(fixture.store.uploads(&fixture.bucket).unwrap().is_empty());
    fixture.delete("big").await;
    drop((object, again));
    assert_eq!(fixture.blobs().await, 0);
}

#[tokio::test]
async fn an_upload_whose_file_outlived_its_completion_is_over_at_the_next_start() {
    let mut fixture = Fixture::new().await;
    let id = fixture.begin(None).await;
    let part = fixture.part(id, 1, "bytes").await.unwrap();
    let uploads = fixture.folder.path().join("objects/uploads");
    let file = uploads.join(format!("{id}.jsonl"));
    let content = std::fs::read(&file).unwrap();
    fixture.complete(id, &[&part]).await.unwrap();
    fixture.put("big", "replaced").await;
    std::fs::write(&file, content).unwrap();
    fixture.reopen().await;
    assert!(!file.exists());
    assert!(matches!(
        fixture.complete(id, &[&part]).await,
        Err(Error::NoSuchUpload { .. })
    ));
    assert_eq!(fixture.get("big").await.unwrap(), "replaced");
    assert_eq!(fixture.blobs().await, 0);
}

#[tokio::test]
async fn a_completion_that_fails_leaves_the_upload_as_it_was() {
    let fixture = Fixture::new().await;
    let id = fixture.begin(None).await;
    let one = fixture.part(id, 1, "one").await.unwrap();
    let two = fixture.part(id, 2, "two").await.unwrap();
    let complete = |completion| {
        let (store, bucket) = (&fixture.store, &fixture.bucket);
        async move {
            store
                .complete_upload(bucket, &key("big"), &id, completion)
                .await
                .unwrap_err()
        }
    };
    let wrong_order = complete(completion(&[&two, &one])).await;
    assert!(matches!(wrong_order, Error::InvalidPartOrder { .. }));
    let mut other_tag = completion(&[&one]);
    other_tag.parts[0].etag = Some(ETag::new("x"));
    assert!(matches!(
        complete(other_tag).await,
        Error::InvalidPart { .. }
    ));
    let mut small = completion(&[&one, &two]);
    small.part_sizes = PartSizes::AtLeastFiveMebibytes;
    assert!(matches!(complete(small).await, Error::PartTooSmall { .. }));
    let mut wrong_size = completion(&[&one, &two]);
    wrong_size.size = Some(7);
    complete(wrong_size).await;
    let mut wrong_checksum = completion(&[&one, &two]);
    wrong_checksum
        .checksums
        .insert(ChecksumAlgorithm::Crc64Nvme, "AAAA".to_owned());
    assert!(matches!(
        complete(wrong_checksum).await,
        Error::BadDigest { .. }
    ));
    fixture.put("big", "in the way").await;
    let mut absent = completion(&[&one, &two]);
    absent.condition = WriteCondition::Absent;
    assert!(matches!(
        complete(absent).await,
        Error::PreconditionFailed { .. }
    ));
    fixture.complete(id, &[&one, &two]).await.unwrap();
    assert_eq!(fixture.get("big").await.unwrap(), "onetwo");
}

#[tokio::test]
async fn an_aborted_upload_leaves_nothing() {
    let mut fixture = Fixture::new().await;
    let id = fixture.begin(None).await;
    fixture.part(id, 1, "one").await.unwrap();
    fixture
        .store
        .abort_upload(&fixture.bucket, &key("big"), &id)
        .await
        .unwrap();
    assert_eq!(fixture.blobs().await, 0);
    assert!(matches!(
        fixture.part(id, 2, "two").await,
        Err(Error::NoSuchUpload { .. })
    ));
    fixture.reopen().await;
    assert!(fixture.store.uploads(&fixture.bucket).unwrap().is_empty());
}

#[tokio::test]
async fn the_checksum_of_an_upload_is_that_of_its_bytes_or_of_its_parts() {
    let fixture = Fixture::new().await;
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Crc32, ChecksumKind::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject),
        (ChecksumAlgorithm::Sha256, ChecksumKind::Composite),
    ] {
        let id = fixture.begin(Some((algorithm, kind))).await;
        let one = fixture.part(id, 1, "one").await.unwrap();
        let two = fixture.part(id, 2, "two").await.unwrap();
        let object = fixture.complete(id, &[&one, &two]).await.unwrap();
        let checksum = object.checksums().get(algorithm).unwrap().to_owned();
        let whole = PutBody::bytes("onetwo").computing(algorithm);
        let whole = fixture
            .store
            .put(&fixture.bucket, &key("w"), whole, PutOptions::default())
            .await
            .unwrap();
        match kind {
            ChecksumKind::FullObject => {
                assert_eq!(whole.checksums().get(algorithm), Some(checksum.as_str()));
            }
            ChecksumKind::Composite => assert!(checksum.ends_with("-2")),
        }
    }
    let refused = NewUpload {
        attributes: Default::default(),
        checksum: Some((ChecksumAlgorithm::Sha1, ChecksumKind::FullObject)),
    };
    assert!(matches!(
        fixture
            .store
            .create_upload(&fixture.bucket, &key("big"), refused)
            .await,
        Err(Error::InvalidRequest { .. })
    ));
}

#[tokio::test]
async fn a_composite_checksum_may_be_announced_without_the_number_of_parts() {
    let fixture = Fixture::new().await;
    let algorithm = ChecksumAlgorithm::Crc32c;
    let checksum = Some((algorithm, ChecksumKind::Composite));
    let id = fixture.begin(checksum).await;
    let part = fixture.part(id, 1, "one").await.unwrap();
    let object = fixture.complete(id, &[&part]).await.unwrap();
    let full = object.checksums().get(algorithm).unwrap();
    let bare = full.strip_suffix("-1").unwrap();
    let part_alone = part.checksums.get(algorithm).unwrap();
    for (announced, holds) in [
        (full.to_owned(), true),
        (bare.to_owned(), true),
        (format!("{bare}-2"), false),
        (part_alone.to_owned(), false),
    ] {
        let id = fixture.begin(checksum).await;
        let part = fixture.part(id, 1, "one").await.unwrap();
        let mut completion = completion(&[&part]);
        completion.checksums.insert(algorithm, announced.clone());
        let completed = fixture
            .store
            .complete_upload(&fixture.bucket, &key("big"), &id, completion)
            .await;
        match completed {
            Ok(_) => assert!(holds, "{announced}"),
            Err(Error::BadDigest { .. }) => assert!(!holds, "{announced}"),
            Err(other) => panic!("{announced}: {other}"),
        }
    }
}

#[tokio::test]
async fn a_part_may_be_a_range_of_another_object() {
    let fixture = Fixture::new().await;
    let source = fixture.put("source", "0123456789").await;
    let id = fixture.begin(None).await;
    let target = key("big");
    let part = fixture
        .store
        .copy_part(&source, 2..5, (&fixture.bucket, &target, &id), number(1))
        .await
        .unwrap();
    fixture.complete(id, &[&part]).await.unwrap();
    assert_eq!(fixture.get("big").await.unwrap(), "234");
}

#[tokio::test]
async fn a_removed_bucket_takes_its_uploads_along() {
    let fixture = Fixture::new().await;
    let id = fixture.begin(None).await;
    fixture.part(id, 1, "one").await.unwrap();
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
    fixture.store.create_bucket(&fixture.bucket).await.unwrap();
    assert!(fixture.store.uploads(&fixture.bucket).unwrap().is_empty());
    assert_eq!(fixture.blobs().await, 0);
}

#[test]
fn part_numbers_go_from_one_to_ten_thousand() {
    for wrong in [-1, 0, 10_001, 70_000] {
        assert!(PartNumber::new(wrong).is_err(), "{wrong}");
    }
    assert_eq!(PartNumber::new(10_000_i32).unwrap().get(), 10_000);
}
