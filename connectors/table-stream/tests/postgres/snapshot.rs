use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::rows::{TABLES, assert_equal_to_ledger, work};
use crate::run::{Run, steps};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_stream_after_it_leave_no_gap_and_do_not_overlap() {
    let test = "a_snapshot_and_the_stream_after_it_leave_no_gap_and_do_not_overlap";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLES).await;
    let fill = "INSERT INTO item SELECT n, nextval('notes'), 'x' FROM generate_series(0, 1999) n";
    database.run(fill).await;
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for seed in 1..=3 {
        let client = database.another().await;
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
    assert!(reads > 500, "only {reads} rows were read");
    assert_equal_to_ledger(&database, &events).await;
    run.crash().await;
    database.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_goes_on_behind_the_last_row_whatever_was_changed_meanwhile() {
    let test = "a_snapshot_goes_on_behind_the_last_row_whatever_was_changed_meanwhile";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLES).await;
    let fill = "INSERT INTO item SELECT n, nextval('notes'), 'x' FROM generate_series(0, 2999) n";
    database.run(fill).await;
    let mut run = Run::of(&database, &["item"]);
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for seed in 1..=2 {
        let client = database.another().await;
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
    database.remove().await;
}

#[tokio::test]
async fn keys_of_every_type_are_read_in_an_order_that_can_be_resumed() {
    let test = "keys_of_every_type_are_read_in_an_order_that_can_be_resumed";
    let Some(database) = Database::find(test).await else {
        return;
    };
    // A collation of its own, a key of two columns in another order than the table's, and texts that
    // a cast writes differently from the stream.
    let sql = "
        CREATE TABLE keyed (n int, flag bool, name text COLLATE \"en-x-icu\", at timestamptz,
            address inet, padded char(5), PRIMARY KEY (name, flag, address, padded, at));
        INSERT INTO keyed SELECT n, n % 2 = 0, chr(65 + n % 40) || n / 7, to_timestamp(n * 100000),
            ('10.0.0.' || n % 200)::inet, n FROM generate_series(1, 700) n;";
    if database.client.batch_execute(sql).await.is_err() {
        database
            .run(&sql.replace(" COLLATE \"en-x-icu\"", ""))
            .await;
    }
    let mut run = Run::of(&database, &["keyed"]);
    let n = |event: &serde_json::Value| event["after"]["n"].as_i64().unwrap();
    for rows in [100, 300, 500] {
        run.start();
        while run.events_if_any("keyed").await.len() < rows {
            tokio::task::yield_now().await;
        }
        run.crash().await;
        // Each is seen by the next snapshot, and must come from one side only.
        database.run("UPDATE keyed SET n = n + 1000").await;
    }
    run.start();
    // From here on it is the stream.
    run.until("keyed", |event| event["op"] == "modify").await;
    database
        .run("INSERT INTO keyed VALUES (-1, true, 'last', now(), '::1', '')")
        .await;
    let events = run.until("keyed", |event| n(event) == -1).await;
    let mut last = std::collections::BTreeMap::new();
    for event in &events {
        let before = last.insert(event["key"].to_string(), n(event));
        let expected = if event["op"] == "modify" {
            before.map(|n| n + 1000)
        } else {
            None
        };
        match event["op"].as_str().unwrap() {
            "modify" => assert_eq!(Some(n(event)), expected, "{event}"),
            _ => assert_eq!(before, None, "{event}"),
        }
    }
    assert_eq!(last.len(), 701);
    assert!(last.values().all(|n| *n == -1 || *n > 3_000), "{last:?}");
    run.crash().await;
    database.remove().await;
}

#[tokio::test]
async fn a_table_that_joins_later_is_read_from_its_beginning() {
    let test = "a_table_that_joins_later_is_read_from_its_beginning";
    let Some(database) = Database::find(test).await else {
        return;
    };
    let sql = "CREATE TABLE old (id int PRIMARY KEY); INSERT INTO old VALUES (1);
               CREATE TABLE young (id int PRIMARY KEY); INSERT INTO young VALUES (1), (2)";
    database.run(sql).await;
    let mut run = Run::of(&database, &["old"]);
    run.start();
    run.until("old", |event| event["key"]["id"] == 1).await;
    let publication = run.config.publication();
    database
        .run(&format!("ALTER PUBLICATION {publication} ADD TABLE young"))
        .await;
    // One transaction with the old table: its changes come once, on either side of the snapshot.
    database
        .run("BEGIN; INSERT INTO old VALUES (2); INSERT INTO young VALUES (3); INSERT INTO old VALUES (3); COMMIT")
        .await;
    let events = run.fence(&database, "young", 9).await;
    let read = |id| ("read".to_owned(), id);
    assert_eq!(steps(&events), [read(1), read(2), read(3)]);
    let events = run.fence(&database, "old", 9).await;
    let insert = |id| ("insert".to_owned(), id);
    assert_eq!(steps(&events), [read(1), insert(2), insert(3)]);
    run.crash().await;
    database.remove().await;
}

#[tokio::test]
async fn a_table_emptied_between_two_parts_of_its_snapshot_is_read_again() {
    let test = "a_table_emptied_between_two_parts_of_its_snapshot_is_read_again";
    let Some(database) = Database::find(test).await else {
        return;
    };
    let sql = "CREATE TABLE item (id int PRIMARY KEY);
               INSERT INTO item SELECT n FROM generate_series(1, 1000) n";
    database.run(sql).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 100).await;
    run.crash().await;
    let before = run.events("item").await.len();
    assert!(before < 1_000, "all of it was read");
    database.run("TRUNCATE item").await;
    let later = "INSERT INTO item SELECT n FROM generate_series(1, 5) n UNION SELECT 2000";
    database.run(later).await;
    run.start();
    run.until("item", |event| event["op"] == "gap").await;
    let events = run.fence(&database, "item", 9_999).await;
    let gap = steps(&events)
        .iter()
        .rposition(|(op, _)| op == "gap")
        .unwrap();
    let read = |id| ("read".to_owned(), id);
    assert_eq!(
        steps(&events)[gap + 1..],
        [read(1), read(2), read(3), read(4), read(5), read(2000)]
    );
    run.crash().await;
    database.remove().await;
}
