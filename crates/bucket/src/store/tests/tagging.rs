use std::time::Duration;

use super::*;
use crate::{Tags, TagsChange};

fn tags(pairs: &[(&str, &str)]) -> Tags {
    let pairs = pairs.iter();
    Tags::new(pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).unwrap()
}

impl Fixture {
    async fn tag(&self, at: &str, change: TagsChange) -> Result<Arc<Object>, Error> {
        let (at, requester) = (key(at), Requester::internal());
        self.store
            .change_tags(&self.bucket, &at, None, change, requester)
            .await
    }

    fn tags(&self, at: &str) -> Tags {
        let object = self.store.head(&self.bucket, &key(at)).unwrap();
        object.attributes().tags.clone()
    }
}

#[tokio::test]
async fn tags_change_without_the_object_and_have_an_event_of_their_own() {
    let fixture = Fixture::new().await;
    let put = fixture.put("a", "1").await;
    fixture.clock.advance(Duration::from_secs(60));
    let tagged = fixture
        .tag("a", TagsChange::Put(tags(&[("k", "v")])))
        .await
        .unwrap();
    assert_eq!(tagged.last_modified(), put.last_modified());
    assert_eq!(tagged.etag(), put.etag());
    assert!(tagged.sequencer() > put.sequencer());
    assert_eq!(fixture.tags("a"), tags(&[("k", "v")]));
    fixture.tag("a", TagsChange::Delete).await.unwrap();
    assert_eq!(fixture.tags("a"), Tags::default());
    assert_eq!(fixture.get("a").await.unwrap(), "1");
    assert_eq!(
        event_names(&fixture.records().await),
        [
            "ObjectCreated:Put",
            "ObjectTagging:Delete",
            "ObjectTagging:Put"
        ]
    );
    assert!(matches!(
        fixture.tag("b", TagsChange::Delete).await,
        Err(Error::NoSuchKey { .. })
    ));
}

#[tokio::test]
async fn tags_and_bytes_are_there_after_a_restart_and_writing_anew_drops_the_tags() {
    let mut fixture = Fixture::new().await;
    let large = vec![7_u8; 200_000];
    for (at, bytes) in [("small", vec![1_u8; 10]), ("large", large.clone())] {
        fixture.put(at, bytes).await;
        let wanted = tags(&[("k", "1"), ("l", "2")]);
        fixture.tag(at, TagsChange::Put(wanted)).await.unwrap();
    }
    let before = fixture.index();
    fixture.clock.advance(Duration::from_secs(1));
    for _ in 0..2 {
        fixture.reopen().await;
        assert_eq!(fixture.index(), before);
        assert_eq!(fixture.get("small").await.unwrap(), vec![1_u8; 10]);
        assert_eq!(fixture.get("large").await.unwrap(), large);
        assert_eq!(fixture.blobs().await, 1);
    }
    fixture.put("large", "new").await;
    assert_eq!(fixture.tags("large"), Tags::default());
    assert_eq!(fixture.blobs().await, 0);
}

#[tokio::test]
async fn a_reader_sees_the_bytes_to_their_end_although_tags_change_and_the_object_goes() {
    let fixture = Fixture::new().await;
    let large = vec![7_u8; 2_000_000];
    let before = fixture.put("a", large.clone()).await;
    fixture
        .tag("a", TagsChange::Put(tags(&[("k", "v")])))
        .await
        .unwrap();
    assert!(fixture.delete("a").await);
    assert_eq!(fixture.blobs().await, 1);
    let body = fixture.store.read(&before, 0..u64::MAX).await.unwrap();
    assert_eq!(body.collect().await.unwrap(), large);
    drop(before);
    assert_eq!(fixture.blobs().await, 0);
}

#[tokio::test]
async fn a_copy_has_the_tags_of_its_source_or_those_it_is_given() {
    let fixture = Fixture::new().await;
    let mut options = PutOptions::default();
    options.attributes.tags = tags(&[("of", "source")]);
    let (source, body) = (key("source"), PutBody::bytes("1"));
    let put = fixture.store.put(&fixture.bucket, &source, body, options);
    let source = put.await.unwrap();
    for (at, given, wanted) in [
        ("kept", None, tags(&[("of", "source")])),
        (
            "new",
            Some(tags(&[("of", "copy")])),
            tags(&[("of", "copy")]),
        ),
        ("none", Some(Tags::default()), Tags::default()),
    ] {
        let options = CopyOptions {
            tags: given,
            ..Default::default()
        };
        let to = key(at);
        let copy = fixture.store.copy(&source, &fixture.bucket, &to, options);
        copy.await.unwrap();
        assert_eq!(fixture.tags(at), wanted);
    }
}
