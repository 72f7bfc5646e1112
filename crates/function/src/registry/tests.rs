mod versions;

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use clock::{ManualClock, Timestamp};
use event_log::{Offset, TopicName};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Error, NewFunction, Registry, Writers};
use crate::{
    Backoff, BatchPolicy, Destination, Function, FunctionName, Logging, Ordering, PolicyStatement,
    Problem, RetryPolicy, StartingPosition, Trigger, TriggerId, TriggerSource,
};

mod images;

/// A store and a cache folder that registries are opened over.
struct Place {
    store: Arc<InMemory>,
    cache: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            store: Arc::new(InMemory::new()),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    async fn open(&self) -> Registry {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Registry, Error> {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_000));
        let store: Arc<dyn ObjectStore> = self.store.clone();
        Registry::open(
            store,
            self.cache.path(),
            Arc::new(clock),
            Writers::Alone,
            1 << 20,
        )
        .await
    }
}

fn zip(content: &str) -> Bytes {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("main.py", zip::write::SimpleFileOptions::default())
        .unwrap();
    zip.write_all(content.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner().into()
}

fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}

fn new(text: &str) -> NewFunction {
    NewFunction {
        account: "000000000000".to_owned(),
        name: name(text),
        runtime: "python3.13".to_owned(),
        handler: "main.handler".to_owned(),
        role: "arn:aws:iam::000000000000:role/r".to_owned(),
        description: String::new(),
        memory_mib: 128,
        ephemeral_storage_mib: 512,
        timeout_seconds: 3,
        environment: BTreeMap::new(),
        layers: Vec::new(),
        logging: Logging::Text,
        tags: BTreeMap::new(),
    }
}

fn trigger(function: &str, source: TriggerSource) -> Trigger {
    Trigger {
        id: TriggerId::random(),
        function: name(function),
        source,
        filters: Vec::new(),
        batch: BatchPolicy {
            batch_size: 100,
            maximum_batching_window_ms: 500,
        },
        retry: RetryPolicy {
            maximum_retry_attempts: None,
            maximum_record_age_seconds: None,
            bisect_batch_on_function_error: false,
            backoff: Backoff::Exponential,
            on_failure: Destination::DeadLetters,
        },
        ordering: Ordering::Partition,
        report_batch_item_failures: false,
        enabled: true,
        problem: None,
        tags: BTreeMap::new(),
        qualifier: None,
        starting_position: StartingPosition::Latest {
            ends: BTreeMap::from([(0, Offset::new(7))]),
        },
        last_modified: Timestamp::default(),
        revision: Uuid::nil(),
    }
}

fn topic() -> TriggerSource {
    TriggerSource::Topic {
        topic: TopicName::new("orders").unwrap(),
        bootstrap_servers: "localhost:9092".to_owned(),
        consumer_group_id: "g".to_owned(),
    }
}

fn bucket(configuration_id: &str) -> TriggerSource {
    notification(configuration_id, "s3:ObjectCreated:*")
}

fn notification(configuration_id: &str, event: &str) -> TriggerSource {
    TriggerSource::Bucket {
        bucket: "photos".to_owned(),
        configuration_id: configuration_id.to_owned(),
        events: vec![event.to_owned()],
        prefix: None,
        suffix: None,
    }
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let place = Place::new();
    let before = place.open().await;
    before.create_function(new("f"), zip("1")).await.unwrap();
    before
        .update_attributes(&name("f"), None, |function| {
            function.reserved_concurrency = Some(7);
            function
                .policy
                .insert("s".to_owned(), PolicyStatement::default());
        })
        .await
        .unwrap();
    let mapping = before.create_trigger(trigger("f", topic())).await.unwrap();
    let function = before.function(&name("f")).unwrap();
    drop(before);
    std::fs::remove_dir_all(place.cache.path().join("code")).unwrap();

    let after = place.open().await;
    assert_eq!(after.function(&name("f")).unwrap(), function);
    assert_eq!(after.trigger(mapping.id).unwrap(), mapping);
    let code = after.code_dir(&function).await.unwrap();
    assert_eq!(std::fs::read(code.join("main.py")).unwrap(), b"1");
    assert_eq!(after.archive(&function).await.unwrap(), zip("1"));
}

