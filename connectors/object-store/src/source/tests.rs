use bytes::Bytes;
use clock::ManualClock;
use connector::{Runner, Settings};
use event::{Event, Place, Record};
use event_log::{MemoryLog, Offset, Partition, SharedLog};
use futures::channel::mpsc;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;

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

    fn source(&self, wake_ups: BoxStream<'static, ()>, prefix: Option<Path>) -> ObjectStoreSource {
        let store = LocalFileSystem::new_with_prefix(self.folder.path()).unwrap();
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_795_000_000_000));
        let config = Config {
            bucket: "inbox".to_owned(),
            prefix,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            partitions: 1,
        };
        ObjectStoreSource::new(Arc::new(store), wake_ups, Arc::new(clock), config).unwrap()
    }

    fn watch(&self, max_bytes: usize) -> Watch {
        let (wake_up, wake_ups) = mpsc::unbounded();
        let source = self.source(wake_ups.boxed(), None);
        let clock = Arc::new(ManualClock::starting_at(Timestamp::default()));
        let settings = Settings { max_bytes };
        let runner = Runner::new(Box::new(source), Arc::clone(&self.log), clock, settings);
        Watch {
            wake_up,
            run: tokio::spawn(runner.run(CancellationToken::new())),
        }
    }

    /// The topic's records once there are `count`.
    async fn records(&self, count: u64) -> Vec<Record> {
        let name = TopicName::new("bucket.inbox").unwrap();
        let mut topics = self.log.topics_changed();
        while self.log.topic(&name).is_none() {
            topics.changed().await.unwrap();
        }
        let partition = name.partition(Partition::new(0));
        let mut tail = self.log.tail(&partition).unwrap();
        tail.wait_for(|end| end.get() >= count).await.unwrap();
        let chunk = self
            .log
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

    async fn events(&self, count: u64) -> Vec<(String, String)> {
        let events = self.records(count).await.into_iter().map(|record| {
            let event = read(record);
            (
                event.kind.rsplit_once("s3.").unwrap().1.to_owned(),
                event.subject.unwrap(),
            )
        });
        events.collect()
    }
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
    let mut source = watched.source(wake_ups, Some(Path::from("in")));
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
