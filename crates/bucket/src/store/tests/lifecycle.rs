use std::num::NonZeroU32;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::lifecycle::tests::rule;
use crate::{Expiration, LifecycleRule, RuleStatus, Tags, TagsChange};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn days(id: &str, days: u32) -> LifecycleRule {
    rule(id, Expiration::Days(NonZeroU32::new(days).unwrap()))
}

impl Fixture {
    async fn rules(&self, rules: impl IntoIterator<Item = LifecycleRule>) {
        let rules = rules.into_iter().collect();
        let put = self.store.put_lifecycle(&self.bucket, rules);
        put.await.unwrap();
    }
}

#[tokio::test]
async fn an_object_goes_when_it_is_due_and_its_event_with_it() {
    let mut fixture = Fixture::new().await;
    fixture.put("a", "1").await;
    fixture.put("large", vec![1_u8; 200_000]).await;
    fixture.rules([days("r", 1)]).await;
    fixture.clock.advance(DAY);
    // A day has gone by, but the midnight after it has not come.
    fixture.store.expire().await;
    assert_eq!(fixture.keys(), ["a", "large"]);
    fixture.clock.advance(DAY);
    fixture.put("new", "1").await;
    fixture.store.expire().await;
    assert_eq!(fixture.keys(), ["new"]);
    assert_eq!(fixture.blobs().await, 0);
    fixture.store.expire().await;
    fixture.reopen().await;
    fixture.store.expire().await;
    assert_eq!(fixture.keys(), ["new"]);

    let records = fixture.records().await;
    let names = event_names(&records);
    let gone = names
        .iter()
        .filter(|name| *name == "LifecycleExpiration:Delete");
    assert_eq!(gone.count(), 2);
    let record = records
        .iter()
        .find(|record| {
            record.header("ce_type").unwrap() == "com.amazonaws.s3.LifecycleExpiration.Delete"
        })
        .unwrap();
    let event: serde_json::Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
    assert_eq!(event["eventVersion"], "2.3");
    assert_eq!(event["userIdentity"]["principalId"], "s3.amazonaws.com");
    assert_eq!(
        event["requestParameters"]["sourceIPAddress"],
        "s3.amazonaws.com"
    );
    assert_eq!(event["s3"]["object"]["size"], serde_json::Value::Null);
}

#[tokio::test]
async fn rules_are_there_after_a_restart_and_go_when_they_are_taken_away() {
    let mut fixture = Fixture::new().await;
    fixture.put("a", "1").await;
    let mut disabled = days("later", 1);
    disabled.status = RuleStatus::Disabled;
    fixture.rules([days("r", 1), disabled]).await;
    let before = fixture.store.lifecycle(&fixture.bucket).unwrap().unwrap();
    fixture.reopen().await;
    let after = fixture.store.lifecycle(&fixture.bucket).unwrap().unwrap();
    assert_eq!(after, before);
    fixture.clock.advance(3 * DAY);
    let gone = fixture.store.delete_lifecycle(&fixture.bucket);
    gone.await.unwrap();
    fixture.reopen().await;
    fixture.store.expire().await;
    assert_eq!(fixture.keys(), ["a"]);
    assert!(fixture.store.lifecycle(&fixture.bucket).unwrap().is_none());

    assert!(fixture.delete("a").await);
    fixture.rules([days("r", 1)]).await;
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
    fixture.store.create_bucket(&fixture.bucket).await.unwrap();
    assert!(fixture.store.lifecycle(&fixture.bucket).unwrap().is_none());
}

#[tokio::test]
async fn an_upload_is_aborted_when_it_is_due() {
    let fixture = Fixture::new().await;
    let mut aborted = days("r", 1);
    aborted.expiration = None;
    aborted.abort_uploads_after_days = NonZeroU32::new(2);
    fixture.rules([aborted]).await;
    let upload = NewUpload {
        attributes: Default::default(),
        checksum: None,
    };
    let (bucket, at) = (&fixture.bucket, key("big"));
    let created = fixture.store.create_upload(bucket, &at, upload);
    created.await.unwrap();
    fixture.store.expire().await;
    assert_eq!(fixture.store.uploads(bucket).unwrap().len(), 1);
    fixture.clock.advance(3 * DAY);
    fixture.store.expire().await;
    assert!(fixture.store.uploads(bucket).unwrap().is_empty());
    assert!(fixture.records().await.is_empty());
}

/// Whoever waits for objects to go is told of each change that makes one go earlier.
#[tokio::test(start_paused = true)]
async fn what_is_due_goes_without_anybody_asking() {
    let fixture = Fixture::new().await;
    let (store, stop) = (fixture.store.clone(), CancellationToken::new());
    let stopped = stop.clone();
    let runs = tokio::spawn(async move { store.run_lifecycle(stopped).await });
    let gone = async |at: &str| {
        while fixture.store.head(&fixture.bucket, &key(at)).is_ok() {
            tokio::time::advance(Duration::from_secs(3600)).await;
        }
    };
    fixture.put("old", "1").await;
    fixture.clock.advance(3 * DAY);
    fixture.rules([days("r", 1)]).await;
    gone("old").await;

    let mut tagged = days("t", 1);
    tagged.filter.tags = Tags::from_header("k=v").unwrap();
    fixture.rules([tagged]).await;
    fixture.put("tagged", "1").await;
    fixture.clock.advance(3 * DAY);
    let change = TagsChange::Put(Tags::from_header("k=v").unwrap());
    let (at, requester) = (key("tagged"), Requester::internal());
    let tag = fixture
        .store
        .change_tags(&fixture.bucket, &at, None, change, requester);
    tag.await.unwrap();
    gone("tagged").await;

    // Here it is the timer that says when to look at the clock.
    fixture.rules([days("r", 1)]).await;
    fixture.put("timed", "1").await;
    fixture.clock.advance(3 * DAY);
    gone("timed").await;
    stop.cancel();
    runs.await.unwrap();
}
