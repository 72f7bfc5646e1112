//! From a topic to functions that do nothing: the platform's own share.
//!
//! The records are in the topic before the mapping is made, so that the publisher does not take part.
//! The time runs from the end of the first invocation to that of the last, both as the log's usage records
//! have them; while it runs, nothing else asks the server for anything but now and then for its metrics.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::{Cli, Server, publish, topic_lines, until_settled, zip_file};
use tokio::process::Command;

use crate::table::Table;

/// How long all events together may take.
const AT_MOST: Duration = Duration::from_secs(300);

const HANDLER: &str = "def handler(event, context): pass\n";

/// A function, and what it is to drain.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) runtime: &'static str,
    pub(crate) file: &'static str,
    pub(crate) handler: &'static str,
    pub(crate) content: Vec<u8>,
    pub(crate) records: usize,
    pub(crate) batch: usize,
}

/// Drains a topic through each function, singly and in batches.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    // Cargo builds every binary of a package beside the one that it runs.
    let noop = std::env::current_exe()?.with_file_name("noop-bootstrap");
    let noop = std::fs::read(&noop).with_context(|| format!("read {}", noop.display()))?;
    let rust = |records, batch| Case {
        name: "no-op Rust bootstrap",
        runtime: "provided.al2023",
        file: "bootstrap",
        handler: "app.handler",
        content: noop.clone(),
        records,
        batch,
    };
    let python = |records, batch| Case {
        name: "no-op Python",
        runtime: "python3.11",
        file: "app.py",
        handler: "app.handler",
        content: HANDLER.into(),
        records,
        batch,
    };
    for case in [
        rust(100_000, 1),
        rust(1_000_000, 100),
        python(50_000, 1),
        python(1_000_000, 100),
    ] {
        let rate = drain(&case).await?;
        table.row(
            &format!("topic to {}", case.name),
            &format!(
                "{} records, 8 partitions, batches of {}",
                case.records, case.batch
            ),
            format!("{rate:.0} events/s"),
            format!("{:.0} invocations/s", rate / case.batch as f64),
        );
    }
    Ok(())
}

/// Events in a second.
pub(crate) async fn drain(case: &Case) -> Result<f64> {
    let server = Server::start()?;
    let aws = Cli::find(&server).context("the AWS CLI")?;
    let records = (0..case.records).map(|n| (n.to_string(), "x".repeat(100)));
    publish(&server.bootstrap(), "events", records).await?;
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "f.zip", &[(case.file, &case.content)])?;
    aws.run(&[
        "lambda",
        "create-function",
        "--function-name",
        "f",
        "--runtime",
        case.runtime,
        "--handler",
        case.handler,
        // One processor's worth: the platform is measured, not a function's share of it.
        "--memory-size",
        "1769",
        "--role",
        "arn:aws:iam::000000000000:role/any",
        "--zip-file",
        &format!("fileb://{}", zip.display()),
    ])?;
    let own = json!({"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [server.bootstrap()]}});
    aws.run(&[
        "lambda",
        "create-event-source-mapping",
        "--function-name",
        "f",
        "--topics",
        "events",
        "--starting-position",
        "TRIM_HORIZON",
        "--batch-size",
        &case.batch.to_string(),
        "--self-managed-event-source",
        &own.to_string(),
    ])?;
    at_rest(&server).await?;
    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    let ends = usage
        .iter()
        .filter_map(|line| line.value["ended_at"].as_i64());
    let (first, last) = (ends.clone().min(), ends.max());
    let took = last.zip(first).map(|(last, first)| last - first);
    let took = took.context("usage in the log")? as f64 / 1_000.0;
    let events = usage
        .iter()
        .filter_map(|line| line.value["records"].as_u64());
    let events: u64 = events.sum();
    ensure!(
        events == case.records as u64,
        "{events} events were settled"
    );
    Ok((events as f64) / took)
}

/// Waits until events have been settled and none has been for a second.
async fn at_rest(server: &Server) -> Result<()> {
    let metrics = format!("{}/metrics", server.endpoint());
    let mut before = String::new();
    let begun = Instant::now();
    while begun.elapsed() < AT_MOST {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = Command::new("curl")
            .args(["-sS", &metrics])
            .output()
            .await?;
        let text = String::from_utf8(asked.stdout)?;
        let lines = text
            .lines()
            .filter(|line| line.starts_with("tidemill_events_total"));
        let now = lines.collect::<Vec<_>>().join("\n");
        if !now.is_empty() && now == before {
            return Ok(());
        }
        before = now;
    }
    bail!("events are not all settled after {AT_MOST:?}")
}
