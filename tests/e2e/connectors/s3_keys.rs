//! Keys that are no paths, in another store: every one is told byte for byte.

use anyhow::{Context, Result, ensure};
use tests::{Line, Server, eventually, topic_lines};

use super::{expect_no_secret, until};

/// As S3 writes them in events.
const KEYS: [(&str, &str); 7] = [
    ("in/a//b", "in/a//b"),
    ("in/./a", "in/./a"),
    ("in/folder/", "in/folder/"),
    ("in//", "in//"),
    ("in/a b+c%2F&?.csv", "in/a+b%2Bc%252F%26%3F.csv"),
    ("in/ü\n", "in/%C3%BC%0A"),
    ("in/plain", "in/plain"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_no_paths_are_told_byte_for_byte() -> Result<()> {
    // Another server of ours is a store that takes every key.
    let (store, server) = (Server::start()?, Server::start()?);
    let s3 = tests::s3(&store)?;
    s3.create_bucket().bucket("odd").send().await?;
    let put = async |key: &str| -> Result<()> {
        let put = s3.put_object().bucket("odd").key(key);
        put.body(b"1".to_vec().into()).send().await?;
        Ok(())
    };
    for (key, _) in KEYS {
        put(key).await?;
    }
    put("out//side").await?;
    let (endpoint, keys) = (store.endpoint(), store.data_dir().join("credentials"));
    let keys = keys.display().to_string();
    let add = ["connector", "add", "s3", "--name", "odd", "--bucket", "odd"];
    let how = ["--endpoint", &endpoint, "--credentials", &keys];
    let what = [
        "--prefix",
        "in",
        "--interval-seconds",
        "1",
        "--partitions",
        "1",
    ];
    server.tidemill(&[&add[..], &how, &what].concat())?;
    let events = async |wanted: usize| {
        eventually("every event is there", async || {
            let lines = topic_lines(&server, "bucket.odd").unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    let text =
        |line: &Line, name: &str| line.value["s3"]["object"][name].as_str().map(str::to_owned);
    let lines = events(KEYS.len()).await?;
    let mut told: Vec<_> = lines.iter().filter_map(|line| text(line, "key")).collect();
    told.sort_unstable();
    let mut wanted = KEYS.map(|(_, told)| told.to_owned());
    wanted.sort_unstable();
    assert_eq!(told, wanted);

    s3.delete_object()
        .bucket("odd")
        .key("in/a//b")
        .send()
        .await?;
    let lines = events(KEYS.len() + 1).await?;
    let last = lines.last().context("an event")?;
    assert_eq!(last.value["eventName"], "ObjectRemoved:Delete");
    assert_eq!(text(last, "key").as_deref(), Some("in/a//b"));
    let report = until(&server, "odd", "running").await?;
    let position = report["sources"][0]["position"]
        .as_str()
        .unwrap_or_default();
    ensure!(position.contains("6 objects known"), "{report}");
    expect_no_secret(&server, &store.credentials()?.1)?;
    Ok(())
}
