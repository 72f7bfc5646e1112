mod catalogs;
mod cleaning;
mod crash;
mod damage;
mod disk;
mod full;
mod journals;
mod model;
mod power;
mod recycling;
mod retention;
mod torn;
mod transactions;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clock::{SharedClock, SystemClock, Timestamp};
use event::Record;
use tempfile::TempDir;

use super::mark::MarkFile;
use super::storage::Storage;
use super::{EmbeddedConfig, EmbeddedLog, Retention};
use crate::conformance::{BrokerSubject, Subject};
use crate::{
    Error, Lifetime, Offset, Partition, RecordBatch, Settled, Settlement, SharedBrokerLog,
    SharedLog, TopicConfig, TopicName, TopicPartition,
};
use disk::Disk;

/// A log in a folder that goes with it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Subject for Folder {
    fn open(&self) -> SharedLog {
        open(self.0.path())
    }
}

impl BrokerSubject for Folder {
    fn open_broker(&self) -> SharedBrokerLog {
        open(self.0.path())
    }
}

/// Segments so small that a handful of records fills one.
fn small(dir: &Path) -> EmbeddedConfig {
    EmbeddedConfig {
        segment_bytes: 16 << 10,
        retention: Retention {
            age: None,
            bytes: None,
        },
        ..EmbeddedConfig::new(dir)
    }
}

fn clock() -> SharedClock {
    Arc::new(SystemClock::new())
}

fn open(dir: &Path) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(small(dir), clock()).unwrap()
}

/// A log on a disk in memory. The folder is for its lock alone, and shared by copies.
struct Bench {
    folder: Arc<TempDir>,
    disk: Disk,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            disk: Disk::default(),
        }
    }

    /// Another disk in its place.
    fn with(&self, disk: Disk) -> Self {
        let folder = Arc::clone(&self.folder);
        Self { folder, disk }
    }

    /// The same with a copy of the disk.
    fn copy(&self) -> Self {
        self.with(self.disk.copy())
    }

    fn try_open_with(
        &self,
        config: EmbeddedConfig,
        clock: SharedClock,
    ) -> Result<SharedLog, Error> {
        let log = EmbeddedLog::open_on(Arc::new(self.disk.clone()), config, clock)?;
        Ok(log)
    }

    fn open(&self) -> SharedLog {
        self.try_open_with(small(self.folder.path()), clock())
            .unwrap()
    }

    fn open_broker(&self) -> SharedBrokerLog {
        let config = small(self.folder.path());
        EmbeddedLog::open_on(Arc::new(self.disk.clone()), config, clock()).unwrap()
    }

    /// The segments of the events journal, oldest first.
    fn segments(&self) -> Vec<PathBuf> {
        let mut segments = self.disk.files(".seg");
        segments.retain(|path| path.iter().any(|part| part == "events"));
        segments
    }

    fn last_segment(&self) -> PathBuf {
        self.segments().pop().unwrap()
    }

    /// Where the frames of the last segment of events end.
    fn written(&self) -> usize {
        let marks = self.disk.files("events/synced");
        let file = self.disk.open(&marks[0]).unwrap();
        let (_, mark) = MarkFile::open(file).unwrap();
        usize::try_from(mark.position).unwrap()
    }

    /// As in a log of a time before there were catalogs.
    fn forget_catalogs(&self) {
        for catalog in self.disk.files(".idx") {
            self.disk.delete(&catalog);
        }
    }

    /// As after a power cut that came before the mark had reached the disk.
    fn forget_mark(&self) {
        for mark in self.disk.files("synced") {
            self.disk.tamper(&mark, Vec::clear);
        }
    }
}

async fn partition(log: &SharedLog, topic: &str, lifetime: Lifetime) -> TopicPartition {
    let config = TopicConfig::new(1, lifetime);
    let topic = log
        .ensure_topic(&TopicName::new(topic).unwrap(), config)
        .await
        .unwrap();
    topic.name.partition(Partition::new(0))
}

async fn events(log: &SharedLog, topic: &str) -> TopicPartition {
    partition(log, topic, Lifetime::Events).await
}

fn batch(value: impl Into<String>) -> RecordBatch {
    let record = Record::new(value.into(), Timestamp::from_millis(1_000));
    RecordBatch::of_one(record)
}

async fn append(
    log: &SharedLog,
    to: &TopicPartition,
    value: impl Into<String>,
) -> Result<Settled, Error> {
    log.commit(Settlement::of(to.clone(), batch(value))).await
}

