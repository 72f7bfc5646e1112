//! From a commit in PostgreSQL to the beginning of the function that gets its row.
//!
//! The function prints the machine's clock as its first act, and which rows it has; the driver reads the
//! same clock right before it sends a commit. In between lie PostgreSQL's own commit, its sender, our durable
//! append, the dispatcher and the Runtime API. All of it and the driver share the machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tests::{Cli, Database, Server, eventually, until_settled, zip_file};

use crate::table::{Table, percentile, time};

const HANDLER: &str = "import time
def handler(event, context):
    began = time.time_ns()
    print('began', began, *(row['dynamodb']['Keys']['id']['N'] for row in event['Records']))
";

/// Commits before the clock counts: they start instances.
const WARM: i64 = 500;
/// Commits that count, how many rows each has, and how far apart they are.
const COMMITS: i64 = 3_000;
const ROWS_IN_A_COMMIT: i64 = 5;
const EVERY: Duration = Duration::from_millis(1);

/// Commits at a steady rate, with a warm Python function behind the table.
pub(super) async fn run(table: &mut Table, database: &Database) -> Result<()> {
    database
        .run("CREATE TABLE deals (id bigint PRIMARY KEY, note text)")
        .await?;
    let server = Server::start()?;
    let aws = Cli::find(&server).context("the AWS CLI")?;
    // Another than the one that reads `orders`: its name is that of its publication.
    let (name, url) = (format!("d{}", database.name()), database.url());
    let add = [
        "connector",
        "add",
        "postgres",
        "--name",
        &name,
        "--url",
        &url,
    ];
    server.tidemill(&[&add[..], &["--tables", "deals"]].concat())?;
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "f.zip", &[("app.py", HANDLER.as_bytes())])?;
    aws.create_function("rows", ("python3.11", "app.handler"), &zip, &[])?;
    let arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/deals/stream/{name}");
    let map = [
        "lambda",
        "create-event-source-mapping",
        "--function-name",
        "rows",
    ];
    let from = [
        "--event-source-arn",
        &arn,
        "--starting-position",
        "TRIM_HORIZON",
    ];
    aws.run(&[&map[..], &from].concat())?;

    commit(database, 0..1).await?;
    eventually("the first row has run the function", async || {
        let logs = server.tidemill(&["logs", "rows"])?;
        Ok(logs.contains("began ").then_some(()))
    })
    .await?;
    commit(database, 1..WARM).await?;
    until_settled(&server).await?;
    let begun = Instant::now();
    let sent = commit(database, WARM..WARM + COMMITS).await?;
    let rate = (COMMITS * ROWS_IN_A_COMMIT) as f64 / begun.elapsed().as_secs_f64();
    until_settled(&server).await?;
    // What a function prints is in the log a moment after its invocation has ended.
    let rows = usize::try_from((WARM + COMMITS) * ROWS_IN_A_COMMIT)?;
    let began = eventually("every row is in what was printed", async || {
        let began = began(&server.tidemill(&["logs", "rows"])?)?;
        Ok((began.len() >= rows).then_some(began))
    })
    .await?;
    ensure!(began.len() == rows, "{} rows for {rows}", began.len());
    let counted = began.range(WARM * ROWS_IN_A_COMMIT..);
    let mut waits: Vec<Duration> = counted
        .map(|(id, began)| {
            let commit = id / ROWS_IN_A_COMMIT - WARM;
            Ok(began.saturating_sub(sent[usize::try_from(commit)?]))
        })
        .collect::<Result<_>>()?;
    waits.sort_unstable();
    table.row(
        "from a commit's sending to the beginning of its rows' function",
        &format!("{rate:.0} rows/s in commits of {ROWS_IN_A_COMMIT}, warm Python"),
        format!(
            "p50 {}, p99 {}",
            time(percentile(&waits, 50)),
            time(percentile(&waits, 99))
        ),
        "PostgreSQL's own commit, its sync and ours included".to_owned(),
    );
    Ok(())
}

/// Commits rows, and returns when each commit was sent.
async fn commit(database: &Database, commits: std::ops::Range<i64>) -> Result<Vec<Duration>> {
    let mut sent = Vec::new();
    let begun = Instant::now();
    for (number, commit) in (0_u32..).zip(commits) {
        tokio::time::sleep_until((begun + EVERY * number).into()).await;
        let from = commit * ROWS_IN_A_COMMIT;
        let to = from + ROWS_IN_A_COMMIT - 1;
        let insert =
            format!("INSERT INTO deals SELECT id, 'x' FROM generate_series({from}, {to}) AS id");
        sent.push(SystemTime::now().duration_since(UNIX_EPOCH)?);
        database.run(&insert).await?;
    }
    Ok(sent)
}

/// When the function that got a row began, by row; the first time, where there were several.
fn began(logs: &str) -> Result<BTreeMap<i64, Duration>> {
    let mut all = BTreeMap::new();
    for line in logs.lines().filter_map(|line| line.strip_prefix("began ")) {
        let mut numbers = line.split(' ').map(str::parse::<i64>);
        let at = numbers.next().context("a time")??;
        let at = Duration::from_nanos(at.unsigned_abs());
        for id in numbers {
            all.entry(id?).or_insert(at);
        }
    }
    Ok(all)
}