#[tokio::test]
async fn a_lost_update_is_a_conflict_and_the_winner_is_seen_afterwards() {
    let place = Place::new();
    let (one, two) = (place.open().await, place.open().await);
    one.create_function(new("f"), zip("1")).await.unwrap();
    let created = two.create_function(new("f"), zip("1")).await.unwrap_err();
    assert!(matches!(created, Error::FunctionExists { .. }));

    let set = |memory| move |function: &mut Function| function.memory_mib = memory;
    one.update_configuration(&name("f"), None, set(256))
        .await
        .unwrap();
    let lost = two.update_configuration(&name("f"), None, set(512)).await;
    assert!(matches!(lost, Err(Error::Conflict { .. })));
    assert_eq!(two.function(&name("f")).unwrap().memory_mib, 256);
    two.update_configuration(&name("f"), None, set(512))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stale_revision_is_refused_and_attributes_keep_it() {
    let place = Place::new();
    let registry = place.open().await;
    let first = registry
        .create_function(new("f"), zip("1"))
        .await
        .unwrap()
        .revision;
    let second = registry
        .update_code(&name("f"), Some(first), zip("2"))
        .await
        .unwrap()
        .revision;
    assert_ne!(first, second);
    let stale = registry
        .update_configuration(&name("f"), Some(first), |_| {})
        .await;
    assert!(matches!(stale, Err(Error::RevisionMismatch { .. })));
    let tagged = registry
        .update_attributes(&name("f"), None, |function| {
            function.tags.insert("a".to_owned(), "b".to_owned());
        })
        .await
        .unwrap();
    assert_eq!(tagged.revision, second);
}

#[tokio::test]
async fn a_bad_archive_creates_nothing() {
    let place = Place::new();
    let registry = place.open().await;
    let refused = registry
        .create_function(new("f"), Bytes::from_static(b"no zip"))
        .await;
    assert!(matches!(refused, Err(Error::Package(_))));
    assert!(registry.function(&name("f")).is_none());
    let left = std::fs::read_dir(place.cache.path().join("code")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn code_is_unpacked_once_even_when_raced() {
    let place = Place::new();
    let registry = place.open().await;
    let function = registry.create_function(new("f"), zip("1")).await.unwrap();
    drop(registry);
    std::fs::remove_dir_all(place.cache.path().join("code")).unwrap();
    let registry = place.open().await;
    let folders = (0..8).map(|_| registry.code_dir(&function));
    let folders = futures::future::try_join_all(folders).await.unwrap();
    assert!(folders.iter().all(|folder| *folder == folders[0]));
    let code = std::fs::read_dir(place.cache.path().join("code")).unwrap();
    assert_eq!(code.count(), 1);
}

#[tokio::test]
async fn stored_code_that_was_tampered_with_is_not_run() {
    let place = Place::new();
    let registry = place.open().await;
    let function = registry.create_function(new("f"), zip("1")).await.unwrap();
    drop(registry);
    std::fs::remove_dir_all(place.cache.path().join("code")).unwrap();
    let hash = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        &function.code.sha256,
    );
    let path = format!("code/{}.zip", hex::encode(hash.unwrap()));
    let evil = object_store::PutPayload::from(zip("evil"));
    place.store.put(&path.into(), evil).await.unwrap();
    let refused = place.open().await.code_dir(&function).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })));
}

