//! A source on its way into a log, and what is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use connector::{Runner, Settings, Source as _};
use connector_table_stream::{Naming, PostgresConfig, PostgresSource, Shape};
use event::Record;
use event_log::{Lifetime, MemoryLog, Offset, SharedLog, TopicConfig, TopicName};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::database::Database;

const PATIENCE: Duration = Duration::from_secs(120);

/// A source, its log, and the task that runs it, if it runs.
pub(crate) struct Run {
    pub(crate) log: SharedLog,
    pub(crate) config: PostgresConfig,
    pub(crate) max_bytes: usize,
    task: Option<JoinHandle<Result<(), connector::Error>>>,
}

impl Run {
    pub(crate) fn of(database: &Database, tables: &[&str]) -> Self {
        Self {
            log: MemoryLog::new(),
            config: PostgresConfig {
                naming: Naming {
                    connection: database.name().to_owned(),
                    region: "us-east-1".to_owned(),
                    account: "000000000000".to_owned(),
                    shape: Shape::Plain,
                    partitions: 1,
                },
                url: database.url(),
                password: None,
                tables: tables.iter().map(ToString::to_string).collect(),
                publication: None,
                slot: None,
                ca_certificates: None,
                retained_wal_budget: 1 << 30,
                spool_folder: PathBuf::from("/tmp"),
            },
            // Several batches even for few rows.
            max_bytes: 4 << 10,
            task: None,
        }
    }

    pub(crate) fn start(&mut self) {
        let clock = Arc::new(SystemClock::new());
        let source = PostgresSource::new(self.config.clone(), clock.clone()).unwrap();
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

    /// Waits until it gives up.
    pub(crate) async fn given_up(&mut self) -> connector::Error {
        let task = self.task.take().unwrap();
        let ended = tokio::time::timeout(PATIENCE, task).await.unwrap();
        ended.unwrap().unwrap_err()
    }

    pub(crate) fn topic(&self, table: &str) -> TopicName {
        TopicName::new(format!("table.{}.{table}", self.config.naming.connection)).unwrap()
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

    /// Waits for an event of a table that `found` likes, and returns all there are.
    pub(crate) async fn until(&self, table: &str, found: impl Fn(&Value) -> bool) -> Vec<Value> {
        let config = TopicConfig::new(self.config.naming.partitions, Lifetime::Events);
        let topic = self.log.ensure_topic(&self.topic(table), config).await;
        let partition = topic.unwrap().partitions().next().unwrap();
        let mut tail = self.log.tail(&partition).unwrap();
        let seen = async {
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
            Err(_) => panic!("not within {PATIENCE:?}: {:?}", self.events(table).await),
        }
    }

    /// Writes a last row with `id` and waits for its event.
    pub(crate) async fn fence(&self, database: &Database, table: &str, id: i64) -> Vec<Value> {
        // A fence that a snapshot shows would stand before the stream.
        self.until_streaming(database).await;
        let insert = format!("INSERT INTO {table} (id) VALUES ({id})");
        database.run(&insert).await;
        let mut events = self.until(table, |event| event["key"]["id"] == id).await;
        events.retain(|event| event["key"]["id"] != id);
        events
    }

    /// The source's stored position, as it orders them.
    pub(crate) fn source(&self) -> PostgresSource {
        PostgresSource::new(self.config.clone(), Arc::new(SystemClock::new())).unwrap()
    }

    pub(crate) fn id(&self) -> event::SourceId {
        self.source().id().clone()
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

impl Run {
    /// All events of a table whose topic may not be there yet.
    pub(crate) async fn events_if_any(&self, table: &str) -> Vec<Value> {
        match self.log.topic(&self.topic(table)) {
            Some(_) => self.events(table).await,
            None => Vec::new(),
        }
    }

    /// Asks the database until it says `true`.
    pub(crate) async fn until_true(&self, database: &Database, sql: &str) {
        let asked = async {
            while database
                .client
                .query_opt(sql, &[])
                .await
                .unwrap()
                .map(|row| row.get(0))
                != Some("true".to_owned())
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        answered.unwrap_or_else(|_| panic!("never true: {sql}"));
    }

    /// Waits until the source reads the stream.
    pub(crate) async fn until_streaming(&self, database: &Database) {
        let slot = self.config.slot();
        let streaming = format!(
            "SELECT 'true' FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid \
             WHERE slot_name = '{slot}' AND state IN ('catchup', 'streaming')"
        );
        self.until_true(database, &streaming).await;
    }

    /// Waits until what was committed after `before` has been acknowledged.
    pub(crate) async fn until_acknowledged(&self, database: &Database, before: &str) {
        let slot = self.config.slot();
        let reached = format!(
            "SELECT (confirmed_flush_lsn > '{before}'::pg_lsn)::text FROM pg_replication_slots \
             WHERE slot_name = '{slot}'"
        );
        self.until_true(database, &reached).await;
    }

    /// Waits until a table's partitions have `count` records together.
    pub(crate) async fn until_count(&self, table: &str, count: usize) {
        let counted = async {
            loop {
                let mut found = 0;
                let there = self.log.topic(&self.topic(table)).is_some();
                for partition in 0..self.config.naming.partitions {
                    if there {
                        found += self.records(table, partition).await.len();
                    }
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
