use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use event_log::{EmbeddedConfig, EmbeddedLog};

use super::*;
use crate::lifecycle::tests::rule;
use crate::{CopyOptions, Expiration, NoncurrentExpiration, Tags, TagsChange};

impl Fixture {
    async fn versioned() -> Self {
        let fixture = Self::new().await;
        fixture.versioning(Versioning::Enabled).await;
        fixture
    }

    async fn versioning(&self, versioning: Versioning) {
        let put = self.store.put_versioning(&self.bucket, versioning);
        put.await.unwrap();
    }

    async fn mark(&self, at: &str) -> VersionId {
        let (at, requester) = (key(at), Requester::internal());
        let delete = self
            .store
            .delete(&self.bucket, &at, WriteCondition::Always, requester);
        match delete.await.unwrap() {
            Deletion::Marked(marker) => marker.version(),
            other => panic!("{other:?}"),
        }
    }

    async fn remove(&self, at: &str, id: VersionId) -> Deletion {
        let (at, requester) = (key(at), Requester::internal());
        let condition = WriteCondition::Always;
        let remove = self
            .store
            .delete_version(&self.bucket, &at, id, condition, requester);
        remove.await.unwrap()
    }

    /// The versions of a key, newest first, and whether each is an object.
    fn versions(&self, at: &str) -> Vec<(VersionId, bool)> {
        let query = VersionQuery {
            prefix: at.to_owned(),
            limit: usize::MAX,
            ..Default::default()
        };
        let listing = self.store.list_versions(&self.bucket, &query).unwrap();
        let versions = listing.versions.iter();
        let versions = versions.filter(|listed| listed.version.key().as_str() == at);
        let shown = versions.map(|listed| {
            let is_object = matches!(listed.version, Version::Object(_));
            (listed.version.id(), is_object)
        });
        shown.collect()
    }

    async fn bytes_of(&self, at: &str, id: VersionId) -> Result<Bytes, Error> {
        let object = self.store.version(&self.bucket, &key(at), id)?;
        let body = self.store.read(&object, 0..u64::MAX).await?;
        body.collect().await
    }
}

#[tokio::test]
async fn a_write_makes_a_version_and_a_deletion_a_marker_that_can_be_removed() {
    let fixture = Fixture::new().await;
    let before = fixture.put("a", "before").await;
    assert_eq!(before.version(), VersionId::NULL);
    fixture.versioning(Versioning::Enabled).await;
    let first = fixture.put("a", vec![1_u8; 100_000]).await.version();
    let second = fixture.put("a", "second").await.version();
    let marker = fixture.mark("a").await;
    assert_eq!(
        fixture.versions("a"),
        [
            (marker, false),
            (second, true),
            (first, true),
            (VersionId::NULL, true)
        ]
    );
    assert!(fixture.keys().is_empty());
    assert!(matches!(
        fixture.get("a").await,
        Err(Error::NoSuchKey { marker: Some(id), .. }) if id == marker
    ));
    assert!(matches!(
        fixture.bytes_of("a", marker).await,
        Err(Error::IsDeleteMarker { .. })
    ));
    assert_eq!(
        fixture.bytes_of("a", first).await.unwrap(),
        vec![1_u8; 100_000]
    );
    assert_eq!(
        fixture.bytes_of("a", VersionId::NULL).await.unwrap(),
        "before"
    );

    assert!(matches!(
        fixture.remove("a", marker).await,
        Deletion::Removed(Version::Marker(_))
    ));
    assert_eq!(fixture.get("a").await.unwrap(), "second");
    assert!(matches!(
        fixture.remove("a", marker).await,
        Deletion::Nothing
    ));
    fixture.remove("a", second).await;
    assert_eq!(fixture.get("a").await.unwrap(), vec![1_u8; 100_000]);
    fixture.remove("a", first).await;
    assert_eq!(fixture.blobs().await, 0);
    assert_eq!(fixture.get("a").await.unwrap(), "before");
    assert!(matches!(
        fixture.bytes_of("a", first).await,
        Err(Error::NoSuchVersion { .. })
    ));
    assert_eq!(
        event_names(&fixture.records().await),
        [
            "ObjectCreated:Put",
            "ObjectCreated:Put",
            "ObjectCreated:Put",
            "ObjectRemoved:Delete",
            "ObjectRemoved:Delete",
            "ObjectRemoved:Delete",
            "ObjectRemoved:DeleteMarkerCreated",
        ]
    );
}

