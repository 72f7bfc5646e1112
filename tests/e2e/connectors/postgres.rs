//! A database's tables.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{
    Cli, Database, Server, check_usage, ends, eventually, skip, topic_lines, until_settled,
};

use super::{SECRET, deploy, expect_no_secret, status, until};

/// Fails for whatever is not as DynamoDB Streams would send it, so that it would never be settled.
pub(super) const HANDLER: &str = r#"
import json

def handler(event, context):
    for record in event["Records"]:
        change = record["dynamodb"]
        assert set(event) == {"Records"}, event
        assert record["eventSource"] == "aws:dynamodb" and record["eventVersion"] == "1.1"
        assert record["awsRegion"] == "us-east-1" and record["eventID"]
        assert record["eventSourceARN"].startswith("arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/")
        assert change["Keys"]["id"]["N"].isdigit() and change["SequenceNumber"].isdigit()
        assert change["SizeBytes"] > 0 and change["ApproximateCreationDateTime"] > 1_700_000_000
        assert change["StreamViewType"] in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY")
        if record["eventName"] == "REMOVE":
            assert "NewImage" not in change
        else:
            assert record["eventName"] in ("INSERT", "MODIFY")
            assert change["NewImage"]["note"]["S"]
    return {"batchItemFailures": []}
"#;

/// Rows that are there before anybody reads.
const ROWS: i64 = 20;

pub(super) fn map_stream(aws: &Cli<'_>, arn: &str) -> Result<String> {
    aws.run(&[
        "lambda",
        "create-event-source-mapping",
        "--function-name",
        "rows",
        "--event-source-arn",
        arn,
        "--starting-position",
        "TRIM_HORIZON",
        "--batch-size",
        "10",
        "--function-response-types",
        "ReportBatchItemFailures",
    ])
}

