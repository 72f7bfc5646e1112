//! PostgreSQL's tables: how fast a backlog is drained, beside `pg_recvlogical` and Debezium, and how long a
//! commit is on its way into the log, and to a function.
//!
//! All readers have a slot of their own, made before the rows were written, and get the same rows by
//! the same protocol. `pg_recvlogical` throws them away; Debezium, embedded, makes JSON of them and prints
//! it; ours makes records of DynamoDB Streams' shape and has them durably in an embedded log on the disk when
//! the clock stops. Rounds alternate, and the ratio is the median of the rounds' ratios.

mod debezium;
mod handler;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clock::SystemClock;
use connector::{Runner, Settings};
use connector_table_stream::{Naming, PostgresConfig, PostgresSource, Shape};
use event_log::{
    EmbeddedConfig, EmbeddedLog, Lifetime, SharedLog, TopicConfig, TopicName, TopicPartition,
};
use tempfile::TempDir;
use tests::Database;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::table::{Table, median, percentile, time};
use debezium::Debezium;

const ROUNDS: i64 = 3;
/// Rows of a backlog, written by transactions of so many.
const ROWS: i64 = 1_000_000;
const IN_A_TRANSACTION: i64 = 1_000;
/// Commits of the steady load, how many rows each has, and how far apart they are.
const COMMITS: usize = 5_000;
const ROWS_IN_A_COMMIT: u64 = 5;
const EVERY: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(120);

/// The reader of ours, with its log.
struct Ours {
    config: PostgresConfig,
    log: SharedLog,
    place: TopicPartition,
    _folder: TempDir,
}

/// Ours at work.
struct Reading {
    stop: CancellationToken,
    task: JoinHandle<Result<(), connector::Error>>,
}

/// Measures both.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let database = Database::find().await?;
    let database = database.context("TIDEMILL_TEST_POSTGRES is not set")?;
    let programs = std::env::var("TIDEMILL_TEST_POSTGRES_PROGRAMS")
        .context("TIDEMILL_TEST_POSTGRES_PROGRAMS is not set")?;
    let create = "CREATE TABLE orders (id bigint PRIMARY KEY, customer text, amount numeric(12, 2), \
                  note text, made timestamptz DEFAULT now())";
    database.run(create).await?;
    let ours = Ours::new(&database).await?;
    // Makes the slot and the publication.
    let reading = ours.start()?;
    ours.until_streaming(&database).await?;
    reading.end().await?;
    let peer = format!("peer_{}", database.name());
    let create = format!("SELECT pg_create_logical_replication_slot('{peer}', 'pgoutput')");
    database.run(&create).await?;
    backlog(table, &database, &ours, Path::new(&programs)).await?;
    database
        .run(&format!("SELECT pg_drop_replication_slot('{peer}')"))
        .await?;
    steady(table, &database, &ours).await?;
    handler::run(table, &database).await?;
    database.remove().await
}

async fn backlog(
    table: &mut Table,
    database: &Database,
    ours: &Ours,
    programs: &Path,
) -> Result<()> {
    let debezium = Debezium::find();
    let mut taken: [Vec<Duration>; 3] = Default::default();
    for turn in 0..ROUNDS {
        if let Some(debezium) = &debezium {
            debezium.begin(database).await?;
        }
        let first = turn * ROWS;
        let write = format!(
            "DO $$ BEGIN FOR n IN 0..{last} LOOP \
               INSERT INTO orders SELECT id, 'customer ' || id % 1000, id * 0.01, repeat('x', 40) \
               FROM generate_series({first} + n * {IN_A_TRANSACTION}, \
                                    {first} + (n + 1) * {IN_A_TRANSACTION} - 1) AS id; \
               COMMIT; \
             END LOOP; END $$",
            last = ROWS / IN_A_TRANSACTION - 1,
        );
        database.run(&write).await?;
        let rows = ROWS.unsigned_abs();
        let [ours_took, peer_took, debezium_took] = &mut taken;
        peer_took.push(drain_by_peer(database, programs, &ours.config.publication()).await?);
        ours_took.push(ours.drain(rows).await?);
        if let Some(debezium) = &debezium {
            let last = first + ROWS - 1;
            debezium_took.push(debezium.drain(database, rows, last).await?);
            debezium.end(database).await?;
        }
    }
    let conditions = format!("{ROWS} inserted rows, in transactions of {IN_A_TRANSACTION}");
    let names = ["tidemill", "pg_recvlogical", "Debezium"];
    for (name, theirs) in names.into_iter().zip(&taken) {
        let what = format!("a table's backlog drained by {name}");
        let figure = match theirs.as_slice() {
            [] => "not measured: TIDEMILL_TEST_DEBEZIUM is not set".to_owned(),
            measured => {
                let rates = measured
                    .iter()
                    .map(|taken| ROWS as f64 / taken.as_secs_f64());
                format!("{:.0} rows/s", median(rates))
            }
        };
        let both = taken[0].iter().zip(theirs);
        let ratios = both.map(|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64());
        let ratios: Vec<f64> = ratios.collect();
        let beside = match ratios.as_slice() {
            [] => String::new(),
            _ if name == "tidemill" => String::new(),
            _ => format!("ours is {:.2} × as fast", median(ratios)),
        };
        table.row(&what, &conditions, figure, beside);
    }
    Ok(())
}

