use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};

use super::*;

impl Fixture {
    async fn part(&self, upload: &str, number: i32, bytes: &[u8]) -> CompletedPart {
        let part = self.client.upload_part().bucket(BUCKET).key("big");
        let part = part
            .upload_id(upload)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(bytes.to_vec()));
        let part = part.send().await.unwrap();
        CompletedPart::builder()
            .part_number(number)
            .e_tag(part.e_tag.unwrap())
            .checksum_crc32(part.checksum_crc32.unwrap())
            .build()
    }

    async fn complete(
        &self,
        upload: &str,
        parts: &[&CompletedPart],
    ) -> Result<
        aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput,
        String,
    > {
        let parts = parts.iter().map(|part| (*part).clone()).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
        let complete = self.client.complete_multipart_upload().bucket(BUCKET);
        let complete = complete.key("big").upload_id(upload);
        let answer = complete.multipart_upload(parts.build()).send().await;
        answer.map_err(|error| error.code().unwrap_or_default().to_owned())
    }
}

#[tokio::test]
async fn a_multipart_upload_becomes_one_object() {
    let fixture = Fixture::new().await;
    let create = fixture.client.create_multipart_upload().bucket(BUCKET);
    let create = create
        .key("big")
        .metadata("m", "p")
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .checksum_type(ChecksumType::FullObject);
    let upload = create.send().await.unwrap().upload_id.unwrap();
    let (a, b) = (vec![1_u8; 5 * 1024 * 1024], vec![2_u8; 1000]);
    let first = fixture.part(&upload, 1, &a).await;
    let last = fixture.part(&upload, 9, &b).await;
    let small = fixture.part(&upload, 4, b"too small").await;

    let uploads = fixture.client.list_multipart_uploads().bucket(BUCKET);
    let uploads = uploads.send().await.unwrap();
    assert_eq!(uploads.uploads()[0].upload_id(), Some(upload.as_str()));
    let parts = fixture.client.list_parts().bucket(BUCKET).key("big");
    let parts = parts.upload_id(&upload).max_parts(2).send().await.unwrap();
    assert_eq!(parts.next_part_number_marker(), Some("4"));

    let refused = |answer: Result<_, String>| answer.err().unwrap();
    let wrong_order = fixture.complete(&upload, &[&last, &first]).await;
    assert_eq!(refused(wrong_order), "InvalidPartOrder");
    let too_small = fixture.complete(&upload, &[&first, &small, &last]).await;
    assert_eq!(refused(too_small), "EntityTooSmall");
    let object = fixture.complete(&upload, &[&first, &last]).await.unwrap();
    assert!(object.e_tag().unwrap().ends_with("-2\""));
    let again = fixture.complete(&upload, &[&first, &last]).await.unwrap();
    assert_eq!(again.e_tag(), object.e_tag());

    let whole = [a, b.clone()].concat();
    assert!(fixture.get("big").await == whole);
    let second = fixture.client.get_object().bucket(BUCKET).key("big");
    let second = second.part_number(2).send().await.unwrap();
    assert_eq!(second.parts_count(), Some(2));
    assert_eq!(second.body.collect().await.unwrap().to_vec(), b);
}

#[tokio::test]
async fn parts_are_copied_and_uploads_aborted() {
    let fixture = Fixture::new().await;
    fixture.put("source", "0123456789").await;
    let create = fixture.client.create_multipart_upload().bucket(BUCKET);
    let upload = create.key("big").send().await.unwrap().upload_id.unwrap();
    let copy = |range: &str| {
        let copy = fixture.client.upload_part_copy().bucket(BUCKET).key("big");
        let copy = copy.upload_id(&upload).part_number(1);
        copy.copy_source("data/source")
            .copy_source_range(range)
            .send()
    };
    copy("bytes=2-5").await.unwrap();
    assert_eq!(code(copy("bytes=2-10").await), "InvalidRange");
    assert_eq!(code(copy("bytes=2-").await), "InvalidArgument");
    let parts = || {
        let parts = fixture.client.list_parts().bucket(BUCKET).key("big");
        parts.upload_id(&upload).send()
    };
    assert_eq!(parts().await.unwrap().parts()[0].size(), Some(4));
    let abort = fixture.client.abort_multipart_upload().bucket(BUCKET);
    let abort = abort.key("big").upload_id(&upload).send();
    abort.await.unwrap();
    assert_eq!(code(parts().await), "NoSuchUpload");
}
