//! A table that the nodes read: one of them at a time, whichever that is.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Database, Server, eventually, topic_lines};
use tokio_util::sync::CancellationToken;

/// A table, and how many rows were put into it.
pub(crate) struct Table {
    pub(crate) database: Database,
    rows: AtomicI64,
}

impl Table {
    /// Makes it and has the nodes read it.
    pub(crate) async fn new(database: Database, node: &Server) -> Result<Self> {
        database
            .run("CREATE TABLE rows (id bigint PRIMARY KEY)")
            .await?;
        let (name, url) = (database.name(), database.url());
        let add = ["connector", "add", "postgres", "--name", name];
        let what = ["--url", &url, "--tables", "rows", "--partitions", "1"];
        node.tidemill(&[&add[..], &what].concat())?;
        Ok(Self {
            database,
            rows: AtomicI64::new(0),
        })
    }

    /// Inserts rows, one after the other.
    pub(crate) async fn fill(&self, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            let row = self.rows.load(Ordering::Relaxed) + 1;
            let insert = format!("INSERT INTO rows VALUES ({row})");
            self.database.run(&insert).await?;
            self.rows.store(row, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Every row is in the topic, once; one node reads it, all know of it, and any may stop it.
    pub(crate) async fn check(&self, nodes: &[Server]) -> Result<i64> {
        let name = self.database.name();
        let rows = self.rows.load(Ordering::Relaxed);
        let topic = format!("table.{name}.rows");
        let read = || -> Result<Vec<i64>> {
            let lines = topic_lines(&nodes[0], &topic)?;
            Ok(lines.iter().map(|line| id_of(&line.value)).collect())
        };
        eventually("the last row is in the topic", async || {
            Ok(read()?.contains(&rows).then_some(()))
        })
        .await?;
        // So is everything before it; partitions are read one after the other.
        let mut found = read()?;
        found.sort_unstable();
        ensure!(found == (1..=rows).collect::<Vec<_>>(), "{found:?}");
        let states = eventually("one node reads it and the others know", async || {
            let states = nodes.iter().map(|node| state(node, name));
            let states = states.collect::<Result<Vec<_>>>()?;
            let readers = states.iter().filter(|it| *it == "running").count();
            let others = states.iter().filter(|it| *it == "elsewhere").count();
            Ok((readers == 1 && others == nodes.len() - 1).then_some(states))
        });
        let states = states.await?;
        let reader = states.iter().position(|it| it == "running");
        let other = (reader.context("a reader")? + 1) % nodes.len();
        nodes[other].tidemill(&["connector", "remove", name])?;
        let slots = format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{name}'");
        assert_eq!(self.database.number(&slots).await?, 0);
        Ok(rows)
    }
}

fn state(node: &Server, name: &str) -> Result<String> {
    let text = node.tidemill(&["connector", "status", name, "--json"])?;
    let reports: Value = serde_json::from_str(&text)?;
    Ok(reports[0]["state"].as_str().unwrap_or_default().to_owned())
}

fn id_of(change: &Value) -> i64 {
    let id = change["dynamodb"]["Keys"]["id"]["N"].as_str();
    id.and_then(|id| id.parse().ok()).unwrap_or_default()
}