/// Reads everything up to now, and throws it away.
async fn drain_by_peer(
    database: &Database,
    programs: &Path,
    publication: &str,
) -> Result<Duration> {
    let end = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
    let end = database.number(end).await?;
    let begun = Instant::now();
    let ended = Command::new(programs.join("pg_recvlogical"))
        .arg("--dbname")
        .arg(database.url())
        .arg(format!("--slot=peer_{}", database.name()))
        .args(["--start", "--file=/dev/null"])
        .arg(format!("--endpos={:X}/{:X}", end >> 32, end & 0xFFFF_FFFF))
        .args(["--option=proto_version=2", "--option=streaming=on"])
        .arg(format!("--option=publication_names={publication}"))
        .stdin(Stdio::null())
        .status()
        .await
        .context("run pg_recvlogical")?;
    ensure!(ended.success(), "pg_recvlogical ended with {ended}");
    Ok(begun.elapsed())
}

/// Commits on their way into the log, while rows keep coming.
async fn steady(table: &mut Table, database: &Database, ours: &Ours) -> Result<()> {
    let reading = ours.start()?;
    ours.until_streaming(database).await?;
    let first = ours.log.bounds(&ours.place)?.end.get();
    let mut tail = ours.log.tail(&ours.place)?;
    let arrivals = tokio::spawn(async move {
        let mut arrived = Vec::with_capacity(COMMITS);
        while arrived.len() < COMMITS {
            tail.changed().await?;
            let end = tail.borrow_and_update().get();
            let whole = (end - first) / ROWS_IN_A_COMMIT;
            arrived.resize(usize::try_from(whole)?.max(arrived.len()), Instant::now());
        }
        anyhow::Ok(arrived)
    });
    let mut sent = Vec::with_capacity(COMMITS);
    let begun = Instant::now();
    for commit in 0..COMMITS {
        tokio::time::sleep_until((begun + EVERY * u32::try_from(commit)?).into()).await;
        sent.push(Instant::now());
        let from = ROUNDS * ROWS + commit as i64 * ROWS_IN_A_COMMIT.cast_signed();
        let to = from + ROWS_IN_A_COMMIT.cast_signed() - 1;
        let insert = format!(
            "INSERT INTO orders SELECT id, 'customer', 1, 'x' FROM generate_series({from}, {to}) AS id"
        );
        database.run(&insert).await?;
    }
    let rate = COMMITS as f64 * ROWS_IN_A_COMMIT as f64 / begun.elapsed().as_secs_f64();
    let arrived = tokio::time::timeout(PATIENCE, arrivals).await???;
    reading.end().await?;
    let waits = sent.iter().zip(&arrived);
    let mut waits: Vec<Duration> = waits.map(|(sent, arrived)| *arrived - *sent).collect();
    waits.sort_unstable();
    table.row(
        "from a commit's sending to its rows in the log",
        &format!("{rate:.0} rows/s in commits of {ROWS_IN_A_COMMIT}"),
        format!(
            "p50 {}, p99 {}",
            time(percentile(&waits, 50)),
            time(percentile(&waits, 99))
        ),
        "PostgreSQL's own commit, its sync and ours included".to_owned(),
    );
    Ok(())
}

impl Ours {
    async fn new(database: &Database) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let clock = Arc::new(SystemClock::new());
        let log: SharedLog =
            EmbeddedLog::open(EmbeddedConfig::new(folder.path().join("log")), clock)?;
        let topic = TopicName::new(format!("table.{}.orders", database.name()))?;
        let config = TopicConfig::new(1, Lifetime::Events);
        let topic = log.create_topic(&topic, config).await?;
        Ok(Self {
            config: PostgresConfig {
                naming: Naming {
                    connection: database.name().to_owned(),
                    home: None,
                    region: "us-east-1".to_owned(),
                    account: "000000000000".to_owned(),
                    shape: Shape::DynamoDb,
                    partitions: 1,
                },
                url: database.url(),
                password: None,
                tables: vec!["orders".to_owned()],
                publication: None,
                slot: None,
                ca_certificates: None,
                retained_wal_budget: 8 << 30,
                spool_folder: folder.path().to_owned(),
            },
            log,
            place: topic.partitions().next().context("a partition")?,
            _folder: folder,
        })
    }

    fn start(&self) -> Result<Reading> {
        let clock = Arc::new(SystemClock::new());
        let source = PostgresSource::new(self.config.clone(), clock.clone())?;
        let runner = Runner::new(
            Box::new(source),
            Arc::clone(&self.log),
            clock,
            Settings::default(),
        );
        let stop = CancellationToken::new();
        let task = tokio::spawn(runner.run(stop.clone()));
        Ok(Reading { stop, task })
    }

    /// Starts, and waits until so many more records are in the log.
    async fn drain(&self, rows: u64) -> Result<Duration> {
        let until = self.log.bounds(&self.place)?.end.plus(rows);
        let mut tail = self.log.tail(&self.place)?;
        let begun = Instant::now();
        let reading = self.start()?;
        let drained = tail.wait_for(|end| *end >= until);
        tokio::time::timeout(PATIENCE, drained).await??;
        let taken = begun.elapsed();
        reading.end().await?;
        Ok(taken)
    }

    async fn until_streaming(&self, database: &Database) -> Result<()> {
        let streaming = format!(
            "SELECT count(*) FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid \
             WHERE slot_name = '{}' AND state = 'streaming'",
            self.config.slot()
        );
        let asked = async {
            while database.number(&streaming).await? == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(PATIENCE, asked).await?
    }
}

impl Reading {
    async fn end(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.task.await??)
    }
}
