//! Another cluster's topics.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{
    Cli, Ledger, Server, check_usage, create_topic, ends, eventually, grow_topic, map_topic,
    publish, publish_to, skip, topic_lines, until_settled,
};

use super::{SECRET, deploy, expect_no_secret, status, until};

/// Fails for whatever is not as an event source mapping would send it.
const HANDLER: &str = r#"
import base64, json

def handler(event, context):
    assert event["eventSource"] == "SelfManagedKafka"
    for records in event["records"].values():
        for record in records:
            assert record["topic"].startswith("kafka.plant.readings-")
            assert json.loads(base64.b64decode(record["value"]))["id"]
"#;

fn record(ledger: &mut Ledger, id: String) -> (String, String) {
    ledger.attempt(&id);
    ledger.acknowledge(&id);
    let value = json!({"id": &id}).to_string();
    (id, value)
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_of_another_cluster_runs_its_function_once_whatever_crashes() -> Result<()> {
    let Ok(foreign) = std::env::var("TIDEMILL_TEST_KAFKA") else {
        skip("connectors", "there is no Apache Kafka");
        return Ok(());
    };
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let theirs = format!("readings-{}", uuid::Uuid::new_v4());
    let ours = format!("kafka.plant.{theirs}");
    create_topic(&foreign, &theirs, 2, 1).await?;
    let mut ledger = Ledger::default();
    let first = (0..100).map(|n| record(&mut ledger, format!("before-{n}")));
    publish(&foreign, &theirs, first.collect::<Vec<_>>()).await?;

    let work = tempfile::tempdir()?;
    let password = work.path().join("password");
    std::fs::write(&password, SECRET)?;
    deploy(&aws, "readings", HANDLER)?;
    let secret = format!("sasl.password=file:{}", password.display());
    let add = [
        "connector",
        "add",
        "kafka",
        "--name",
        "plant",
        "--bootstrap",
        &foreign,
    ];
    let what = [
        "--topics",
        &theirs,
        "--client",
        "sasl.username=ada",
        "--secret",
        &secret,
    ];
    server.tidemill(&[&add[..], &what].concat())?;
    until(&server, "plant", "running").await?;
    map_topic(&aws, "readings", &ours)?;

    // Records go on while the server is killed; so do partitions.
    for round in 0..2 {
        let more = (0..100).map(|n| record(&mut ledger, format!("{round}-{n}")));
        publish(&foreign, &theirs, more.collect::<Vec<_>>()).await?;
        server.kill()?;
        if round == 0 {
            grow_topic(&foreign, &theirs, 3).await?;
        }
        let (_, value) = record(&mut ledger, format!("down-{round}"));
        publish_to(&foreign, &theirs, round + 1, &value).await?;
        server.restart()?;
    }
    let all = ledger.acknowledged();
    let lines = eventually("every record is there", async || {
        let lines = topic_lines(&server, &ours)?;
        Ok((lines.len() >= all).then_some(lines))
    })
    .await?;
    ledger.check(lines.iter().map(|line| id_of(&line.value)))?;
    let mut grown = lines.iter().filter(|line| line.partition == 2);
    ensure!(
        grown.any(|line| id_of(&line.value) == "down-1"),
        "the new partition is not read"
    );
    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, &ours, &ends(&lines), 1)?;

    let report = until(&server, "plant", "running").await?;
    let sources = report["sources"].as_array().context("sources")?;
    assert_eq!(sources.len(), 3, "{report}");
    for source in sources {
        ensure!(
            source["position"]
                .as_str()
                .is_some_and(|it| it.starts_with("offset ")),
            "{report}"
        );
        assert_eq!(source["lag_events"], 0, "{report}");
    }
    expect_no_secret(&server, SECRET)?;

    server.tidemill(&["connector", "pause", "plant"])?;
    assert_eq!(status(&server, "plant")?["state"], "paused");
    publish_to(&foreign, &theirs, 0, "{\"id\": \"paused\"}").await?;
    server.tidemill(&["connector", "resume", "plant"])?;
    eventually("what was missed is there", async || {
        Ok((topic_lines(&server, &ours)?.len() == all + 1).then_some(()))
    })
    .await?;
    let refused = server.attempt(&["connector", "remove", "plant", "--keep-slot"])?;
    ensure!(String::from_utf8(refused.stderr)?.contains("--keep-slot is for"));
    server.tidemill(&["connector", "remove", "plant"])?;
    ensure!(
        server
            .tidemill(&["connector", "list"])?
            .contains("There are no connectors")
    );
    Ok(())
}
