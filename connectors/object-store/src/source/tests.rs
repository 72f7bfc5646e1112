use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use clock::{ManualClock, Timestamp};
use connector::{Runner, Settings};
use event::{Event, Place, Record};
use event_log::{MemoryLog, Offset, Partition, SharedLog};
use futures::channel::mpsc;
use futures::future;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore as _, ObjectStoreExt as _};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

/// Decides nothing but how long a failure takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder's files as a store's objects.
#[derive(Debug)]
struct Files(LocalFileSystem);

impl Files {
    fn shown(object: ObjectMeta) -> Listed {
        Listed {
            key: object.location.into(),
            etag: object.e_tag,
            size: object.size,
            modified: Timestamp::from_millis(object.last_modified.timestamp_millis()),
        }
    }
}

#[async_trait]
impl Listing for Files {
    fn all(&self, prefix: Option<&str>) -> BoxStream<'static, object_store::Result<Listed>> {
        let prefix = prefix.unwrap_or_default().to_owned();
        let objects = self.0.list(None).map_ok(Self::shown);
        objects
            .try_filter(move |object| future::ready(object.key.starts_with(&prefix)))
            .boxed()
    }

    async fn one(&self, key: &str) -> object_store::Result<Option<Listed>> {
        match self.0.head(&Path::from(key)).await {
            Ok(object) => Ok(Some(Self::shown(object))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

struct Watched {
    folder: TempDir,
    log: SharedLog,
}

/// A running source; dropping it is a crash.
struct Watch {
    wake_up: mpsc::UnboundedSender<()>,
    run: JoinHandle<Result<(), connector::Error>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl Watched {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            log: MemoryLog::new(),
        }
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    fn source(
        &self,
        wake_ups: BoxStream<'static, ()>,
        prefix: Option<String>,
    ) -> ObjectStoreSource {
        let store = LocalFileSystem::new_with_prefix(self.folder.path()).unwrap();
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_795_000_000_000));
        let listing = Arc::new(Files(store));
        ObjectStoreSource::new(listing, wake_ups, Arc::new(clock), inbox(prefix)).unwrap()
    }

    fn watch(&self, max_bytes: usize) -> Watch {
        let (wake_up, wake_ups) = mpsc::unbounded();
        let source = self.source(wake_ups.boxed(), None);
        let clock = Arc::new(ManualClock::starting_at(Timestamp::default()));
        let settings = Settings {
            max_bytes,
            ..Settings::default()
        };
        let runner = Runner::new(Box::new(source), Arc::clone(&self.log), clock, settings);
        Watch {
            wake_up,
            run: tokio::spawn(runner.run(CancellationToken::new())),
        }
    }

    async fn records(&self, count: u64) -> Vec<Record> {
        records_in(&self.log, count).await
    }

    async fn events(&self, count: u64) -> Vec<(String, String)> {
        events_in(&self.log, count).await
    }
}

fn inbox(prefix: Option<String>) -> Config {
    Config {
        bucket: "inbox".to_owned(),
        prefix,
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        partitions: 1,
    }
}

/// The topic's records once there are `count`.
async fn records_in(log: &SharedLog, count: u64) -> Vec<Record> {
    let name = TopicName::new("bucket.inbox").unwrap();
    let mut topics = log.topics_changed();
    while log.topic(&name).is_none() {
        topics.changed().await.unwrap();
    }
    let partition = name.partition(Partition::new(0));
    let mut tail = log.tail(&partition).unwrap();
    let told = tail.wait_for(|end| end.get() >= count);
    let told = tokio::time::timeout(PATIENCE, told).await;
    told.expect("so many events").unwrap();
    let chunk = log
        .read(&partition, Offset::ZERO, usize::MAX)
        .await
        .unwrap();
    chunk
        .batches
        .iter()
        .flat_map(|batch| batch.records().unwrap())
        .map(|stored| stored.record)
        .collect()
}

async fn events_in(log: &SharedLog, count: u64) -> Vec<(String, String)> {
    let events = records_in(log, count).await.into_iter().map(|record| {
        let event = read(record);
        (
            event.kind.rsplit_once("s3.").unwrap().1.to_owned(),
            event.subject.unwrap(),
        )
    });
    events.collect()
}

fn read(record: Record) -> Event {
    let place = Place {
        topic: "bucket.inbox",
        partition: 0,
        offset: 0,
    };
    Event::from_record(record, place).unwrap()
}

fn created(key: &str) -> (String, String) {
    ("ObjectCreated.Put".to_owned(), key.to_owned())
}

fn removed(key: &str) -> (String, String) {
    ("ObjectRemoved.Delete".to_owned(), key.to_owned())
}

#[tokio::test]
async fn a_file_that_appears_is_one_event_in_the_s3_shape() {
    let watched = Watched::new();
    watched.write("in box/é.csv", "abc");
    let _watch = watched.watch(1 << 20);
    let event = read(watched.records(1).await.remove(0));
    assert_eq!(event.source.as_str(), "arn:aws:s3:::inbox");
    assert_eq!(event.id.as_str(), "1/in box/é.csv");
    let mut value: serde_json::Value = serde_json::from_slice(&event.data.unwrap()).unwrap();
    // What the file system decides.
    let etag = value["s3"]["object"]["eTag"].take();
    let time = value["eventTime"].take();
    assert!(etag.as_str().is_some_and(|etag| !etag.is_empty()), "{etag}");
    assert!(
        Timestamp::parse_rfc3339(time.as_str().unwrap()).is_some(),
        "{time}"
    );
    assert_eq!(
        value,
        serde_json::json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": null,
            "eventName": "ObjectCreated:Put",
            "userIdentity": {"principalId": ""},
            "requestParameters": {"sourceIPAddress": ""},
            "responseElements": {"x-amz-request-id": "", "x-amz-id-2": ""},
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "",
                "bucket": {
                    "name": "inbox",
                    "ownerIdentity": {"principalId": "000000000000"},
                    "arn": "arn:aws:s3:::inbox",
                },
                "object": {
                    "key": "in+box/%C3%A9.csv",
                    "size": 3,
                    "eTag": null,
                    "sequencer": "0000000000000001",
                },
            },
        })
    );
}

