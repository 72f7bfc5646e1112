//! Containers of Azure Blob Storage and buckets of Google Cloud Storage.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tests::{Cloud, Line, Server, eventually, skip, topic_lines};

use super::{expect_no_secret, status, until};

/// Keys that are there before the connector, and as S3 writes them in events.
const BEFORE: [(&str, &str); 4] = [
    ("in/a//b", "in/a//b"),
    ("in/ü b+%2F&?.csv", "in/%C3%BC+b%2B%252F%26%3F.csv"),
    ("in/ ", "in/+"),
    ("in/plain", "in/plain"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_blob_of_azure_is_told_once_whatever_crashes() -> Result<()> {
    match Cloud::azure() {
        Some(azure) => goes_through(&azure, "AuthorizationFailure").await,
        None => {
            skip("connectors", "Azurite is not there");
            Ok(())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_object_of_google_is_told_once_whatever_crashes() -> Result<()> {
    match Cloud::gcs() {
        Some(gcs) => goes_through(&gcs, "no key of a service account").await,
        None => {
            skip(
                "connectors",
                "the emulator of Google Cloud Storage is not there",
            );
            Ok(())
        }
    }
}

/// Objects before and after, with crashes between; `wrong` is said of a key that does not open it.
async fn goes_through(cloud: &Cloud, wrong: &str) -> Result<()> {
    let mut server = Server::start()?;
    let work = tempfile::tempdir()?;
    let file = work.path().join("key");
    let (secret, hidden) = cloud.secret();
    std::fs::write(&file, "bm90IHRoaXM=")?;
    let own = cloud.connector(&file);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let add = ["connector", "add", own[0], "--name", "partner"];
    let how = [
        "--prefix",
        "in",
        "--interval-seconds",
        "1",
        "--partitions",
        "1",
    ];
    server.tidemill(&[&add[..], &own[1..], &how].concat())?;

    // What is wrong is told, with what to do.
    let error = |report: &serde_json::Value| report["last_error"].to_string();
    let failed = until(&server, "partner", "failed").await?;
    ensure!(error(&failed).contains(wrong), "{failed}");
    std::fs::write(&file, &secret)?;
    server.tidemill(&["connector", "resume", "partner"])?;
    let retrying = until(&server, "partner", "retrying").await?;
    ensure!(error(&retrying).contains("404"), "{retrying}");
    ensure!(error(&retrying).contains("make it there"), "{retrying}");

    cloud.make().await?;
    for (key, _) in BEFORE {
        cloud.put(key, "1").await?;
    }
    cloud.put("out/side", "1").await?;
    for round in 0..2 {
        for n in 0..10 {
            cloud.put(&format!("in/{round}-{n}"), "12").await?;
        }
        server.kill()?;
        cloud.put(&format!("in/{round}-down"), "123").await?;
        server.restart()?;
    }
    let topic = format!("bucket.{}", cloud.bucket());
    let events = async |wanted: usize| {
        eventually("every event is there", async || {
            let lines = topic_lines(&server, &topic).unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    events(26).await?;
    cloud.put("in/plain", "replaced").await?;
    events(27).await?;
    cloud.delete("in/0-down").await?;
    let lines = events(28).await?;
    let created = "ObjectCreated:Put".to_owned();
    let mut wanted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, key) in BEFORE {
        wanted.insert(key.to_owned(), vec![created.clone()]);
    }
    for round in 0..2 {
        let names = (0..10).map(|n| n.to_string()).chain(["down".to_owned()]);
        for name in names {
            wanted.insert(format!("in/{round}-{name}"), vec![created.clone()]);
        }
    }
    let also = |key: &str, act: &str| (key.to_owned(), vec![created.clone(), act.to_owned()]);
    wanted.extend([
        also("in/plain", &created),
        also("in/0-down", "ObjectRemoved:Delete"),
    ]);
    assert_eq!(told(&lines), wanted);
    for line in &lines {
        let record = &line.value;
        assert_eq!(record["eventSource"], "aws:s3", "{record}");
        assert_eq!(record["s3"]["bucket"]["name"], cloud.bucket(), "{record}");
    }
    let replaced = lines
        .iter()
        .rfind(|it| it.value["s3"]["object"]["key"] == "in/plain");
    let object = &replaced.context("it was replaced")?.value["s3"]["object"];
    assert_eq!(object["size"], 8, "{object}");
    ensure!(
        object["eTag"].as_str().is_some_and(|tag| !tag.is_empty()),
        "{object}"
    );

    let report = until(&server, "partner", "running").await?;
    let source = &report["sources"][0];
    let position = source["position"].as_str().unwrap_or_default();
    ensure!(position.contains("25 objects known"), "{report}");
    assert_eq!(source["lag_events"], 0, "{report}");
    expect_no_secret(&server, hidden)?;

    server.tidemill(&["connector", "pause", "partner"])?;
    cloud.put("in/paused", "1").await?;
    assert_eq!(status(&server, "partner")?["state"], "paused");
    server.tidemill(&["connector", "resume", "partner"])?;
    events(29).await?;
    server.tidemill(&["connector", "remove", "partner"])?;
    let listed = server.tidemill(&["connector", "list"])?;
    ensure!(listed.contains("There are no connectors"), "{listed}");
    Ok(())
}

/// What was said of each key, in order.
fn told(lines: &[Line]) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let key = text(&line.value["s3"]["object"]["key"]);
        told.entry(key)
            .or_default()
            .push(text(&line.value["eventName"]));
    }
    told
}
