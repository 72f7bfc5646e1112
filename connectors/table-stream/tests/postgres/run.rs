//! A source on its way into a log, and what is there.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use connector::Source as _;
use connector_table_stream::{Naming, PostgresConfig, PostgresSource, Shape};
use serde_json::Value;

use crate::database::Database;
pub(crate) use crate::harness::steps;
use crate::harness::{Harness, PATIENCE};

/// A source of PostgreSQL's, on its way into a log.
pub(crate) struct Run {
    pub(crate) config: PostgresConfig,
    harness: Harness,
}

impl Deref for Run {
    type Target = Harness;

    fn deref(&self) -> &Harness {
        &self.harness
    }
}

impl DerefMut for Run {
    fn deref_mut(&mut self) -> &mut Harness {
        &mut self.harness
    }
}

impl Run {
    pub(crate) fn of(database: &Database, tables: &[&str]) -> Self {
        Self {
            config: PostgresConfig {
                naming: Naming {
                    connection: database.name().to_owned(),
                    home: None,
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
            harness: Harness::new(database.name()),
        }
    }

    pub(crate) fn start(&mut self) {
        self.harness.run(self.source());
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
}
