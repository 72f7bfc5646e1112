//! A table of a MariaDB server.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tests::{
    Cli, Mariadb, Server, check_usage, ends, eventually, skip, topic_lines, until_settled,
};

use super::postgres::{HANDLER, change_of, map_stream};
use super::{SECRET, deploy, expect_no_secret, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_mariadb_table_runs_its_function_once_whatever_crashes() -> Result<()> {
    let Some(mut database) = Mariadb::find().await? else {
        skip("connectors", "there is no MariaDB");
        return Ok(());
    };
    let mut server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let name = database.name().to_owned();
    for sql in [
        "CREATE TABLE orders (id bigint PRIMARY KEY, note text)",
        "INSERT INTO orders SELECT seq, 'old' FROM mysql.seq_1_to_5",
        // A password of its own: the server's other user has none.
        &format!("CREATE USER {name}@'127.0.0.1' IDENTIFIED BY '{SECRET}'"),
        &format!("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {name}@'127.0.0.1'"),
        &format!("GRANT SELECT ON {name}.orders TO {name}@'127.0.0.1'"),
    ] {
        database.run(sql).await?;
    }
    let work = tempfile::tempdir()?;
    let password = work.path().join("password");
    std::fs::write(&password, SECRET)?;
    deploy(&aws, "rows", HANDLER)?;
    let url = database.url().replace("root@", &format!("{name}@"));
    let file = format!("file:{}", password.display());
    let add = ["connector", "add", "mysql", "--name", &name, "--url", &url];
    let what = [
        "--password",
        &file,
        "--tables",
        "orders",
        "--partitions",
        "1",
    ];
    let said = server.tidemill(&[&add[..], &what].concat())?;
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
    let mut expected: BTreeMap<i64, Vec<&str>> = (1..=5).map(|id| (id, vec!["INSERT"])).collect();
    for round in 0..2 {
        for n in 0..10 {
            let id = 10 + round * 10 + n;
            for sql in [
                format!("INSERT INTO orders VALUES ({id}, 'new')"),
                format!("UPDATE orders SET note = 'changed' WHERE id = {id}"),
            ] {
                database.run(&sql).await?;
            }
            expected.insert(id, vec!["INSERT", "MODIFY"]);
        }
        server.kill()?;
        let id = round + 1;
        database
            .run(&format!("DELETE FROM orders WHERE id = {id}"))
            .await?;
        expected.entry(id).or_default().push("REMOVE");
        server.restart()?;
    }
    let wanted = expected.values().map(Vec::len).sum();
    let lines = count(&server, wanted).await?;
    let mut found: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for line in &lines {
        let (id, act) = change_of(line);
        found.entry(id).or_default().push(act);
    }
    ensure!(
        found
            .iter()
            .map(|(id, acts)| (id, acts.iter().map(String::as_str).collect::<Vec<_>>()))
            .eq(expected.iter().map(|(id, acts)| (id, acts.clone()))),
        "{found:?}"
    );
    until_settled(&server).await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    check_usage(&usage, &topic, &ends(&lines), 1)?;
    let report = until(&server, &name, "running").await?;
    let source = &report["sources"][0];
    ensure!(
        source["position"]
            .as_str()
            .is_some_and(|it| it.starts_with("log binlog.")),
        "{report}"
    );
    ensure!(
        source["lag_bytes"].is_u64() && source["lag_seconds"].is_f64(),
        "{report}"
    );
    expect_no_secret(&server, SECRET)?;
    server.tidemill(&["connector", "remove", &name])?;
    database
        .run(&format!("DROP USER {name}@'127.0.0.1'"))
        .await?;
    database.remove().await
}
