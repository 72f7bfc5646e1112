use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::rows::{TABLES, assert_equal_to_ledger, work};
use crate::run::Run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_stream_after_it_leave_no_gap_and_do_not_overlap() {
    let test = "a_snapshot_and_the_stream_after_it_leave_no_gap_and_do_not_overlap";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLES).await;
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for seed in 1..=3 {
        let client = database.client().await;
        workers.push(tokio::spawn(work(client, seed, 2_000, stop.clone())));
    }
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["op"] == "modify").await;
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    let events = run.fence(&database, "item", 1_000_000).await;
    let reads = events.iter().filter(|event| event["op"] == "read").count();
    assert!(reads > 300, "only {reads} rows were read");
    assert_equal_to_ledger(&database, &events).await;
    run.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_behind_the_last_row_whatever_was_changed_meanwhile() {
    let test = "a_snapshot_goes_on_behind_the_last_row_whatever_was_changed_meanwhile";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLES).await;
    database
        .run("INSERT INTO item SELECT seq, NEXTVAL(notes), 'x' FROM seq_500_to_2999")
        .await;
    let mut run = Run::of(&database, &["item"]);
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for seed in 1..=2 {
        let client = database.client().await;
        workers.push(tokio::spawn(work(client, seed, 3_000, stop.clone())));
    }
    // Three snapshots, each cut off while the rows behind it still change.
    for rows in [500, 1_200, 2_000] {
        run.start();
        let read = |event: &serde_json::Value| event["key"]["id"].as_i64() > Some(rows);
        run.until("item", read).await;
        run.crash().await;
    }
    run.start();
    run.until("item", |event| event["op"] == "modify").await;
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    let events = run.fence(&database, "item", 1_000_000).await;
    assert_equal_to_ledger(&database, &events).await;
    run.crash().await;
}
