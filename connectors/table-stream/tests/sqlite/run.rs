//! A source on its way into a log, and what is there.

use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use connector::{Runner, Settings};
use connector_table_stream::{Naming, Shape, SqliteConfig, SqliteSource};
use event_log::{MemoryLog, Offset, Partition, SharedLog, TopicName};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::file::File;

const PATIENCE: Duration = Duration::from_secs(60);

/// A source, its log, and the task that runs it, if it runs.
pub(crate) struct Run {
    pub(crate) log: SharedLog,
    pub(crate) config: SqliteConfig,
    pub(crate) max_bytes: usize,
    task: Option<JoinHandle<Result<(), connector::Error>>>,
}

impl Run {
    pub(crate) fn of(file: &File, tables: &[&str]) -> Self {
        Self {
            log: MemoryLog::new(),
            config: SqliteConfig {
                naming: Naming {
                    connection: "shop".to_owned(),
                    home: None,
                    region: "us-east-1".to_owned(),
                    account: "000000000000".to_owned(),
                    shape: Shape::Plain,
                    partitions: 1,
                },
                file: file.path(),
                tables: tables.iter().map(ToString::to_string).collect(),
            },
            // Several batches even for few rows.
            max_bytes: 4 << 10,
            task: None,
        }
    }

    pub(crate) fn start(&mut self) {
        let clock = Arc::new(SystemClock::new());
        let source = SqliteSource::new(self.config.clone(), clock.clone()).unwrap();
        let settings = Settings {
            max_bytes: self.max_bytes,
            ..Settings::default()
        };
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

    /// Waits until it gives up, and says why.
    pub(crate) async fn given_up(&mut self) -> String {
        let task = self.task.take().unwrap();
        let ended = tokio::time::timeout(PATIENCE, task).await.unwrap();
        let error = ended.unwrap().unwrap_err();
        let causes =
            std::iter::successors(Some(&error as &dyn std::error::Error), |it| it.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        texts.join(": ")
    }

    /// All events of a table so far, in the plain shape; none when it has no topic.
    pub(crate) async fn events(&self, table: &str) -> Vec<Value> {
        let topic = TopicName::new(format!("table.shop.{table}")).unwrap();
        let partition = topic.partition(Partition::new(0));
        let mut events = Vec::new();
        if self.log.topic(&topic).is_none() {
            return events;
        }
        let mut from = Offset::ZERO;
        let end = self.log.bounds(&partition).unwrap().end;
        while from < end {
            let chunk = self.log.read(&partition, from, usize::MAX).await.unwrap();
            for batch in &chunk.batches {
                for stored in batch.records().unwrap() {
                    let value = stored.record.value.unwrap();
                    events.push(serde_json::from_slice(&value).unwrap());
                }
            }
            from = chunk.next;
        }
        events
    }

    /// Waits until the events of a table are what `enough` likes, and returns them.
    pub(crate) async fn until(&self, table: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let topic = TopicName::new(format!("table.shop.{table}")).unwrap();
        let seen = async {
            let mut topics = self.log.topics_changed();
            while self.log.topic(&topic).is_none() {
                topics.changed().await.unwrap();
            }
            let mut tail = self.log.tail(&topic.partition(Partition::new(0))).unwrap();
            loop {
                tail.borrow_and_update();
                let events = self.events(table).await;
                if enough(&events) {
                    return events;
                }
                tail.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, seen).await {
            Ok(events) => events,
            Err(_) => panic!("not within {PATIENCE:?}: {:?}", self.events(table).await),
        }
    }

    /// Waits for so many events of a table.
    pub(crate) async fn count(&self, table: &str, count: usize) -> Vec<Value> {
        self.until(table, |events| events.len() >= count).await
    }

    /// Writes a last row with `id` and returns the events before its own.
    pub(crate) async fn fence(&self, file: &File, table: &str, id: i64) -> Vec<Value> {
        file.run(&format!("INSERT INTO {table} (id) VALUES ({id})"));
        let mut events = self
            .until(table, |events| {
                events.iter().any(|event| event["key"]["id"] == id)
            })
            .await;
        events.retain(|event| event["key"]["id"] != id);
        events
    }
}

/// What happened to which row, and what it was and is.
pub(crate) fn steps(events: &[Value]) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        value => value.to_string().replace('"', ""),
    };
    let step = |event: &Value| {
        let [op, key, before, after] =
            ["op", "key", "before", "after"].map(|name| text(&event[name]));
        format!("{op} {key} {before} {after}")
    };
    events.iter().map(step).collect()
}

/// What happened, by the key's `id`.
pub(crate) fn ops(events: &[Value]) -> Vec<String> {
    let op = |event: &Value| {
        let op = event["op"].as_str().unwrap();
        match event["key"]["id"].as_i64() {
            Some(id) => format!("{op} {id}"),
            None => op.to_owned(),
        }
    };
    events.iter().map(op).collect()
}
