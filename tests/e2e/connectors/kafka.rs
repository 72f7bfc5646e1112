//! Another cluster's topics.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{
    Cli, Ledger, Server, check_usage, create_topic, delete_topic, ends, eventually, grow_topic,
    map_topic, publish, publish_to, skip, topic_lines, until_settled,
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
    let said = server.tidemill(&["connector", "remove", "plant"])?;
    ensure!(
        said.contains(&format!(
            "stays here, and so do event source mappings of it: {ours}"
        )),
        "{said}"
    );
    ensure!(
        server
            .tidemill(&["connector", "list"])?
            .contains("There are no connectors")
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_takes_up_topics_as_they_appear_and_what_is_missing_holds_up_nothing()
-> Result<()> {
    let Ok(foreign) = std::env::var("TIDEMILL_TEST_KAFKA") else {
        skip("connectors", "there is no Apache Kafka");
        return Ok(());
    };
    let mut server = Server::start()?;
    let run = uuid::Uuid::new_v4();
    let [eu, us, internal, missing] =
        ["orders-eu", "orders-us", "__orders", "nowhere"].map(|topic| {
            match topic.strip_prefix("__") {
                Some(topic) => format!("__{topic}-{run}"),
                None => format!("{topic}-{run}"),
            }
        });
    let copied = async |topic: &str, ids: &[&str]| {
        let ours = format!("kafka.shop.{topic}");
        eventually(&format!("{ids:?} are in {ours}"), async || {
            let Ok(lines) = topic_lines(&server, &ours) else {
                return Ok(None);
            };
            let found: Vec<_> = lines.iter().map(|line| id_of(&line.value)).collect();
            Ok((found == ids).then_some(()))
        })
        .await
    };
    for topic in [&eu, &internal] {
        create_topic(&foreign, topic, 1, 1).await?;
        publish_to(&foreign, topic, 0, "{\"id\": \"first\"}").await?;
    }
    let topics = format!("^.*orders-.*{run}$,{missing}");
    let add = ["connector", "add", "kafka", "--name", "shop"];
    let what = ["--bootstrap", &foreign, "--topics", &topics];
    let often = ["--interval-seconds", "1"];
    server.tidemill(&[&add[..], &what, &often].concat())?;
    copied(&eu, &["first"]).await?;
    let report = until(&server, "shop", "degraded").await?;
    assert_eq!(
        report["absent"][0]["what"],
        format!("topic {missing}"),
        "{report}"
    );
    let said = server.tidemill(&["connector", "status", "shop"])?;
    ensure!(
        said.contains(&format!("absent    topic {missing}")),
        "{said}"
    );

    // What comes later is read whole, and so is what was published while the server was down.
    create_topic(&foreign, &us, 1, 1).await?;
    publish_to(&foreign, &us, 0, "{\"id\": \"first\"}").await?;
    create_topic(&foreign, &missing, 1, 1).await?;
    publish_to(&foreign, &missing, 0, "{\"id\": \"found\"}").await?;
    copied(&us, &["first"]).await?;
    copied(&missing, &["found"]).await?;
    until(&server, "shop", "running").await?;
    ensure!(
        !server
            .tidemill(&["connector", "list"])?
            .contains("__orders")
    );

    // A topic that is deleted is told of; the others go on, and nothing fails for ever.
    delete_topic(&foreign, &eu).await?;
    let report = eventually("the deleted topic is told of", async || {
        let report = status(&server, "shop")?;
        Ok((report["absent"][0]["what"] == format!("topic {eu}")).then_some(report))
    })
    .await?;
    assert_eq!(report["state"], "running", "{report}");
    publish_to(&foreign, &us, 0, "{\"id\": \"second\"}").await?;
    copied(&us, &["first", "second"]).await?;
    copied(&eu, &["first"]).await?;
    server.kill()?;
    publish_to(&foreign, &us, 0, "{\"id\": \"third\"}").await?;
    server.restart()?;
    let ours = format!("kafka.shop.{us}");
    eventually("what came meanwhile is there, once", async || {
        Ok((topic_lines(&server, &ours)?.len() == 3).then_some(()))
    })
    .await
}
