//! A local folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::{Cli, Server, check_usage, ends, eventually, skip, topic_lines, until_settled};

use super::{deploy, until};

/// Fails for whatever is not as S3 would send it.
const HANDLER: &str = r#"
def handler(event, context):
    (record,) = event["Records"]
    assert record["eventSource"] == "aws:s3" and record["s3"]["bucket"]["name"] == "scans"
    assert record["eventName"] in ("ObjectCreated:Put", "ObjectRemoved:Delete")
    if record["eventName"].startswith("ObjectCreated"):
        assert record["s3"]["object"]["size"] == 300000, record
"#;

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp {from:?} {to:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_file_that_is_dropped_runs_its_function_once_whatever_crashes() -> Result<()> {
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let (folder, scan) = (work.path().join("scans"), work.path().join("scan"));
    std::fs::create_dir_all(folder.join("in"))?;
    std::fs::write(&scan, vec![b's'; 300_000])?;
    deploy(&aws, "read", HANDLER)?;
    let path = folder.display().to_string();
    server.tidemill(&[
        "connector",
        "add",
        "folder",
        "--name",
        "scans",
        "--path",
        &path,
        "--partitions",
        "1",
    ])?;
    let events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"];
    aws.notify("scans", "read", &events)?;

    let topic = "bucket.scans";
    let events = async |server: &Server, wanted: usize| {
        eventually("every event is there", async || {
            let lines = topic_lines(server, topic).unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    for round in 0..2 {
        for n in 0..10 {
            copy(&scan, &folder.join(format!("in/{round} {n}")))?;
        }
        server.kill()?;
        copy(&scan, &folder.join(format!("in/{round} down")))?;
        server.restart()?;
        events(&server, 11 * (round + 1)).await?;
    }
    std::fs::remove_file(folder.join("in/0 down"))?;
    let lines = events(&server, 23).await?;
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &lines {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let key = text(&line.value["s3"]["object"]["key"]);
        seen.entry(key)
            .or_default()
            .push(text(&line.value["eventName"]));
    }
    assert_eq!(seen.len(), 22);
    let removed = ["ObjectCreated:Put", "ObjectRemoved:Delete"];
    assert_eq!(seen.remove("in/0+down").unwrap_or_default(), removed);
    ensure!(
        seen.values().all(|acts| acts == &["ObjectCreated:Put"]),
        "{seen:?}"
    );
    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, topic, &ends(&lines), 1)?;
    let report = until(&server, "scans", "running").await?;
    let position = report["sources"][0]["position"].as_str();
    ensure!(
        position.is_some_and(|it| it.contains("21 objects known")),
        "{report}"
    );
    server.tidemill(&["connector", "remove", "scans"])?;
    Ok(())
}
