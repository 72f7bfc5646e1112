//! A table of DynamoDB, by its stream.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::{
    Cli, Moto, Server, check_usage, ends, eventually, program, repository, skip, topic_lines,
    until_settled,
};

use super::postgres::{HANDLER, change_of, map_stream};
use super::{SECRET, deploy, expect_no_secret, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_dynamodb_table_runs_its_function_once_whatever_crashes() -> Result<()> {
    let Some(moto) = Moto::find()? else {
        skip("connectors", "there is no server that speaks DynamoDB");
        return Ok(());
    };
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let python = program("TIDEMILL_TEST_PYTHON", "python3").context("Python")?;
    let script = repository().join("tests/e2e/scripts/dynamodb_writes.py");
    let write = |acts: &[&str]| {
        let mut command = Command::new(&python);
        let written = command
            .arg(&script)
            .arg(moto.endpoint())
            .args(acts)
            .output()?;
        let said = String::from_utf8_lossy(&written.stderr);
        ensure!(written.status.success(), "{acts:?}: {said}");
        Ok(())
    };
    write(&["create", "put:0:5"])?;

    let name = "shop";
    let work = tempfile::tempdir()?;
    let keys = work.path().join("credentials");
    let text =
        format!("[default]\naws_access_key_id = tidemill-test\naws_secret_access_key = {SECRET}\n");
    std::fs::write(&keys, text)?;
    // moto's records say so, and are passed on as they are.
    deploy(&aws, "rows", &HANDLER.replace("\"1.1\"", "\"1.0\""))?;
    let (endpoint, file) = (moto.endpoint(), keys.display().to_string());
    let add = ["connector", "add", "dynamodb", "--name", name];
    let what = ["--endpoint", endpoint, "--credentials", &file];
    let which = ["--region", "us-east-1", "--tables", "orders"];
    let said = server.tidemill(&[&add[..], &what, &which, &["--partitions", "1"]].concat())?;
    let arn = format!("arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/{name}");
    ensure!(said.contains(&arn), "{said}");
    map_stream(&aws, &arn)?;
    let topic = format!("table.{name}.orders");
    let count = async |server: &Server, wanted: usize| {
        eventually("every change is there", async || {
            let lines = topic_lines(server, &topic).unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    count(&server, 5).await?;
    let mut expected: BTreeMap<i64, Vec<&str>> = (0..5).map(|id| (id, vec!["INSERT"])).collect();
    for round in 0..2 {
        let (from, to) = (10 + round * 10, 20 + round * 10);
        let range = format!("{from}:{to}");
        // The server is killed while it reads, and what is written meanwhile waits for it.
        write(&[&format!("put:{range}")])?;
        server.kill()?;
        write(&[
            &format!("change:{range}"),
            &format!("remove:{round}:{}", round + 1),
        ])?;
        expected.extend((from..to).map(|id| (id, vec!["INSERT", "MODIFY"])));
        expected.entry(round).or_default().push("REMOVE");
        server.restart()?;
    }
    let wanted = expected.values().map(Vec::len).sum();
    let lines = count(&server, wanted).await?;
    let mut found: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for line in &lines {
        let (id, act) = change_of(line);
        found.entry(id).or_default().push(act);
    }
    let found_acts = found
        .iter()
        .map(|(id, acts)| (*id, acts.iter().map(String::as_str).collect()));
    ensure!(expected == found_acts.collect(), "{found:?}");
    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, &topic, &ends(&lines), 1)?;
    let report = until(&server, name, "running").await?;
    let position = report["sources"][0]["position"].as_str();
    ensure!(
        position.is_some_and(|it| it.contains("reading 1 shards")),
        "{report}"
    );
    expect_no_secret(&server, SECRET)?;
    server.tidemill(&["connector", "remove", name])?;
    Ok(())
}