fn add(server: &Server, database: &Database, password: &std::path::Path) -> Result<String> {
    let (url, file) = (database.url(), format!("file:{}", password.display()));
    let add = ["connector", "add", "postgres", "--name", database.name()];
    let what = ["--url", &url, "--tables", "orders", "--password", &file];
    // One partition: a test's reader takes half a second for each.
    server.tidemill(&[&add[..], &what, &["--partitions", "1"]].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_table_runs_its_function_once_whatever_crashes() -> Result<()> {
    let Some(database) = Database::find().await? else {
        skip("connectors", "there is no PostgreSQL");
        return Ok(());
    };
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let name = database.name().to_owned();
    database
        .run(&format!(
            "CREATE TABLE orders (id bigint PRIMARY KEY, note text); \
             INSERT INTO orders SELECT n, 'old' FROM generate_series(1, {ROWS}) n"
        ))
        .await?;
    let work = tempfile::tempdir()?;
    let password = work.path().join("password");
    std::fs::write(&password, SECRET)?;
    deploy(&aws, "rows", HANDLER)?;
    let arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/{name}");
    let said = add(&server, &database, &password)?;
    ensure!(said.contains(&arn), "{said}");
    // At once, before anything was read.
    let mapping: Value = serde_json::from_str(&map_stream(&aws, &arn)?)?;
    assert_eq!(mapping["EventSourceArn"], arn.as_str());

    let topic = format!("table.{name}.orders");
    eventually("the rows that were there are read", async || {
        let lines = topic_lines(&server, &topic).unwrap_or_default();
        Ok((lines.len() >= usize::try_from(ROWS)?).then_some(()))
    })
    .await?;
    // Changes go on while the server is killed.
    let mut next = ROWS + 1;
    for round in 0..3 {
        for _ in 0..20 {
            database
                .run(&format!(
                    "INSERT INTO orders VALUES ({next}, 'new'); \
                     UPDATE orders SET note = 'changed {round}' WHERE id = {next}"
                ))
                .await?;
            next += 1;
        }
        if round < 2 {
            server.kill()?;
            database
                .run(&format!("DELETE FROM orders WHERE id = {}", next - 1))
                .await?;
            server.restart()?;
        }
    }
    eventually("the last change is there", async || {
        let lines = topic_lines(&server, &topic)?;
        let last = (next - 1, "MODIFY".to_owned());
        Ok(lines
            .iter()
            .any(|line| change_of(line) == last)
            .then_some(()))
    })
    .await?;
    // So is everything before it; partitions are read one after the other.
    let lines = topic_lines(&server, &topic)?;
    check_rows(&lines, next)?;

    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, &topic, &ends(&lines), 1)?;

    let report = until(&server, &name, "running").await?;
    let source = &report["sources"][0];
    ensure!(
        source["position"]
            .as_str()
            .is_some_and(|it| it.starts_with("log ")),
        "{report}"
    );
    ensure!(
        source["lag_bytes"].is_u64() && source["lag_seconds"].is_f64(),
        "{report}"
    );
    assert_eq!(report["streams"][0], arn.as_str());
    assert_eq!(report["topics"][0], topic.as_str());
    expect_no_secret(&server, SECRET)?;

    pause_resume_and_remove(&mut server, &database, &topic, lines.len(), next).await?;
    database.remove().await
}

/// Each row is there once as read or inserted, changes follow it, and sequence numbers grow.
fn check_rows(lines: &[tests::Line], next: i64) -> Result<()> {
    let mut rows: BTreeMap<i64, Vec<(String, String)>> = BTreeMap::new();
    for line in lines {
        let (id, act) = change_of(line);
        let number = &line.value["dynamodb"]["SequenceNumber"];
        let number = number.as_str().context("a number")?.to_owned();
        rows.entry(id).or_default().push((act, number));
    }
    assert_eq!(
        rows.keys().copied().collect::<Vec<_>>(),
        (1..next).collect::<Vec<_>>()
    );
    for (id, changes) in &rows {
        let acts: Vec<_> = changes.iter().map(|(act, _)| act.as_str()).collect();
        ensure!(
            matches!(
                acts.as_slice(),
                ["INSERT"]
                    | ["INSERT", "MODIFY"]
                    | ["INSERT", "MODIFY", "REMOVE"]
                    | ["INSERT", "REMOVE"]
            ),
            "row {id}: {acts:?}"
        );
        ensure!(
            changes.is_sorted_by_key(|(_, number)| (number.len(), number.clone())),
            "{changes:?}"
        );
    }
    Ok(())
}

pub(super) fn change_of(line: &tests::Line) -> (i64, String) {
    let id = line.value["dynamodb"]["Keys"]["id"]["N"]
        .as_str()
        .unwrap_or_default();
    let act = line.value["eventName"].as_str().unwrap_or_default();
    (id.parse().unwrap_or_default(), act.to_owned())
}

async fn pause_resume_and_remove(
    server: &mut Server,
    database: &Database,
    topic: &str,
    before: usize,
    next: i64,
) -> Result<()> {
    let name = database.name();
    server.tidemill(&["connector", "pause", name])?;
    server.kill()?;
    server.restart()?;
    let paused = status(server, name)?;
    assert_eq!(paused["state"], "paused", "{paused}");
    ensure!(paused["sources"][0]["position"].is_string(), "{paused}");
    database
        .run(&format!(
            "INSERT INTO orders VALUES ({next}, 'in the pause')"
        ))
        .await?;
    assert_eq!(topic_lines(server, topic)?.len(), before);
    server.tidemill(&["connector", "resume", name])?;
    eventually("what was missed is there", async || {
        Ok((topic_lines(server, topic)?.len() == before + 1).then_some(()))
    })
    .await?;

    let slots = format!("SELECT count(*) FROM pg_replication_slots WHERE database = '{name}'");
    assert_eq!(database.number(&slots).await?, 1);
    let said = server.tidemill(&["connector", "remove", name])?;
    ensure!(said.contains("were dropped"), "{said}");
    assert_eq!(database.number(&slots).await?, 0);
    assert_eq!(
        database
            .number("SELECT count(*) FROM pg_publication")
            .await?,
        0
    );
    let gone = server.attempt(&["connector", "status", name])?;
    let gone = String::from_utf8(gone.stderr)?;
    ensure!(gone.contains("there is no connector"), "{gone}");

    // Another one of that name begins anew, and may leave its slot behind.
    let password = tempfile::NamedTempFile::new()?;
    add(server, database, password.path())?;
    eventually("every row is there again", async || {
        let removed = 2;
        let rows = usize::try_from(next)? - removed;
        Ok((topic_lines(server, topic)?.len() == before + 1 + rows).then_some(()))
    })
    .await?;
    let said = server.tidemill(&["connector", "remove", name, "--keep-slot"])?;
    ensure!(said.contains("pg_drop_replication_slot"), "{said}");
    assert_eq!(database.number(&slots).await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_source_that_refuses_is_told_of_and_read_once_that_was_seen_to() -> Result<()> {
    let Some(database) = Database::find().await? else {
        skip("connectors", "there is no PostgreSQL");
        return Ok(());
    };
    let name = database.name();
    let server = Server::start_with(&format!(
        "[[connectors]]\nname = {name:?}\nkind = \"postgres\"\nurl = {:?}\ntables = [\"late\"]\n",
        database.url()
    ))?;
    let report = until(&server, name, "failed").await?;
    let error = report["last_error"].as_str().context("an error")?;
    ensure!(error.contains("late"), "{error}");
    let advice = report["advice"].as_str().context("advice")?;
    ensure!(
        advice.contains(&format!("tidemill connector resume {name}")),
        "{advice}"
    );
    database
        .run("CREATE TABLE late (id int PRIMARY KEY)")
        .await?;
    server.tidemill(&["connector", "resume", name])?;
    until(&server, name, "running").await?;

    let refused = server.attempt(&["connector", "remove", name])?;
    let refused = String::from_utf8(refused.stderr)?;
    ensure!(
        refused.contains(name) && refused.contains("declared in the configuration file"),
        "{refused}"
    );
    drop(server);
    database.remove().await
}