#[tokio::test]
async fn archives_stay_while_a_function_names_them() {
    let place = Place::new();
    let registry = place.open().await;
    let archives = || async {
        let listed = place.store.list_with_delimiter(Some(&"code".into())).await;
        listed.unwrap().objects.len()
    };
    registry.create_function(new("f"), zip("1")).await.unwrap();
    registry.create_function(new("g"), zip("1")).await.unwrap();
    registry
        .update_code(&name("f"), None, zip("2"))
        .await
        .unwrap();
    assert_eq!(archives().await, 2);
    registry.delete_function(&name("g")).await.unwrap();
    assert_eq!(archives().await, 1);
    let function = registry.function(&name("f")).unwrap();
    registry.code_dir(&function).await.unwrap();
}

#[tokio::test]
async fn triggers_outlive_their_function_switched_off_and_buckets_come_back() {
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("1")).await.unwrap();
    let mapping = registry
        .create_trigger(trigger("f", topic()))
        .await
        .unwrap()
        .id;
    let notification = registry
        .create_trigger(trigger("f", bucket("a")))
        .await
        .unwrap()
        .id;
    let mut rested = trigger("f", bucket("b"));
    rested.enabled = false;
    let rested = registry.create_trigger(rested).await.unwrap().id;

    registry.delete_function(&name("f")).await.unwrap();
    for id in [mapping, notification] {
        let trigger = registry.trigger(id).unwrap();
        assert!(!trigger.enabled);
        assert_eq!(trigger.problem, Some(Problem::FunctionNotFound));
    }
    registry.create_function(new("f"), zip("1")).await.unwrap();
    assert!(!registry.trigger(mapping).unwrap().enabled);
    assert!(registry.trigger(notification).unwrap().enabled);
    assert!(!registry.trigger(rested).unwrap().enabled);
}

#[tokio::test]
async fn a_trigger_needs_its_function() {
    let place = Place::new();
    let registry = place.open().await;
    let refused = registry.create_trigger(trigger("f", topic())).await;
    assert!(matches!(refused, Err(Error::UnknownFunction { .. })));
    let unknown = registry.delete_trigger(TriggerId::random()).await;
    assert!(matches!(unknown, Err(Error::UnknownTrigger { .. })));
}

#[tokio::test]
async fn replacing_a_buckets_triggers_keeps_the_unchanged_ones() {
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("1")).await.unwrap();
    let mut created = Vec::new();
    for source in [
        notification("kept", "s3:ObjectCreated:*"),
        notification("gone", "s3:ObjectRemoved:*"),
        topic(),
    ] {
        let trigger = registry.create_trigger(trigger("f", source)).await.unwrap();
        created.push(trigger.id);
    }
    let wanted = [
        notification("kept", "s3:ObjectCreated:*"),
        notification("new", "s3:ObjectRemoved:Delete"),
    ];
    registry
        .replace_bucket_triggers("photos", wanted.map(|source| trigger("f", source)).into())
        .await
        .unwrap();
    let ids: Vec<_> = registry
        .triggers()
        .iter()
        .map(|trigger| trigger.id)
        .collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.contains(&created[0]) && !ids.contains(&created[1]) && ids.contains(&created[2]));
}

#[tokio::test]
async fn a_renamed_notification_keeps_its_trigger_over_a_restart() {
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("1")).await.unwrap();
    let before = registry
        .create_trigger(trigger("f", bucket("old")))
        .await
        .unwrap();
    let wanted = vec![trigger("f", bucket("new"))];
    registry
        .replace_bucket_triggers("photos", wanted)
        .await
        .unwrap();
    for registry in [registry, place.open().await] {
        let triggers = registry.triggers();
        assert_eq!(triggers.len(), 1);
        assert_eq!(triggers[0].id, before.id);
        assert_eq!(triggers[0].source, bucket("new"));
        assert_eq!(triggers[0].starting_position, before.starting_position);
    }
}

#[tokio::test]
async fn every_change_is_announced() {
    let place = Place::new();
    let registry = place.open().await;
    let mut changes = registry.changes();
    registry.create_function(new("f"), zip("1")).await.unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let id = registry
        .create_trigger(trigger("f", topic()))
        .await
        .unwrap()
        .id;
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    registry.delete_trigger(id).await.unwrap();
    assert!(changes.has_changed().unwrap());
}

