//! A source on its way into a log.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;

use clock::SystemClock;
use connector_table_stream::{MysqlConfig, MysqlSource, Naming, Shape};
use serde_json::Value;

use crate::database::Database;
use crate::harness::Harness;
pub(crate) use crate::harness::steps;

/// A source of MariaDB's, on its way into a log.
pub(crate) struct Run {
    pub(crate) config: MysqlConfig,
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
            config: MysqlConfig {
                naming: Naming {
                    connection: "shop".to_owned(),
                    home: None,
                    region: "us-east-1".to_owned(),
                    account: "000000000000".to_owned(),
                    shape: Shape::Plain,
                    partitions: 1,
                },
                url: database.url(),
                password: None,
                tables: tables.iter().map(ToString::to_string).collect(),
                server_id: None,
                ca_certificates: None,
                spool_folder: PathBuf::from("/tmp"),
            },
            harness: Harness::new("shop"),
        }
    }

    pub(crate) fn start(&mut self) {
        let clock = Arc::new(SystemClock::new());
        self.harness
            .run(MysqlSource::new(self.config.clone(), clock).unwrap());
    }

    /// Waits until the source reads the log.
    pub(crate) async fn until_streaming(&self, database: &Database) {
        let streaming = "SELECT count(*) FROM information_schema.PROCESSLIST \
                         WHERE COMMAND = 'Binlog Dump' AND STATE LIKE '%has sent all%'";
        let asked = async {
            while database.value::<i64>(streaming).await == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let answered = tokio::time::timeout(crate::harness::PATIENCE, asked).await;
        answered.expect("it reads the log");
    }

    /// Has the server forget who read its log.
    pub(crate) async fn until_gone(&self, database: &Database) {
        let reader = "SELECT coalesce(max(ID), 0) FROM information_schema.PROCESSLIST \
                      WHERE COMMAND = 'Binlog Dump'";
        loop {
            match database.value::<i64>(reader).await {
                0 => return,
                id => database.run(&format!("KILL {id}")).await,
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
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
}

/// The ids of the rows that are there after all events.
pub(crate) fn folded(events: &[Value]) -> Vec<i64> {
    let mut rows = BTreeSet::new();
    for event in events {
        let id = event["key"]["id"].as_i64().unwrap_or(-1);
        match event["op"].as_str().unwrap() {
            "gap" | "truncate" => rows.clear(),
            "remove" => drop(rows.remove(&id)),
            _ => drop(rows.insert(id)),
        }
    }
    rows.into_iter().collect()
}