#[tokio::test]
async fn a_wake_up_finds_what_has_changed_and_nothing_else() {
    let watched = Watched::new();
    watched.write("a", "1");
    watched.write("b", "1");
    let watch = watched.watch(1 << 20);
    watched.records(2).await;
    watched.write("b", "other");
    watched.write("c", "1");
    watched.remove("a");
    watch.wake_up.unbounded_send(()).unwrap();
    let mut events = watched.events(5).await.split_off(2);
    assert_eq!(events.pop().unwrap(), removed("a"));
    events.sort();
    assert_eq!(events, [created("b"), created("c")]);
}

#[tokio::test]
async fn changes_while_nobody_watched_are_found_on_return() {
    let watched = Watched::new();
    watched.write("kept", "1");
    watched.write("gone", "1");
    let watch = watched.watch(1 << 20);
    watched.records(2).await;
    drop(watch);
    watched.remove("gone");
    watched.write("new", "1");
    let _watch = watched.watch(1 << 20);
    let events = watched.events(4).await.split_off(2);
    assert_eq!(events, [created("new"), removed("gone")]);
}

#[tokio::test]
async fn more_than_a_batch_holds_arrives_in_several_across_crashes_none_twice() {
    let watched = Watched::new();
    for n in 0..20 {
        watched.write(&format!("file-{n:02}"), "1");
    }
    for count in [1, 7, 20] {
        let _watch = watched.watch(1);
        watched.records(count).await;
    }
    let mut keys: Vec<_> = watched
        .events(20)
        .await
        .into_iter()
        .map(|(_, key)| key)
        .collect();
    keys.sort();
    let expected: Vec<_> = (0..20).map(|n| format!("file-{n:02}")).collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn only_objects_below_the_prefix_are_seen() {
    let watched = Watched::new();
    watched.write("in/a", "1");
    watched.write("out/b", "1");
    let wake_ups = futures::stream::pending().boxed();
    let mut source = watched.source(wake_ups, Some("in/".to_owned()));
    source.open(None).await.unwrap();
    let batch = source.next(1 << 20).await.unwrap();
    let keys: Vec<Bytes> = batch
        .deliveries
        .into_iter()
        .map(|delivery| delivery.record.key.unwrap())
        .collect();
    assert_eq!(keys, ["in/a"]);
}

#[tokio::test]
async fn a_position_of_something_else_is_rejected() {
    let watched = Watched::new();
    let mut source = watched.source(futures::stream::pending().boxed(), None);
    let garbage = SourcePosition::new("no manifest");
    let refused = source.open(Some(&garbage)).await.unwrap_err();
    assert!(
        matches!(refused, SourceError::Rejected { .. }),
        "{refused:?}"
    );
}

/// A store whose listing comes in pages that a test lets go.
#[derive(Debug, Default)]
struct Paged {
    objects: Mutex<BTreeMap<String, u64>>,
    pages: Mutex<Vec<mpsc::UnboundedSender<Vec<Listed>>>>,
}

impl Paged {
    fn put(&self, key: &str, size: u64) {
        self.objects.lock().insert(key.to_owned(), size);
    }

    fn remove(&self, key: &str) {
        self.objects.lock().remove(key);
    }

    fn shown(&self, key: &str) -> Option<Listed> {
        let size = *self.objects.lock().get(key)?;
        Some(Listed {
            key: key.to_owned(),
            modified: Timestamp::default(),
            size,
            etag: None,
        })
    }

    /// The listings that were begun, each to be given its pages.
    async fn listing(&self, number: usize) -> mpsc::UnboundedSender<Vec<Listed>> {
        let begun = async {
            loop {
                if let Some(listing) = self.pages.lock().get(number) {
                    return listing.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        let begun = tokio::time::timeout(PATIENCE, begun).await;
        begun.expect("the listing is begun")
    }
}

#[async_trait]
impl Listing for Paged {
    fn all(&self, _prefix: Option<&str>) -> BoxStream<'static, object_store::Result<Listed>> {
        let (sender, pages) = mpsc::unbounded();
        self.pages.lock().push(sender);
        pages
            .flat_map(|page| stream::iter(page.into_iter().map(Ok)))
            .boxed()
    }

    async fn one(&self, key: &str) -> object_store::Result<Option<Listed>> {
        Ok(self.shown(key))
    }
}

/// A source over a store in memory.
struct Hinted {
    store: Arc<Paged>,
    log: SharedLog,
    hints: mpsc::UnboundedSender<Hint>,
    wake_ups: mpsc::UnboundedSender<()>,
    /// Listings that were begun before it.
    before: usize,
    run: JoinHandle<Result<(), connector::Error>>,
}

impl Drop for Hinted {
    fn drop(&mut self) {
        self.run.abort();
    }
}

impl Hinted {
    fn start(store: &Arc<Paged>, log: &SharedLog) -> Self {
        let (wake_ups, woken) = mpsc::unbounded();
        let (hints, hinted) = mpsc::unbounded();
        let clock = Arc::new(ManualClock::starting_at(Timestamp::default()));
        let listing: Arc<dyn Listing> = store.clone();
        let source =
            ObjectStoreSource::new(listing, woken.boxed(), clock.clone(), inbox(None)).unwrap();
        let source = Box::new(source.hinted_by(hinted.boxed()));
        let runner = Runner::new(source, Arc::clone(log), clock, Settings::default());
        Self {
            store: Arc::clone(store),
            log: Arc::clone(log),
            hints,
            wake_ups,
            before: store.pages.lock().len(),
            run: tokio::spawn(runner.run(CancellationToken::new())),
        }
    }

    fn hint(&self, key: &str) {
        let hint = Hint::Object(key.to_owned());
        self.hints.unbounded_send(hint).unwrap();
    }

    async fn events(&self, count: u64) -> Vec<(String, String)> {
        events_in(&self.log, count).await
    }

    /// Gives a listing everything that there is, as its only page.
    async fn page(&self, listing: usize) {
        let listing = self.before + listing;
        let pages = self.store.listing(listing).await;
        let objects = self.store.objects.lock().clone();
        let page = objects.keys().map(|key| self.store.shown(key).unwrap());
        pages.unbounded_send(page.collect()).unwrap();
        pages.close_channel();
        self.store.pages.lock()[listing].close_channel();
    }
}

#[tokio::test]
async fn a_hint_has_one_object_looked_at_and_nothing_is_listed() {
    let (store, log) = (Arc::new(Paged::default()), MemoryLog::new() as SharedLog);
    let source = Hinted::start(&store, &log);
    source.page(0).await;
    store.put("a", 1);
    store.put("unhinted", 1);
    // Twice, and about what is not there.
    for key in ["a", "a", "never"] {
        source.hint(key);
    }
    assert_eq!(source.events(1).await, [created("a")]);
    store.remove("a");
    source.hint("a");
    assert_eq!(source.events(2).await[1], removed("a"));
    assert_eq!(store.pages.lock().len(), 1);
    source.wake_ups.unbounded_send(()).unwrap();
    source.page(1).await;
    assert_eq!(source.events(3).await[2], created("unhinted"));
}

#[tokio::test]
async fn what_a_page_says_is_not_believed_of_what_was_looked_at_since() {
    let (store, log) = (Arc::new(Paged::default()), MemoryLog::new() as SharedLog);
    for key in ["changed", "gone", "kept"] {
        store.put(key, 1);
    }
    let source = Hinted::start(&store, &log);
    source.page(0).await;
    source.events(3).await;
    // The page is of now, and comes after the hints about what happens next.
    source.wake_ups.unbounded_send(()).unwrap();
    let pages = store.listing(1).await;
    let page = ["changed", "gone", "kept"].map(|key| store.shown(key).unwrap());
    store.put("changed", 2);
    store.put("new", 2);
    store.remove("gone");
    for key in ["changed", "new", "gone"] {
        source.hint(key);
    }
    let mut events = source.events(6).await.split_off(3);
    events.sort();
    assert_eq!(
        events,
        [created("changed"), created("new"), removed("gone")]
    );
    pages.unbounded_send(page.to_vec()).unwrap();
    store.pages.lock()[1].close_channel();
    // A last one shows that there was nothing between.
    store.put("last", 1);
    source.wake_ups.unbounded_send(()).unwrap();
    source.page(2).await;
    assert_eq!(source.events(7).await[6], created("last"));
}

#[tokio::test]
async fn a_hint_at_anything_brings_another_pass_also_in_the_midst_of_one() {
    let (store, log) = (Arc::new(Paged::default()), MemoryLog::new() as SharedLog);
    let source = Hinted::start(&store, &log);
    store.listing(0).await;
    source.hints.unbounded_send(Hint::Anything).unwrap();
    // Heard while the first pass is under way, which has gone by what comes now.
    source.hint("");
    while !source.hints.is_empty() {
        tokio::task::yield_now().await;
    }
    store.pages.lock()[0].close_channel();
    store.put("a", 1);
    source.page(1).await;
    assert_eq!(source.events(1).await, [created("a")]);
}

#[tokio::test]
async fn a_position_that_holds_its_objects_is_taken_over_without_an_event() {
    let (store, log) = (Arc::new(Paged::default()), MemoryLog::new() as SharedLog);
    store.put("new", 1);
    store.put("kept", 1);
    let position = "41\n{\"kept\":{\"etag\":null,\"size\":1,\"modified\":0},\
                    \"gone\":{\"etag\":null,\"size\":1,\"modified\":0}}";
    let id = SourceId::new("/object-store/inbox");
    let old = event_log::Settlement {
        positions: vec![event_log::PositionUpdate {
            source: id.clone(),
            position: SourcePosition::new(position),
        }],
        ..event_log::Settlement::default()
    };
    log.commit(old).await.unwrap();
    let source = Hinted::start(&store, &log);
    source.page(0).await;
    let expected = [created("new"), removed("gone")];
    assert_eq!(source.events(2).await, expected);
    assert_eq!(log.position(&id), Some(SourcePosition::new("43 2")));
    drop(source);
    store.remove("kept");
    let source = Hinted::start(&store, &log);
    source.page(0).await;
    assert_eq!(source.events(3).await[2], removed("kept"));
}

#[tokio::test]
async fn a_manifest_that_something_else_has_changed_is_refused() {
    let (store, log) = (Arc::new(Paged::default()), MemoryLog::new() as SharedLog);
    store.put("a", 1);
    let source = Hinted::start(&store, &log);
    source.page(0).await;
    source.events(1).await;
    drop(source);
    let memory = Memory::of(&log, &SourceId::new("/object-store/inbox")).unwrap();
    memory.erase().await.unwrap();
    let mut source = Hinted::start(&store, &log);
    let ended = (&mut source.run).await.unwrap().unwrap_err();
    let cause = std::error::Error::source(&ended).unwrap();
    let cause = cause.source().unwrap().to_string();
    assert!(
        cause.contains("tidemill.known.object-store.inbox holds 0 objects where 1 were told"),
        "{cause}"
    );
}

#[tokio::test]
async fn more_objects_than_a_position_could_hold_are_told_once_across_a_crash() {
    // Above a megabyte of names, and more than are put in order at once.
    const OBJECTS: u64 = 5_000;
    let (store, log) = (Arc::new(Paged::default()), MemoryLog::new() as SharedLog);
    for number in 0..OBJECTS {
        store.put(&format!("some/folder/{number:0220}.csv"), number);
    }
    let source = Hinted::start(&store, &log);
    source.page(0).await;
    source.events(1).await;
    drop(source);
    let gone = format!("some/folder/{:0220}.csv", 7);
    store.remove(&gone);
    let source = Hinted::start(&store, &log);
    source.page(0).await;
    // Of the next pass, whose end shows that there was nothing else.
    store.put("last", 1);
    source.wake_ups.unbounded_send(()).unwrap();
    source.page(1).await;
    let mut wanted = OBJECTS;
    let events = loop {
        let events = source.events(wanted).await;
        if events.last() == Some(&created("last")) {
            break events;
        }
        wanted = events.len() as u64 + 1;
    };
    let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (act, key) in &events {
        told.entry(key).or_default().push(act);
    }
    // The removed one was told before the crash, or never.
    let odd = told.remove(gone.as_str()).unwrap_or_default();
    assert!(
        odd.is_empty() || odd == ["ObjectCreated.Put", "ObjectRemoved.Delete"],
        "{odd:?}"
    );
    assert_eq!(told.len() as u64, OBJECTS);
    assert!(told.values().all(|acts| acts == &["ObjectCreated.Put"]));
}
