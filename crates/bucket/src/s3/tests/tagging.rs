use aws_sdk_s3::types::{Event, Tag, Tagging, TaggingDirective};

use super::*;

fn set(pairs: &[(&str, &str)]) -> Tagging {
    let tag = |(key, value): &(&str, &str)| Tag::builder().key(*key).value(*value).build().unwrap();
    let tags = pairs.iter().map(tag).collect();
    Tagging::builder().set_tag_set(Some(tags)).build().unwrap()
}

impl Fixture {
    async fn tags(&self, key: &str) -> Vec<(String, String)> {
        let get = self.client.get_object_tagging().bucket(BUCKET).key(key);
        let tags = get.send().await.unwrap().tag_set;
        let tags = tags.into_iter().map(|tag| (tag.key, tag.value));
        tags.collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn tags_are_put_got_counted_and_deleted() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let put = client.put_object().bucket(BUCKET).key("a");
    put.tagging("b=2&a=1%202").send().await.unwrap();
    assert_eq!(fixture.tags("a").await, pairs(&[("a", "1 2"), ("b", "2")]));
    let head = client.head_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(head.unwrap().tag_count(), Some(2));
    let get = client.get_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(get.unwrap().tag_count(), Some(2));

    let put = client.put_object_tagging().bucket(BUCKET).key("a");
    put.tagging(set(&[("c", "")])).send().await.unwrap();
    assert_eq!(fixture.tags("a").await, pairs(&[("c", "")]));
    let delete = client.delete_object_tagging().bucket(BUCKET).key("a");
    delete.send().await.unwrap();
    assert_eq!(fixture.tags("a").await, []);
    let head = client.head_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(head.unwrap().tag_count(), None);
    let absent = client.get_object_tagging().bucket(BUCKET).key("absent");
    assert_eq!(code(absent.send().await), "NoSuchKey");
}

#[tokio::test]
async fn an_upload_in_parts_and_a_copy_carry_tags() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let create = client.create_multipart_upload().bucket(BUCKET).key("parts");
    let upload = create.tagging("from=upload").send().await.unwrap();
    let upload = upload.upload_id.unwrap();
    let part = client.upload_part().bucket(BUCKET).key("parts");
    let part = part.upload_id(&upload).part_number(1);
    let part = part.body(ByteStream::from_static(b"x")).send().await;
    let part = aws_sdk_s3::types::CompletedPart::builder()
        .part_number(1)
        .e_tag(part.unwrap().e_tag.unwrap())
        .build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part);
    let complete = client.complete_multipart_upload().bucket(BUCKET);
    let complete = complete.key("parts").upload_id(upload);
    let complete = complete.multipart_upload(parts.build());
    complete.send().await.unwrap();
    assert_eq!(fixture.tags("parts").await, pairs(&[("from", "upload")]));

    let copy = |key: &str| {
        let copy = client.copy_object().bucket(BUCKET).key(key);
        copy.copy_source("data/parts")
    };
    copy("same").send().await.unwrap();
    assert_eq!(fixture.tags("same").await, pairs(&[("from", "upload")]));
    let other = copy("other").tagging_directive(TaggingDirective::Replace);
    other.tagging("from=copy").send().await.unwrap();
    assert_eq!(fixture.tags("other").await, pairs(&[("from", "copy")]));
    let ignored = copy("ignored").tagging("from=copy");
    assert_eq!(code(ignored.send().await), "InvalidRequest");
}

#[tokio::test]
async fn tags_beyond_the_limits_are_refused_and_change_nothing() {
    let fixture = Fixture::new().await;
    fixture.put("a", "1").await;
    let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "")).collect();
    for (tags, wanted) in [
        (set(&many), "BadRequest"),
        (set(&[("k", "1"), ("k", "2")]), "InvalidTag"),
        (set(&[("k,", "1")]), "InvalidTag"),
    ] {
        let put = fixture.client.put_object_tagging().bucket(BUCKET).key("a");
        assert_eq!(code(put.tagging(tags).send().await), wanted);
    }
    let put = fixture.client.put_object().bucket(BUCKET).key("b");
    assert_eq!(code(put.tagging("a=%zz").send().await), "InvalidTag");
    assert_eq!(fixture.tags("a").await, []);
    assert_eq!(
        fixture
            .store
            .list(&BucketName::new(BUCKET).unwrap(), &Default::default())
            .unwrap()
            .objects
            .len(),
        1
    );
}

#[tokio::test]
async fn notifications_of_changed_tags_can_be_configured() {
    let fixture = Fixture::new().await;
    let to = aws_sdk_s3::types::LambdaFunctionConfiguration::builder()
        .lambda_function_arn(KNOWN)
        .events(Event::S3ObjectTagging)
        .build()
        .unwrap();
    let configuration = aws_sdk_s3::types::NotificationConfiguration::builder()
        .lambda_function_configurations(to)
        .build();
    let put = fixture.client.put_bucket_notification_configuration();
    let put = put.bucket(BUCKET).notification_configuration(configuration);
    put.send().await.unwrap();
}
