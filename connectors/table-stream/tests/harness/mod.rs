//! What tests of all databases share: a source on its way into a log, what is there, random numbers, and
//! the comparison of events with a ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use connector::{Runner, Settings, Source};
use event::Record;
use event_log::{MemoryLog, Offset, SharedLog, TopicName};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Counted by whoever runs the tests: a line in the file that the environment names.
pub(crate) fn skip(test: &str, what: &str, variable: &str) {
    if let Some(file) = std::env::var_os("TIDEMILL_SKIPS") {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file);
        let line = format!("skipped: {test}: there is no {what} ({variable})\n");
        file.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// A log, and the task that runs a source into it, if one runs.
pub(crate) struct Harness {
    pub(crate) log: SharedLog,
    pub(crate) max_bytes: usize,
    connection: String,
    task: Option<JoinHandle<Result<(), connector::Error>>>,
}

impl Harness {
    pub(crate) fn new(connection: &str) -> Self {
        Self {
            log: MemoryLog::new(),
            // Several batches even for few rows.
            max_bytes: 4 << 10,
            connection: connection.to_owned(),
            task: None,
        }
    }

    pub(crate) fn run(&mut self, source: impl Source) {
        let settings = Settings {
            max_bytes: self.max_bytes,
            ..Settings::default()
        };
        let clock = Arc::new(SystemClock::new());
        let runner = Runner::new(Box::new(source), Arc::clone(&self.log), clock, settings);
        self.task = Some(tokio::spawn(runner.run(CancellationToken::new())));
    }

    /// Ends it wherever it is.
    pub(crate) async fn crash(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let ended = task.await;
            assert!(ended.is_err(), "it had ended by itself: {ended:?}");
        }
    }

    /// Waits until it gives up, and says why, causes and all.
    pub(crate) async fn given_up(&mut self) -> String {
        let task = self.task.take().unwrap();
        let ended = tokio::time::timeout(PATIENCE, task).await.unwrap();
        let error = ended.unwrap().unwrap_err();
        let causes =
            std::iter::successors(Some(&error as &dyn std::error::Error), |it| it.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        texts.join(": ")
    }

    pub(crate) fn topic(&self, table: &str) -> TopicName {
        TopicName::new(format!("table.{}.{table}", self.connection)).unwrap()
    }

    async fn until_there(&self, table: &str) {
        let mut topics = self.log.topics_changed();
        while self.log.topic(&self.topic(table)).is_none() {
            topics.changed().await.unwrap();
        }
    }

    /// All records of a partition.
    pub(crate) async fn records(&self, table: &str, partition: u32) -> Vec<Record> {
        let partition = self
            .topic(table)
            .partition(event_log::Partition::new(partition));
        let mut records = Vec::new();
        let mut from = Offset::ZERO;
        let end = self.log.bounds(&partition).unwrap().end;
        while from < end {
            let chunk = self.log.read(&partition, from, usize::MAX).await.unwrap();
            let stored = chunk
                .batches
                .iter()
                .flat_map(|batch| batch.records().unwrap());
            records.extend(stored.map(|stored| stored.record));
            from = chunk.next;
        }
        records
    }

    /// All events of a table, in the plain shape.
    pub(crate) async fn events(&self, table: &str) -> Vec<Value> {
        let records = self.records(table, 0).await;
        let parse = |record: Record| serde_json::from_slice(&record.value.unwrap()).unwrap();
        records.into_iter().map(parse).collect()
    }

    /// All events of a table whose topic may not be there yet.
    pub(crate) async fn events_if_any(&self, table: &str) -> Vec<Value> {
        match self.log.topic(&self.topic(table)) {
            Some(_) => self.events(table).await,
            None => Vec::new(),
        }
    }

    /// Waits for an event of a table that `found` likes, and returns all there are.
    pub(crate) async fn until(&self, table: &str, found: impl Fn(&Value) -> bool) -> Vec<Value> {
        let seen = async {
            self.until_there(table).await;
            let first = self.topic(table).partition(event_log::Partition::new(0));
            let mut tail = self.log.tail(&first).unwrap();
            loop {
                tail.borrow_and_update();
                let events = self.events(table).await;
                if events.iter().any(&found) {
                    return events;
                }
                tail.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(events) => events,
            Err(_) => panic!(
                "not within {PATIENCE:?}: {:?}",
                self.events_if_any(table).await
            ),
        }
    }

    /// Waits until a table's partitions have `count` records together.
    pub(crate) async fn until_count(&self, table: &str, count: usize) {
        let counted = async {
            loop {
                let mut found = 0;
                let topic = self.log.topic(&self.topic(table));
                for partition in topic.iter().flat_map(|topic| topic.partitions()) {
                    found += self.records(table, partition.partition.index()).await.len();
                }
                if found >= count {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let counted = tokio::time::timeout(PATIENCE, counted).await;
        counted.unwrap_or_else(|_| panic!("never {count} records of {table}"));
    }
}

/// `op` and `key.id` of each event.
pub(crate) fn steps(events: &[Value]) -> Vec<(String, i64)> {
    events
        .iter()
        .map(|event| {
            let op = event["op"].as_str().unwrap().to_owned();
            (op, event["key"]["id"].as_i64().unwrap_or(-1))
        })
        .collect()
}

/// Small numbers without a pattern, the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// What a ledger or a snapshot says of a row: what happened to it, and its note then.
pub(crate) type Entry = (String, Option<i64>);

/// Holds the events of a table against its ledger, `(id, entry)` in the order of commits: of every row,
/// they are the ledger's last entries, all of them from the one on that the snapshot has shown, in order, and
/// none twice. `left` are the ids of the rows that are there.
pub(crate) fn assert_equal_to_ledger(
    events: &[Value],
    ledger: impl IntoIterator<Item = (i64, Entry)>,
    left: impl IntoIterator<Item = i64>,
) {
    let mut entries: BTreeMap<i64, Vec<Entry>> = BTreeMap::new();
    for (id, entry) in ledger {
        entries.entry(id).or_default().push(entry);
    }
    let mut found: BTreeMap<i64, Vec<Entry>> = BTreeMap::new();
    for event in events {
        let op = event["op"].as_str().unwrap().to_owned();
        let note = event["after"]["note"].as_i64();
        let id = event["key"]["id"].as_i64().unwrap();
        found.entry(id).or_default().push((op, note));
    }
    for (id, events) in &found {
        let entries = &entries[id];
        let from = entries.len().checked_sub(events.len());
        let from = from.unwrap_or_else(|| panic!("row {id} has too many: {events:?}\n{entries:?}"));
        for (event, entry) in events.iter().zip(&entries[from..]) {
            let same = match event.0.as_str() {
                // A snapshot shows the row as one of the changes before has left it.
                "read" => entry.0 != "remove" && event.1 == entry.1,
                "remove" => entry.0 == "remove",
                op => op == entry.0 && event.1 == entry.1,
            };
            assert!(same, "row {id}: {events:?}\n{entries:?}");
        }
        let reads = events.iter().skip(1).filter(|(op, _)| op == "read").count();
        assert_eq!(reads, 0, "row {id} was read in mid-stream: {events:?}");
    }
    // What is in the table and was never told of has no event at all.
    for id in left {
        assert!(found.contains_key(&id), "row {id} has no event");
    }
    let sequences: Vec<&str> = events
        .iter()
        .map(|event| event["sequence"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&&str> = sequences.iter().collect();
    assert_eq!(distinct.len(), sequences.len(), "a change has come twice");
}

/// How often tests that crash something do it; `TIDEMILL_CRASH_ROUNDS` asks for more.
pub(crate) fn crash_rounds() -> u64 {
    let asked = std::env::var("TIDEMILL_CRASH_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(6)
}
