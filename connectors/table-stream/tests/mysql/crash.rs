use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::harness::{Dice, crash_rounds};
use crate::rows::{TABLES, assert_equal_to_ledger, work};
use crate::run::Run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_of_the_connector_lose_nothing_and_repeat_nothing() {
    let test = "crashes_of_the_connector_lose_nothing_and_repeat_nothing";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLES).await;
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for seed in 1..=3 {
        let client = database.client().await;
        workers.push(tokio::spawn(work(client, seed, 500, stop.clone())));
    }
    let mut run = Run::of(&database, &["item"]);
    let mut dice = Dice::new(42);
    for _ in 0..crash_rounds() * 3 {
        run.start();
        tokio::time::sleep(Duration::from_millis(dice.below(400))).await;
        run.crash().await;
    }
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
    run.start();
    let events = run.fence(&database, "item", 1_000_000).await;
    assert!(events.len() > 500);
    assert_equal_to_ledger(&database, &events).await;
    run.crash().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_of_the_database_lose_nothing_and_repeat_nothing() {
    let test = "crashes_of_the_database_lose_nothing_and_repeat_nothing";
    let Some(mut database) = Database::find(test).await else {
        return;
    };
    database.run(TABLES).await;
    let mut run = Run::of(&database, &["item"]);
    let mut dice = Dice::new(7);
    run.start();
    for round in 0..crash_rounds() {
        let stop = CancellationToken::new();
        let mut workers = Vec::new();
        for seed in 1..=3 {
            let client = database.client().await;
            let seed = round * 10 + seed;
            workers.push(tokio::spawn(work(client, seed, 500, stop.clone())));
        }
        tokio::time::sleep(Duration::from_millis(200 + dice.below(800))).await;
        database.kill();
        stop.cancel();
        for worker in workers {
            worker.await.unwrap();
        }
        if dice.below(2) == 0 {
            run.crash().await;
            run.start();
        }
        database.start().await;
    }
    let events = run.fence(&database, "item", 1_000_000).await;
    assert!(events.len() > 500);
    assert_equal_to_ledger(&database, &events).await;
    run.crash().await;
}
