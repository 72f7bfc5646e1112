//! What operators see of a stopped server's log.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Server, publish};

const SECRET: &str = "what only its writer should read";

/// A server that holds ten records, and their file.
async fn stopped() -> Result<(Server, PathBuf)> {
    let mut server = Server::start()?;
    let records = (0..10).map(|n| (n.to_string(), format!("{n} {SECRET}")));
    publish(&server.bootstrap(), "orders", records).await?;
    ensure!(server.stop()?.success());
    let segment = server
        .data_dir()
        .join("log/events/00000000000000000001.seg");
    Ok((server, segment))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_servers_log_is_checked_dumped_and_measured() -> Result<()> {
    let (server, _) = stopped().await?;
    let checked = server.tidemill(&["log", "check"])?;
    assert!(checked.contains("all sound"), "{checked}");

    let stat: Value = serde_json::from_str(&server.tidemill(&["log", "stat", "--json"])?)?;
    let topics = stat["topics"].as_array().context("topics")?;
    let orders = topics.iter().find(|topic| topic["topic"] == "orders");
    let partitions = orders.context("orders")?["partitions"].as_array();
    let ends = partitions.context("partitions")?.iter();
    assert_eq!(ends.filter_map(|p| p["end"].as_u64()).sum::<u64>(), 10);

    let mut found = 0;
    for partition in 0..8 {
        let partition = partition.to_string();
        let dump = ["log", "dump", "orders", "--partition", &partition];
        let shown = server.tidemill(&dump)?;
        assert!(!shown.contains(SECRET), "contents are private: {shown}");
        let lines = server.tidemill(&[&dump[..], &["--values", "--json"]].concat())?;
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line)?;
            let text = line["value"]["text"].as_str().context("a value")?;
            assert!(text.ends_with(SECRET));
            found += 1;
        }
    }
    assert_eq!(found, 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_named_and_changes_the_exit_code_but_not_the_folder() -> Result<()> {
    let (server, segment) = stopped().await?;
    let content = fs::read(&segment)?;
    let mut windows = content.windows(SECRET.len());
    let at = windows.position(|window| window == SECRET.as_bytes());
    let at = at.context("a record's value")? as u64;
    let file = File::options().write(true).open(&segment)?;
    file.write_all_at(b"X", at)?;
    let damaged = fs::read(&segment)?;

    let checked = server.attempt(&["log", "check"])?;
    assert_eq!(checked.status.code(), Some(3));
    let said = String::from_utf8(checked.stdout)?;
    assert!(
        said.contains("damage: events/00000000000000000001.seg at byte"),
        "{said}"
    );
    assert!(said.contains("lost: orders-"), "{said}");
    assert!(fs::read(&segment)? == damaged, "a check changes nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_a_running_server_is_left_alone_by_name() -> Result<()> {
    let server = Server::start()?;
    for command in [
        &["log", "check"][..],
        &["log", "stat"],
        &["log", "dump", "orders"],
    ] {
        let refused = server.attempt(command)?;
        assert!(!refused.status.success());
        let said = String::from_utf8(refused.stderr)?;
        assert!(said.contains("a server runs on"), "{said}");
    }
    Ok(())
}