#[tokio::test]
async fn a_suspended_bucket_replaces_the_version_without_an_id_alone() {
    let mut fixture = Fixture::versioned().await;
    let kept = fixture.put("a", "kept").await.version();
    fixture.versioning(Versioning::Suspended).await;
    fixture.put("a", vec![1_u8; 100_000]).await;
    fixture.put("a", vec![2_u8; 100_000]).await;
    assert_eq!(
        fixture.versions("a"),
        [(VersionId::NULL, true), (kept, true)]
    );
    assert_eq!(fixture.blobs().await, 1);
    for _ in 0..2 {
        assert_eq!(fixture.mark("a").await, VersionId::NULL);
    }
    assert_eq!(fixture.blobs().await, 0);
    assert_eq!(
        fixture.versions("a"),
        [(VersionId::NULL, false), (kept, true)]
    );
    fixture.versioning(Versioning::Enabled).await;
    let newest = fixture.put("a", "newest").await.version();
    let shape = [(newest, true), (VersionId::NULL, false), (kept, true)];
    assert_eq!(fixture.versions("a"), shape);
    fixture.reopen().await;
    assert_eq!(fixture.versions("a"), shape);
    assert!(matches!(
        fixture
            .store
            .put_versioning(&fixture.bucket, Versioning::Unversioned)
            .await,
        Err(Error::VersioningIsForGood { .. })
    ));
}

#[tokio::test]
async fn conditions_are_about_the_current_version_and_a_marker_is_none() {
    let fixture = Fixture::versioned().await;
    let first = fixture.put("a", "1").await;
    let absent = || WriteCondition::Absent;
    assert!(fixture.put_if("a", "2", absent()).await.is_err());
    fixture.put("a", "2").await;
    let old = WriteCondition::Tag(first.etag().clone());
    assert!(matches!(
        fixture.put_if("a", "3", old).await,
        Err(Error::PreconditionFailed { .. })
    ));
    fixture.mark("a").await;
    assert!(matches!(
        fixture.put_if("a", "3", WriteCondition::Present).await,
        Err(Error::NoSuchKey { .. })
    ));
    fixture.put_if("a", "3", absent()).await.unwrap();
    assert_eq!(fixture.versions("a").len(), 4);
}

#[tokio::test]
async fn a_deletion_of_what_is_not_there_leaves_a_marker_and_the_bucket_is_not_empty() {
    let fixture = Fixture::versioned().await;
    let marker = fixture.mark("never").await;
    assert!(fixture.keys().is_empty());
    assert!(matches!(
        fixture.store.delete_bucket(&fixture.bucket).await,
        Err(Error::BucketNotEmpty { .. })
    ));
    fixture.remove("never", marker).await;
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
    fixture.store.create_bucket(&fixture.bucket).await.unwrap();
    assert_eq!(
        fixture.store.versioning(&fixture.bucket).unwrap(),
        Versioning::Unversioned
    );
}

#[tokio::test]
async fn tags_of_an_old_version_change_without_its_place() {
    let mut fixture = Fixture::new().await;
    fixture.put("a", "null").await;
    fixture.versioning(Versioning::Enabled).await;
    let first = fixture.put("a", vec![1_u8; 100_000]).await.version();
    let second = fixture.put("a", "2").await.version();
    let tags = Tags::new([("k".to_owned(), "v".to_owned())]).unwrap();
    for id in [VersionId::NULL, first] {
        let (at, change) = (key("a"), TagsChange::Put(tags.clone()));
        let tagged = fixture.store.change_tags(
            &fixture.bucket,
            &at,
            Some(id),
            change,
            Requester::internal(),
        );
        assert_eq!(tagged.await.unwrap().version(), id);
    }
    let shape = [(second, true), (first, true), (VersionId::NULL, true)];
    for _ in 0..2 {
        assert_eq!(fixture.versions("a"), shape);
        for id in [VersionId::NULL, first] {
            let object = fixture.store.version(&fixture.bucket, &key("a"), id);
            assert_eq!(object.unwrap().attributes().tags, tags);
        }
        let head = fixture.store.head(&fixture.bucket, &key("a")).unwrap();
        assert_eq!(head.attributes().tags, Tags::default());
        assert_eq!(fixture.bytes_of("a", first).await.unwrap().len(), 100_000);
        fixture.reopen().await;
    }
}

#[tokio::test]
async fn an_old_version_is_copied_and_the_copy_outlives_it() {
    let fixture = Fixture::versioned().await;
    let old = fixture.put("a", vec![1_u8; 100_000]).await;
    fixture.put("a", "2").await;
    let copy = fixture
        .store
        .copy(&old, &fixture.bucket, &key("a"), CopyOptions::default())
        .await
        .unwrap();
    assert_ne!(copy.version(), old.version());
    fixture.remove("a", old.version()).await;
    drop(old);
    assert_eq!(fixture.blobs().await, 1);
    assert_eq!(fixture.get("a").await.unwrap(), vec![1_u8; 100_000]);
}

