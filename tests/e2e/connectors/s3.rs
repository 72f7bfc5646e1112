//! Another store's bucket.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tests::{
    Cli, ForeignStore, Server, check_usage, ends, eventually, skip, topic_lines, until_settled,
};

use super::{deploy, expect_no_secret, status, until};

/// Fails for whatever is not as S3 would send it.
const HANDLER: &str = r#"
def handler(event, context):
    (record,) = event["Records"]
    assert record["eventSource"] == "aws:s3" and record["eventVersion"] == "2.1"
    assert record["eventName"] in ("ObjectCreated:Put", "ObjectRemoved:Delete")
    assert record["s3"]["bucket"]["name"].startswith("nodes-")
    assert record["s3"]["configurationId"] and record["s3"]["object"]["sequencer"]
"#;

async fn put(store: &ForeignStore, key: &str) -> Result<()> {
    let put = store.client().put_object().bucket(store.bucket()).key(key);
    put.body(key.as_bytes().to_vec().into()).send().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_object_of_another_store_runs_its_function_once_whatever_crashes() -> Result<()> {
    let Some(store) = ForeignStore::find().await? else {
        skip("connectors", "there is no S3-compatible store");
        return Ok(());
    };
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let keys = work.path().join("keys");
    std::fs::write(&keys, store.credentials())?;
    deploy(&aws, "import", HANDLER)?;
    let keys = keys.display().to_string();
    let add = [
        "connector",
        "add",
        "s3",
        "--name",
        "partner",
        "--bucket",
        store.bucket(),
    ];
    let how = [
        "--endpoint",
        store.endpoint(),
        "--credentials",
        &keys,
        "--interval-seconds",
        "1",
        "--partitions",
        "1",
    ];
    server.tidemill(&[&add[..], &how].concat())?;
    // As a bucket of this server's would be; none can have its name.
    let events = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"];
    aws.notify(store.bucket(), "import", &events)?;
    let refused = aws.refused(&["s3", "mb", &format!("s3://{}", store.bucket())])?;
    ensure!(refused.contains("BucketAlreadyExists"), "{refused}");
    let shown = [
        "s3api",
        "get-bucket-notification-configuration",
        "--bucket",
        store.bucket(),
    ];
    ensure!(aws.run(&shown)?.contains("function:import"));

    for round in 0..2 {
        for n in 0..10 {
            put(&store, &format!("in/{round}-{n}.csv")).await?;
        }
        server.kill()?;
        put(&store, &format!("in/{round}-down.csv")).await?;
        server.restart()?;
    }
    let topic = format!("bucket.{}", store.bucket());
    let events = async |wanted: usize| {
        eventually("every event is there", async || {
            let lines = topic_lines(&server, &topic).unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    events(22).await?;
    let delete = store.client().delete_object().bucket(store.bucket());
    delete.key("in/0-down.csv").send().await?;
    let lines = events(23).await?;
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
    assert_eq!(seen.remove("in/0-down.csv").unwrap_or_default(), removed);
    ensure!(
        seen.values().all(|acts| acts == &["ObjectCreated:Put"]),
        "{seen:?}"
    );
    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, &topic, &ends(&lines), 1)?;

    let report = until(&server, "partner", "running").await?;
    let position = report["sources"][0]["position"]
        .as_str()
        .unwrap_or_default();
    ensure!(position.contains("21 objects known"), "{report}");
    assert_eq!(report["sources"][0]["lag_events"], 0, "{report}");
    expect_no_secret(&server, "tidemill-test-secret")?;

    server.tidemill(&["connector", "pause", "partner"])?;
    put(&store, "in/paused.csv").await?;
    assert_eq!(status(&server, "partner")?["state"], "paused");
    server.tidemill(&["connector", "resume", "partner"])?;
    events(24).await?;
    server.tidemill(&["connector", "remove", "partner"])?;
    let gone = Cli::find(&server)
        .context("it was there before")?
        .refused(&shown)?;
    ensure!(gone.contains("NoSuchBucket"), "{gone}");
    Ok(())
}
