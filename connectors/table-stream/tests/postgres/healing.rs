use std::time::Duration;

use serde_json::Value;

use crate::database::{Database, Server};
use crate::run::{Run, steps};

/// The rows that are there after all events, by id.
fn folded(events: &[Value]) -> Vec<(i64, String)> {
    let mut rows = std::collections::BTreeMap::new();
    for event in events {
        let id = event["key"]["id"].as_i64().unwrap_or(-1);
        match event["op"].as_str().unwrap() {
            "gap" | "truncate" => rows.clear(),
            "remove" => drop(rows.remove(&id)),
            _ => drop(rows.insert(id, event["after"].to_string())),
        }
    }
    rows.into_iter().collect()
}

async fn drop_slot(database: &Database, slot: &str) {
    let drop = format!("SELECT pg_drop_replication_slot('{slot}')");
    for _ in 0..100 {
        if database.client.batch_execute(&drop).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{slot} is still in use");
}

const TABLE: &str = "CREATE TABLE item (id int PRIMARY KEY, note text);
                     INSERT INTO item VALUES (1, 'a'), (2, 'b'), (3, 'c')";
const UNSEEN: &str = "DELETE FROM item WHERE id = 1; UPDATE item SET note = 'B' WHERE id = 2;
                      INSERT INTO item VALUES (4, 'd')";

#[tokio::test]
async fn a_dropped_slot_is_announced_and_healed() {
    let Some(database) = Database::find("a_dropped_slot_is_announced_and_healed").await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 3).await;
    run.crash().await;
    drop_slot(&database, &run.config.slot()).await;
    database.run(UNSEEN).await;
    run.start();
    run.until("item", |event| event["op"] == "gap").await;
    let events = run.fence(&database, "item", 9).await;
    let step = |op: &str, id| (op.to_owned(), id);
    assert_eq!(
        steps(&events)[3..],
        [
            step("gap", -1),
            step("read", 2),
            step("read", 3),
            step("read", 4)
        ]
    );
    let rows = folded(&events);
    assert_eq!(
        rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    // Later changes have later numbers, across the gap too.
    let numbers: Vec<String> = events
        .iter()
        .map(|event| format!("{:0>50}", event["sequence"].as_str().unwrap()))
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    run.crash().await;
    database.remove().await;
}

#[tokio::test]
async fn a_slot_made_anew_by_somebody_else_is_announced_and_healed() {
    let test = "a_slot_made_anew_by_somebody_else_is_announced_and_healed";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 3).await;
    run.crash().await;
    let slot = run.config.slot();
    drop_slot(&database, &slot).await;
    database.run(UNSEEN).await;
    let create = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    database.run(&create).await;
    // After the slot was made and before it is read: in the stream and in the snapshot.
    database
        .run("UPDATE item SET note = 'D' WHERE id = 4")
        .await;
    run.start();
    let events = run.fence(&database, "item", 9).await;
    let step = |op: &str, id| (op.to_owned(), id);
    assert_eq!(
        steps(&events)[3..],
        [
            step("gap", -1),
            step("read", 2),
            step("read", 3),
            step("read", 4)
        ]
    );
    run.crash().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_whose_log_was_removed_is_announced_and_healed() {
    let test = "a_slot_whose_log_was_removed_is_announced_and_healed";
    let settings = [
        "max_slot_wal_keep_size = 16MB",
        "min_wal_size = 32MB",
        "max_wal_size = 48MB",
    ];
    let Some(server) = Server::find(test, &settings).await else {
        return;
    };
    let database = Database::on(&server.address()).await;
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 3).await;
    run.crash().await;
    database.run(UNSEEN).await;
    database.run("CREATE TABLE noise (text text)").await;
    let lost = format!(
        "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '{}'",
        run.config.slot()
    );
    for _ in 0..40 {
        database
            .run("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 8000)")
            .await;
        database.run("SELECT pg_switch_wal()").await;
        database.run("CHECKPOINT").await;
        if database.text(&lost).await == "lost" {
            break;
        }
    }
    assert_eq!(database.text(&lost).await, "lost");
    run.start();
    let events = run.fence(&database, "item", 9).await;
    let rows = folded(&events);
    assert_eq!(
        rows.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    assert!(steps(&events).contains(&("gap".to_owned(), -1)));
    run.crash().await;
}