#[tokio::test]
async fn an_expired_object_of_a_versioned_bucket_is_marked_and_once() {
    let fixture = Fixture::versioned().await;
    let old = fixture.put("a", "1").await.version();
    let days = Expiration::Days(NonZeroU32::MIN);
    let rules = vec![rule("r", days)];
    let put = fixture.store.put_lifecycle(&fixture.bucket, rules);
    put.await.unwrap();
    fixture.clock.advance(Duration::from_secs(3 * 24 * 60 * 60));
    for _ in 0..2 {
        fixture.store.expire().await;
    }
    assert!(fixture.keys().is_empty());
    assert_eq!(fixture.bytes_of("a", old).await.unwrap(), "1");
    assert_eq!(
        event_names(&fixture.records().await),
        [
            "LifecycleExpiration:DeleteMarkerCreated",
            "ObjectCreated:Put"
        ]
    );
}

#[tokio::test]
async fn superseded_versions_go_when_they_are_due_and_then_the_marker_that_hid_them() {
    let fixture = Fixture::versioned().await;
    let day = Duration::from_secs(24 * 60 * 60);
    let first = fixture.put("a", vec![1_u8; 100_000]).await.version();
    let second = fixture.put("a", "2").await.version();
    let kept = fixture.put("b", "kept").await.version();
    fixture.clock.advance(2 * day);
    let marker = fixture.mark("a").await;
    let mut wanted = rule("r", Expiration::ExpiredMarkers);
    wanted.noncurrent = Some(NoncurrentExpiration {
        days: NonZeroU32::MIN,
        newer: None,
    });
    let put = fixture.store.put_lifecycle(&fixture.bucket, vec![wanted]);
    put.await.unwrap();
    fixture.store.expire().await;
    // The first was superseded two days ago, the second just now.
    let left = [(marker, false), (second, true)];
    assert_eq!(fixture.versions("a"), left);
    assert!(fixture.bytes_of("a", first).await.is_err());
    assert_eq!(fixture.blobs().await, 0);
    fixture.clock.advance(2 * day);
    for _ in 0..2 {
        fixture.store.expire().await;
    }
    assert!(fixture.versions("a").is_empty());
    assert_eq!(fixture.versions("b"), [(kept, true)]);
    let names = event_names(&fixture.records().await);
    let gone = names
        .iter()
        .filter(|name| *name == "LifecycleExpiration:Delete");
    assert_eq!(gone.count(), 3);
}

#[tokio::test]
async fn a_bucket_that_holds_versions_keeps_them_although_its_setting_was_lost() {
    let mut fixture = Fixture::versioned().await;
    let first = fixture.put("a", "1").await.version();
    let inner = &fixture.store.inner;
    let bucket = inner.bucket(&fixture.bucket).unwrap();
    let lost = inner.record_settings(&bucket, None, Versioning::Unversioned);
    lost.await.unwrap();
    fixture.reopen().await;
    let second = fixture.put("a", "2").await.version();
    assert_eq!(fixture.versions("a"), [(second, true), (first, true)]);
}

/// A version and the bytes of an object, or nothing of a marker.
type Held = (VersionId, Option<Vec<u8>>);

/// What a bucket must hold, told from what was asked of it alone.
#[derive(Default)]
struct Model {
    versioning: Versioning,
    /// Newest first.
    keys: BTreeMap<String, Vec<Held>>,
    events: usize,
}

impl Model {
    fn add(&mut self, at: &str, id: VersionId, bytes: Option<Vec<u8>>) {
        let versions = self.keys.entry(at.to_owned()).or_default();
        if id == VersionId::NULL {
            versions.retain(|(other, _)| *other != id);
        }
        versions.insert(0, (id, bytes));
        self.events += 1;
    }

    fn forget(&mut self, at: &str, id: VersionId) {
        let versions = self.keys.entry(at.to_owned()).or_default();
        let before = versions.len();
        versions.retain(|(other, _)| *other != id);
        self.events += before - versions.len();
    }
}

impl Fixture {
    /// One change, chosen by a number, here and in the model.
    async fn change(&self, model: &mut Model, number: u64) {
        let at = format!("k{}", number % 5);
        let held = model.keys.get(&at).cloned().unwrap_or_default();
        let pick = usize::try_from(number >> 20).unwrap() % (held.len() + 1);
        let picked = held.get(pick).map(|(id, _)| *id);
        match (number >> 8) % 10 {
            0 => {
                let versioning = match (number >> 16) % 3 {
                    0 => Versioning::Suspended,
                    _ => Versioning::Enabled,
                };
                self.versioning(versioning).await;
                model.versioning = versioning;
            }
            1 | 2 => {
                let (key, requester) = (key(&at), Requester::internal());
                let always = WriteCondition::Always;
                let delete = self.store.delete(&self.bucket, &key, always, requester);
                match delete.await.unwrap() {
                    Deletion::Marked(marker) => model.add(&at, marker.version(), None),
                    Deletion::Removed(version) => model.forget(&at, version.id()),
                    Deletion::Nothing => {}
                }
            }
            3 | 4 => {
                let id = picked.unwrap_or(VersionId::NULL);
                self.remove(&at, id).await;
                model.forget(&at, id);
            }
            5 => {
                let tags = Tags::new([("n".to_owned(), number.to_string())]).unwrap();
                let (key, change) = (key(&at), TagsChange::Put(tags));
                let requester = Requester::internal();
                let tagged = self
                    .store
                    .change_tags(&self.bucket, &key, picked, change, requester);
                model.events += usize::from(tagged.await.is_ok());
            }
            _ => {
                let len = [10, 70_000][usize::try_from(number >> 40).unwrap() % 2];
                let bytes = vec![number.to_le_bytes()[0]; len];
                let put = self.put(&at, bytes.clone()).await;
                model.add(&at, put.version(), Some(bytes));
            }
        }
    }