#[tokio::test]
async fn a_garbled_document_is_fatal_and_named() {
    let place = Place::new();
    let garbage = object_store::PutPayload::from_static(b"{");
    let path = "functions/000000000000/f.json";
    place.store.put(&path.into(), garbage).await.unwrap();
    let refused = place.try_open().await.unwrap_err();
    assert!(refused.to_string().contains(path), "{refused}");
}

/// A second node over the same store, with a cache of its own.
async fn neighbour(place: &Place) -> (Registry, TempDir) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_000));
    let store: Arc<dyn ObjectStore> = place.store.clone();
    let cache = tempfile::tempdir().unwrap();
    let registry = Registry::open(
        store,
        cache.path(),
        Arc::new(clock),
        Writers::Several,
        1 << 20,
    );
    (registry.await.unwrap(), cache)
}

#[tokio::test]
async fn a_reread_takes_in_what_another_node_has_created_changed_and_deleted() {
    let place = Place::new();
    let (one, _cache) = neighbour(&place).await;
    one.create_function(new("changed"), zip("1")).await.unwrap();
    one.create_function(new("gone"), zip("1")).await.unwrap();
    let (other, _other_cache) = neighbour(&place).await;
    let (changes, written) = (other.changes(), other.written());
    assert!(!other.reread().await.unwrap());
    assert!(!changes.has_changed().unwrap());

    one.create_function(new("new"), zip("2")).await.unwrap();
    one.delete_function(&name("gone")).await.unwrap();
    one.update_configuration(&name("changed"), None, |function| function.memory_mib = 999)
        .await
        .unwrap();
    let id = one
        .create_trigger(trigger("new", topic()))
        .await
        .unwrap()
        .id;

    assert!(other.reread().await.unwrap());
    assert!(changes.has_changed().unwrap());
    assert!(!written.has_changed().unwrap(), "it wrote nothing itself");
    assert_eq!(other.functions().len(), 2);
    assert_eq!(other.function(&name("changed")).unwrap().memory_mib, 999);
    assert!(other.trigger(id).is_some());
    let code = other.function(&name("new")).unwrap();
    assert!(
        other
            .code_dir(&code)
            .await
            .unwrap()
            .join("main.py")
            .exists()
    );
    // What it has taken in it can change.
    other.delete_trigger(id).await.unwrap();
    assert!(one.reread().await.unwrap());
    assert!(one.triggers().is_empty());
}

#[tokio::test]
async fn a_change_over_another_nodes_is_refused_and_the_newer_one_taken_in() {
    let place = Place::new();
    let (one, _cache) = neighbour(&place).await;
    one.create_function(new("f"), zip("1")).await.unwrap();
    let (other, _other_cache) = neighbour(&place).await;
    let rename =
        |to: &'static str| move |function: &mut Function| function.description = to.to_owned();
    one.update_configuration(&name("f"), None, rename("one"))
        .await
        .unwrap();
    let refused = other
        .update_configuration(&name("f"), None, rename("other"))
        .await;
    assert!(matches!(refused, Err(Error::Conflict { .. })));
    other
        .update_configuration(&name("f"), None, rename("other"))
        .await
        .unwrap();
    assert!(one.reread().await.unwrap());
    assert_eq!(one.function(&name("f")).unwrap().description, "other");
}

#[tokio::test]
async fn an_archive_stays_where_another_node_may_be_about_to_name_it() {
    let place = Place::new();
    let (one, _cache) = neighbour(&place).await;
    let (other, _other_cache) = neighbour(&place).await;
    one.create_function(new("f"), zip("1")).await.unwrap();
    other.create_function(new("g"), zip("1")).await.unwrap();
    one.delete_function(&name("f")).await.unwrap();
    let function = other.function(&name("g")).unwrap();
    other.archive(&function).await.unwrap();
}
