use serde_json::Value;

use crate::database::{Database, Server};
use crate::run::{Run, steps};

const TABLE: &str = "CREATE TABLE item (id int PRIMARY KEY, note text)";

fn ids(events: &[Value], op: &str) -> Vec<i64> {
    let of = steps(events).into_iter().filter(|(found, _)| found == op);
    of.map(|(_, id)| id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transaction_is_streamed_and_comes_whole_in_commit_order() {
    let test = "a_large_transaction_is_streamed_and_comes_whole_in_commit_order";
    // Every transaction above 64 KiB is sent while it runs.
    let Some(server) = Server::find(test, &["logical_decoding_work_mem = 64kB"]).await else {
        return;
    };
    let database = Database::on(&server.address()).await;
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.max_bytes = 1 << 16;
    run.start();
    run.until_streaming(&database).await;
    database.run("INSERT INTO item VALUES (0)").await;
    run.until("item", |event| event["key"]["id"] == 0).await;
    let rows = |from: u32, to: u32| {
        format!("INSERT INTO item SELECT n, repeat('x', 100) FROM generate_series({from}, {to}) n;")
    };
    let large = database.another().await;
    large.batch_execute("BEGIN").await.unwrap();
    large.batch_execute(&rows(1, 20_000)).await.unwrap();
    let aborted = format!("SAVEPOINT s; {} ROLLBACK TO s;", rows(100_001, 110_000));
    large.batch_execute(&aborted).await.unwrap();
    let kept = format!("SAVEPOINT t; {} RELEASE t;", rows(20_001, 30_000));
    large.batch_execute(&kept).await.unwrap();
    // Small ones commit in between, and a second large one is rolled back.
    database.run("INSERT INTO item VALUES (-1)").await;
    database
        .run(&format!("BEGIN; {} ROLLBACK", rows(200_001, 210_000)))
        .await;
    let early = run.until("item", |event| event["key"]["id"] == -1).await;
    assert_eq!(early.len(), 2, "nothing of what had not committed");
    large.batch_execute(&rows(30_001, 30_010)).await.unwrap();
    large.batch_execute("COMMIT").await.unwrap();
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
    let streamed: i64 = database
        .client
        .query_one(
            "SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = $1",
            &[&run.config.slot()],
        )
        .await
        .unwrap()
        .get(0);
    assert!(streamed > 0, "nothing was streamed");
    run.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_transaction_comes_when_it_is_committed() {
    let test = "a_prepared_transaction_comes_when_it_is_committed";
    let Some(server) = Server::find(test, &[]).await else {
        return;
    };
    let database = Database::on(&server.address()).await;
    database.run(TABLE).await;
    database
        .run("BEGIN; INSERT INTO item VALUES (1); PREPARE TRANSACTION 'before'")
        .await;
    let mut run = Run::of(&database, &["item"]);
    // The slot waits for what is in progress; what is prepared goes on.
    database.run("COMMIT PREPARED 'before'").await;
    run.start();
    run.until("item", |event| event["key"]["id"] == 1).await;
    database
        .run("BEGIN; INSERT INTO item VALUES (2); PREPARE TRANSACTION 'kept'")
        .await;
    database
        .run("BEGIN; INSERT INTO item VALUES (3); PREPARE TRANSACTION 'dropped'")
        .await;
    database.run("INSERT INTO item VALUES (4)").await;
    run.until("item", |event| event["key"]["id"] == 4).await;
    run.crash().await;
    database.run("ROLLBACK PREPARED 'dropped'; ").await;
    database.run("COMMIT PREPARED 'kept'").await;
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
        .run("INSERT INTO item SELECT n FROM generate_series(1, 30) n")
        .await;
    database.run("TRUNCATE item").await;
    database
        .run("INSERT INTO item SELECT n FROM generate_series(31, 60) n")
        .await;
    run.until_count("item", 63).await;
    for partition in 0..3 {
        let records = run.records("item", partition).await;
        let ops: Vec<String> = records
            .iter()
            .map(|record| {
                let event: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
                event["op"].as_str().unwrap().to_owned()
            })
            .collect();
        let at = ops.iter().position(|op| op == "truncate").unwrap();
        assert_eq!(ops.iter().filter(|op| *op == "truncate").count(), 1);
        let before = records[..at].iter().chain(&records[at + 1..]);
        assert!(at > 0 && at + 1 < ops.len(), "{ops:?}");
        for (index, record) in before.enumerate() {
            let event: Value = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
            let early = event["key"]["id"].as_i64().unwrap() <= 30;
            assert_eq!(early, index < at);
        }
    }
    run.crash().await;
    database.remove().await;
}

#[tokio::test]
async fn the_slot_moves_only_with_what_is_in_the_log() {
    let test = "the_slot_moves_only_with_what_is_in_the_log";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until_streaming(&database).await;
    let before = database.text("SELECT pg_current_wal_lsn()::text").await;
    database.run("INSERT INTO item VALUES (1)").await;
    run.until("item", |event| event["key"]["id"] == 1).await;
    run.until_acknowledged(&database, &before).await;
    // Somebody else's writes do not hold the server's log for ever.
    database.run("CREATE TABLE noise (text text)").await;
    database
        .run("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 4000)")
        .await;
    let end = database.text("SELECT pg_current_wal_lsn()::text").await;
    let moved = format!(
        "SELECT (confirmed_flush_lsn > '{end}'::pg_lsn - 2000000)::text FROM pg_replication_slots WHERE slot_name = '{}'",
        run.config.slot()
    );
    run.until_true(&database, &moved).await;
    run.crash().await;
    // Never further than the log says.
    let position = run.log.position(&run.id()).unwrap();
    let text = String::from_utf8_lossy(&position.as_bytes()[28..]).into_owned();
    let state: Value = serde_json::from_str(&text).unwrap();
    let ahead = format!(
        "SELECT (confirmed_flush_lsn - '0/0'::pg_lsn <= {})::text FROM pg_replication_slots WHERE slot_name = '{}'",
        state["flushed"],
        run.config.slot()
    );
    assert_eq!(database.text(&ahead).await, "true");
    database.remove().await;
}