    async fn must_equal(&self, model: &Model) {
        let mut blobs = 0;
        for (at, versions) in &model.keys {
            let shape: Vec<_> = versions
                .iter()
                .map(|(id, bytes)| (*id, bytes.is_some()))
                .collect();
            assert_eq!(self.versions(at), shape, "{at}");
            for (id, bytes) in versions {
                if let Some(bytes) = bytes {
                    assert_eq!(self.bytes_of(at, *id).await.unwrap(), *bytes);
                    blobs += usize::from(bytes.len() > 65_536);
                }
            }
            let current = versions.first().and_then(|(_, bytes)| bytes.clone());
            assert_eq!(self.get(at).await.ok().map(Vec::from), current, "{at}");
        }
        assert_eq!(self.blobs().await, blobs);
    }
}

/// xorshift64, from a fixed seed.
fn next(number: &mut u64) -> u64 {
    *number ^= *number << 13;
    *number ^= *number >> 7;
    *number ^= *number << 17;
    *number
}

#[tokio::test]
async fn a_bucket_holds_what_was_asked_of_it_also_after_restarts_and_has_an_event_for_each_change()
{
    for seed in 1..=8_u64 {
        let mut fixture = Fixture::new().await;
        let (mut model, mut number) = (Model::default(), 0x9e37_79b9_7f4a_7c15 ^ seed);
        for step in 0..150 {
            fixture.clock.advance(Duration::from_millis(1));
            fixture.change(&mut model, next(&mut number)).await;
            if step % 50 == 0 {
                fixture.must_equal(&model).await;
                fixture.reopen().await;
            }
        }
        fixture.must_equal(&model).await;
        assert_eq!(fixture.records().await.len(), model.events, "seed {seed}");
        let before = fixture.index();
        fixture.reopen().await;
        assert_eq!(fixture.index(), before);
        fixture.must_equal(&model).await;
    }
}

#[tokio::test]
async fn compaction_takes_what_is_superseded_and_no_version() {
    let mut fixture = Fixture::new().await;
    let folder = tempfile::tempdir().unwrap();
    let config = || EmbeddedConfig {
        segment_bytes: 64 << 10,
        tombstone_grace: Duration::ZERO,
        ..EmbeddedConfig::new(folder.path())
    };
    let log = EmbeddedLog::open(config(), fixture.clock.clone()).unwrap();
    fixture.log = log.clone();
    fixture.reopen().await;
    fixture.store.create_bucket(&fixture.bucket).await.unwrap();
    let (mut model, mut number) = (Model::default(), 0x5eed);
    for step in 0..900_u64 {
        fixture.clock.advance(Duration::from_secs(1));
        // The next change is one that a run of mere random ones would make too seldom.
        if step % 3 == 0 {
            let at = format!("gone{}", step % 4);
            let id = fixture.put(&at, "x".repeat(500)).await.version();
            fixture.remove(&at, id).await;
        }
        fixture.change(&mut model, next(&mut number)).await;
    }
    let before = fixture.index();
    let topic = fixture.log.topic(&fixture.bucket.topic()).unwrap();
    let bounds = |it| fixture.log.bounds(&it).unwrap();
    let ends = topic.partitions().map(|it| bounds(it).end);
    let written: u64 = ends.map(|end| end.get()).sum();
    for _ in 0..2 {
        fixture.clock.advance(Duration::from_secs(1));
        log.clean_up().await;
    }
    let left = fixture.held().await.len() as u64;
    assert!(left < written * 2 / 3, "{left} of {written} are left");
    fixture.must_equal(&model).await;

    fixture.store.drain().await;
    fixture.log = MemoryLog::new();
    let store = open(&TempDir::new().unwrap(), &fixture.log, &fixture.clock).await;
    fixture.store = store.unwrap();
    drop(log);
    fixture.log = EmbeddedLog::open(config(), fixture.clock.clone()).unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.index(), before);
    fixture.must_equal(&model).await;
}
