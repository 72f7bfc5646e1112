//! Debezium, embedded in a program that prints every change.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tests::Database;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// A Java with Debezium's jars.
pub(super) struct Debezium {
    java: PathBuf,
    jars: PathBuf,
}

impl Debezium {
    /// If the environment names both.
    pub(super) fn find() -> Option<Self> {
        let named = |name| std::env::var_os(name).map(PathBuf::from);
        Some(Self {
            java: named("TIDEMILL_TEST_JAVA")?,
            jars: named("TIDEMILL_TEST_DEBEZIUM")?,
        })
    }

    /// Has the database keep for it what is written to `orders` from now on.
    pub(super) async fn begin(&self, database: &Database) -> Result<()> {
        let name = slot(database);
        let publication = format!("CREATE PUBLICATION {name} FOR TABLE orders");
        database.run(&publication).await?;
        let slot = format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')");
        database.run(&slot).await
    }

    /// Reads `rows` rows, the last of which has the id `last`. The clock runs from the first one's arrival:
    /// how long a JVM takes to start is left out.
    pub(super) async fn drain(
        &self,
        database: &Database,
        rows: u64,
        last: i64,
    ) -> Result<Duration> {
        let url: tokio_postgres::Config = database.url().parse()?;
        let Some(tokio_postgres::config::Host::Tcp(host)) = url.get_hosts().first() else {
            bail!("the database is not reached by TCP");
        };
        let port = url.get_ports().first().copied().unwrap_or(5432);
        let program = "connectors/table-stream/tests/postgres/Debezium.java";
        let mut running = Command::new(&self.java)
            .arg("-cp")
            .arg(self.jars.join("*"))
            .arg(tests::repository().join(program))
            .args([host, &port.to_string(), database.name(), "orders"])
            .args([slot(database), last.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("run Debezium")?;
        let output = running.stdout.take().context("its output")?;
        let mut output = BufReader::with_capacity(1 << 20, output);
        let (mut read, mut begun, mut line) = (0, None, Vec::new());
        while output.read_until(b'\n', &mut line).await? > 0 {
            begun.get_or_insert_with(Instant::now);
            read += 1;
            line.clear();
        }
        let taken = begun.context("Debezium read nothing")?.elapsed();
        let ended = running.wait().await?;
        ensure!(ended.success(), "Debezium ended with {ended}");
        ensure!(read == rows, "Debezium read {read} rows of {rows}");
        Ok(taken)
    }

    /// Has the database keep nothing for it any more.
    pub(super) async fn end(&self, database: &Database) -> Result<()> {
        let name = slot(database);
        let slot = format!("SELECT pg_drop_replication_slot('{name}')");
        database.run(&slot).await?;
        database.run(&format!("DROP PUBLICATION {name}")).await
    }
}

fn slot(database: &Database) -> String {
    format!("debezium_{}", database.name())
}
