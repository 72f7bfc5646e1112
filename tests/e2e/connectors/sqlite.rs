//! The tables of a database file that `sqlite3` writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{
    Cli, Server, check_usage, ends, eventually, program, skip, topic_lines, until_settled,
};

use super::postgres::{HANDLER, change_of, map_stream};
use super::{deploy, until};

fn run(sqlite3: &Path, file: &Path, sql: &str) -> Result<String> {
    let done = Command::new(sqlite3)
        .args(["-batch", "-bail", "-cmd", ".timeout 20000"])
        .arg(file)
        .arg(sql)
        .output()?;
    ensure!(done.status.success(), "{sql}: {done:?}");
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_that_sqlite3_makes_runs_its_function_once_whatever_crashes() -> Result<()> {
    let Some(sqlite3) = program("TIDEMILL_TEST_SQLITE3", "sqlite3") else {
        skip("connectors", "there is no sqlite3");
        return Ok(());
    };
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let file = work.path().join("shop.db");
    run(
        &sqlite3,
        &file,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);
         INSERT INTO orders VALUES (1, 'old'), (2, 'old'), (3, 'old')",
    )?;
    let before = run(&sqlite3, &file, "SELECT sql FROM sqlite_schema")?;
    deploy(&aws, "rows", HANDLER)?;
    let path = file.display().to_string();
    let said = server.tidemill(&[
        "connector",
        "add",
        "sqlite",
        "--name",
        "shop",
        "--file",
        &path,
        "--tables",
        "orders",
    ])?;
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop";
    ensure!(said.contains(arn), "{said}");
    map_stream(&aws, arn)?;
    let topic = "table.shop.orders";
    eventually("the rows were read", async || {
        Ok((topic_lines(&server, topic)?.len() == 3).then_some(()))
    })
    .await?;

    let mut expected: BTreeMap<i64, Vec<&str>> = (1..=3).map(|id| (id, vec!["INSERT"])).collect();
    for round in 0..3 {
        for n in 0..10 {
            let id = 10 + round * 10 + n;
            run(
                &sqlite3,
                &file,
                &format!(
                    "INSERT INTO orders VALUES ({id}, 'new'); BEGIN; DELETE FROM orders; ROLLBACK;
                     REPLACE INTO orders VALUES ({id}, 'replaced'); UPDATE orders SET note = 'x' WHERE id = {id}"
                ),
            )?;
            expected.insert(id, vec!["INSERT", "REMOVE", "INSERT", "MODIFY"]);
        }
        if round < 2 {
            server.kill()?;
            run(
                &sqlite3,
                &file,
                &format!("DELETE FROM orders WHERE id = {}", round + 1),
            )?;
            expected.entry(round + 1).or_default().push("REMOVE");
            server.restart()?;
        }
    }
    let count: usize = expected.values().map(Vec::len).sum();
    let lines = eventually("every change is there", async || {
        let lines = topic_lines(&server, topic)?;
        Ok((lines.len() >= count).then_some(lines))
    })
    .await?;
    let mut found: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for (id, act) in lines.iter().map(change_of) {
        found.entry(id).or_default().push(act);
    }
    let expected: BTreeMap<i64, Vec<String>> = expected
        .into_iter()
        .map(|(id, acts)| (id, acts.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(found, expected);
    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, topic, &ends(&lines), 1)?;

    // A table that is made anew is told in a word that DynamoDB has not, and the handler fails for: it gets
    // the rows alone, or this would be tried for ever.
    run(
        &sqlite3,
        &file,
        "BEGIN; DROP TABLE orders; CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT);
         INSERT INTO orders VALUES (1000, 'anew'); COMMIT",
    )?;
    eventually("the new table was read", async || {
        let lines = topic_lines(&server, topic)?;
        let told = |act: &str| lines.iter().any(|line| line.value["eventName"] == act);
        let read = lines
            .iter()
            .any(|line| line.value.to_string().contains("anew"));
        Ok((told("GAP") && read).then_some(()))
    })
    .await?;
    until_settled(&server).await?;

    let report: Value = until(&server, "shop", "running").await?;
    let position = report["sources"][0]["position"]
        .as_str()
        .unwrap_or_default();
    ensure!(position.starts_with("change "), "{report}");
    let gaps = &report["sources"][0]["gaps"];
    assert_eq!(gaps["count"], 1, "{report}");
    ensure!(gaps["last"].to_string().contains("orders"), "{report}");
    assert_eq!(report["sources"][0]["lag_events"], 0, "{report}");
    let said = server.tidemill(&["connector", "remove", "shop"])?;
    ensure!(said.contains("taken out of the file"), "{said}");
    assert_eq!(
        run(&sqlite3, &file, "SELECT sql FROM sqlite_schema")?,
        before
    );
    Ok(())
}