/// The values of a partition by offset; what is damaged reads as the place of the damage.
async fn read(log: &SharedLog, place: &TopicPartition) -> Vec<Result<String, (String, u64)>> {
    let bounds = log.bounds(place).unwrap();
    let mut values = Vec::new();
    for offset in bounds.start.get()..bounds.end.get() {
        match log.read(place, Offset::new(offset), 1).await {
            Ok(chunk) => {
                let record = chunk.batches[0].records().unwrap().remove(0);
                assert_eq!(record.offset, Offset::new(offset));
                let value = record.record.value.unwrap();
                values.push(Ok(String::from_utf8(value.into()).unwrap()));
            }
            Err(Error::Corrupt { file, position, .. }) => values.push(Err((file, position))),
            Err(other) => panic!("{other}"),
        }
    }
    values
}

fn intact(values: &[&str]) -> Vec<Result<String, (String, u64)>> {
    values.iter().map(|value| Ok((*value).to_owned())).collect()
}

mod contract {
    use super::Folder;

    crate::conformance_tests!(Folder::new());
    crate::broker_conformance_tests!(Folder::new());
}

#[test]
fn a_second_server_on_the_same_folder_is_refused_by_name() {
    let folder = Folder::new();
    let log = folder.open();
    let second = EmbeddedLog::open(small(folder.0.path()), clock());
    let text = second.unwrap_err().to_string();
    assert!(text.contains("another server"), "{text}");
    assert!(text.contains(&folder.0.path().display().to_string()));
    drop(log);
    folder.open();
}

#[tokio::test]
async fn a_closed_log_has_written_what_was_queued_and_refuses_more() {
    let folder = Folder::new();
    let embedded = open(folder.0.path());
    let log: SharedLog = embedded.clone();
    let place = events(&log, "t").await;
    let mut writers = tokio::task::JoinSet::new();
    for at in 0..50 {
        let (log, place) = (SharedLog::clone(&log), place.clone());
        writers.spawn(async move { append(&log, &place, at.to_string()).await });
    }
    tokio::task::yield_now().await;
    embedded.close().await;
    let answers = writers.join_all().await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(_) | Err(Error::Closed)))
    );
    assert!(accepted > 0);
    assert!(matches!(
        append(&log, &place, "late").await,
        Err(Error::Closed)
    ));
    assert_eq!(read(&log, &place).await.len(), accepted);
    drop((embedded, log));
    assert_eq!(read(&folder.open(), &place).await.len(), accepted);
}

#[tokio::test]
async fn a_settlement_above_the_limit_is_refused() {
    let folder = Folder::new();
    let log = folder.open();
    let place = events(&log, "t").await;
    let config = small(folder.0.path());
    let refusal = append(&log, &place, "x".repeat(config.max_settlement_bytes)).await;
    assert!(matches!(refusal, Err(Error::TooLarge { limit, .. }) if limit == 16 << 20));
}

#[tokio::test]
async fn a_settlement_larger_than_a_segment_gets_a_segment_of_its_size() {
    let folder = Folder::new();
    let log = folder.open();
    let place = events(&log, "t").await;
    let large = "x".repeat(1 << 20);
    append(&log, &place, "before").await.unwrap();
    append(&log, &place, large.clone()).await.unwrap();
    append(&log, &place, "after").await.unwrap();
    drop(log);
    let log = folder.open();
    assert_eq!(
        read(&log, &place).await,
        intact(&["before", &large, "after"])
    );
}

#[tokio::test]
async fn a_read_crosses_segments_and_passes_over_other_partitions() {
    let folder = Folder::new();
    let log = folder.open();
    let (a, b) = (events(&log, "a").await, events(&log, "b").await);
    let mut expected = Vec::new();
    for number in 0..60 {
        expected.push(format!("{number}:{}", "a".repeat(number * 31 % 700)));
        append(&log, &a, expected[number].clone()).await.unwrap();
        let between = "b".repeat(number * 977 % 9_000);
        append(&log, &b, between).await.unwrap();
    }
    let everything = log.read(&a, Offset::ZERO, usize::MAX).await.unwrap();
    let values = everything.batches.iter().map(|batch| {
        let record = batch.records().unwrap().remove(0).record;
        String::from_utf8(record.value.unwrap().into()).unwrap()
    });
    assert_eq!(values.collect::<Vec<_>>(), expected);
}
