use mysql_async::prelude::Queryable as _;
use serde_json::Value;

use crate::database::Database;
use crate::run::{Run, steps};

const TABLE: &str = "CREATE TABLE item (id int PRIMARY KEY, note text)";

fn ids(events: &[Value], op: &str) -> Vec<i64> {
    let of = steps(events).into_iter().filter(|(found, _)| found == op);
    of.map(|(_, id)| id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction_is_put_aside_and_comes_whole_wherever_it_is_cut_off() {
    let test = "a_large_transaction_is_put_aside_and_comes_whole_wherever_it_is_cut_off";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    let spool = tempfile::tempdir().unwrap();
    run.config.spool_folder = spool.path().to_owned();
    run.max_bytes = 1 << 16;
    run.start();
    run.until_streaming(&database).await;
    database.run("INSERT INTO item VALUES (0, '')").await;
    run.until("item", |event| event["key"]["id"] == 0).await;
    let mut large = database.client().await;
    for statement in [
        "BEGIN",
        "INSERT INTO item SELECT seq, repeat('x', 100) FROM seq_1_to_20000",
        "SAVEPOINT s",
        "INSERT INTO item SELECT seq, repeat('x', 100) FROM seq_100001_to_110000",
        "ROLLBACK TO s",
        "INSERT INTO item SELECT seq, repeat('x', 100) FROM seq_20001_to_30010",
    ] {
        large.query_drop(statement).await.unwrap();
    }
    // Small ones commit in between, and a second large one is rolled back.
    database
        .run(
            "INSERT INTO item VALUES (-1, '');\nBEGIN;\n\
             INSERT INTO item SELECT seq, 'x' FROM seq_200001_to_201000;\nROLLBACK",
        )
        .await;
    let early = run.until("item", |event| event["key"]["id"] == -1).await;
    assert_eq!(early.len(), 2, "nothing of what had not committed");
    large.query_drop("COMMIT").await.unwrap();
    // Cut off in the middle of it, twice.
    for seen in [5_000, 15_000] {
        run.until("item", |event| event["key"]["id"] == seen).await;
        run.crash().await;
        run.start();
    }
    let events = run.fence(&database, "item", 1_000_000).await;
    let inserted = ids(&events, "insert");
    assert_eq!(inserted[..2], [0, -1]);
    assert!(
        inserted[2..].iter().copied().eq(1..=30_010),
        "not the rows in their order"
    );
    run.crash().await;
}

#[tokio::test]
async fn a_prepared_transaction_comes_when_it_is_committed() {
    let test = "a_prepared_transaction_comes_when_it_is_committed";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until_streaming(&database).await;
    // Whoever prepared one also ends it: to another session it is unknown until the server has
    // noticed that its own has gone.
    let mut sessions = Vec::new();
    for (name, id) in [("kept", 2), ("dropped", 3)] {
        let mut session = database.client().await;
        for statement in [
            format!("XA START '{name}'"),
            format!("INSERT INTO item VALUES ({id}, '')"),
            format!("XA END '{name}'"),
            format!("XA PREPARE '{name}'"),
        ] {
            session.query_drop(statement).await.unwrap();
        }
        sessions.push(session);
    }
    database.run("INSERT INTO item VALUES (4, '')").await;
    run.until("item", |event| event["key"]["id"] == 4).await;
    run.crash().await;
    sessions[1]
        .query_drop("XA ROLLBACK 'dropped'")
        .await
        .unwrap();
    sessions[0].query_drop("XA COMMIT 'kept'").await.unwrap();
    run.start();
    let events = run.fence(&database, "item", 9).await;
    assert_eq!(ids(&events, "insert"), [4, 2]);
    run.crash().await;
}

#[tokio::test]
async fn a_truncated_table_is_told_to_every_partition_in_its_place() {
    let test = "a_truncated_table_is_told_to_every_partition_in_its_place";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.config.naming.partitions = 3;
    run.start();
    run.until_streaming(&database).await;
    database
        .run(
            "INSERT INTO item SELECT seq, '' FROM seq_1_to_30;\nTRUNCATE item;\n\
             INSERT INTO item SELECT seq, '' FROM seq_31_to_60",
        )
        .await;
    run.until_count("item", 63).await;
    for partition in 0..3 {
        let records = run.records("item", partition).await;
        let events: Vec<Value> = records
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap())
            .collect();
        let at = events
            .iter()
            .position(|event| event["op"] == "truncate")
            .unwrap();
        assert!(at > 0 && at + 1 < events.len(), "{events:?}");
        for (index, event) in events.iter().enumerate().filter(|(index, _)| *index != at) {
            let early = event["key"]["id"].as_i64().unwrap() <= 30;
            assert_eq!(early, index < at, "{event}");
        }
    }
    run.crash().await;
}
