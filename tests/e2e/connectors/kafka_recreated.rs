//! A topic of another cluster that is deleted and made anew, and soon longer than the one before.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Server, create_topic, delete_topic, eventually, publish_to, skip, topic_lines};

use super::until;

async fn publish(foreign: &str, topic: &str, ids: std::ops::Range<u32>) -> Result<()> {
    for id in ids {
        publish_to(foreign, topic, 0, &json!({"id": id}).to_string()).await?;
    }
    Ok(())
}

/// Waits until our copy has these records, in this order, and no others.
async fn copied(server: &Server, topic: &str, ids: std::ops::Range<u32>) -> Result<()> {
    let expected: Vec<Value> = ids.map(|id| json!(id)).collect();
    let ours = format!("kafka.plant.{topic}");
    eventually(
        &format!("{} records are in {ours}", expected.len()),
        async || {
            let lines = topic_lines(server, &ours).unwrap_or_default();
            let found: Vec<_> = lines.iter().map(|line| line.value["id"].clone()).collect();
            ensure!(expected.starts_with(&found), "{found:?}");
            Ok((found == expected).then_some(()))
        },
    )
    .await
}

/// How many gaps the server has counted since it was started, in all.
fn counted(server: &Server) -> Result<u64> {
    let url = format!("{}/metrics", server.endpoint());
    let metrics = String::from_utf8(Command::new("curl").args(["-sS", &url]).output()?.stdout)?;
    let gaps = metrics.lines().filter_map(|line| {
        let count = line.strip_prefix("tidemill_connector_gaps_total{")?;
        count.rsplit_once(' ')?.1.parse::<u64>().ok()
    });
    Ok(gaps.sum())
}

/// Waits until it has counted so many, and said so in its log as often as `said`: it does either a moment after
/// the records are there.
async fn told(server: &Server, gaps: u64, said: usize) -> Result<()> {
    let line = "this one is read from its beginning";
    eventually(&format!("{gaps} gaps are counted"), async || {
        let lines = server.log().matches(line).count();
        ensure!(lines <= said, "{}", server.log());
        Ok((counted(server)? == gaps && lines == said).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_is_read_whole_and_told_of_whether_we_are_up_or_down() -> Result<()> {
    let Ok(foreign) = std::env::var("TIDEMILL_TEST_KAFKA") else {
        skip("connectors", "there is no Apache Kafka");
        return Ok(());
    };
    let mut server = Server::start()?;
    let topic = format!("readings-{}", uuid::Uuid::new_v4());
    create_topic(&foreign, &topic, 1, 1).await?;
    publish(&foreign, &topic, 0..5).await?;
    let add = ["connector", "add", "kafka", "--name", "plant"];
    let what = ["--bootstrap", &foreign, "--topics", &topic];
    server.tidemill(&[&add[..], &what].concat())?;
    copied(&server, &topic, 0..5).await?;

    // While it is read.
    delete_topic(&foreign, &topic).await?;
    create_topic(&foreign, &topic, 1, 1).await?;
    publish(&foreign, &topic, 5..20).await?;
    copied(&server, &topic, 0..20).await?;
    until(&server, "plant", "running").await?;
    told(&server, 1, 1).await?;

    // While nobody reads.
    server.kill()?;
    delete_topic(&foreign, &topic).await?;
    create_topic(&foreign, &topic, 1, 1).await?;
    publish(&foreign, &topic, 20..50).await?;
    server.restart()?;
    copied(&server, &topic, 0..50).await?;
    told(&server, 1, 2).await?;

    // A restart by itself is none.
    server.kill()?;
    server.restart()?;
    publish(&foreign, &topic, 50..55).await?;
    copied(&server, &topic, 0..55).await?;
    assert_eq!(counted(&server)?, 0);
    let report = until(&server, "plant", "running").await?;
    let position = report["sources"][0]["position"]
        .as_str()
        .unwrap_or_default();
    ensure!(position == "offset 35, begun anew 2 times", "{report}");
    // The status remembers both, over restarts.
    let gaps = &report["sources"][0]["gaps"];
    assert_eq!(gaps["count"], 2, "{report}");
    let last = gaps["last"].as_str().unwrap_or_default();
    ensure!(last.contains("offset 15 was reached"), "{report}");
    let said = server.tidemill(&["connector", "status", "plant"])?;
    ensure!(said.contains("  gaps      2, the last at "), "{said}");
    Ok(())
}
