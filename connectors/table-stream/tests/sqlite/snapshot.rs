use std::io::Write as _;

use crate::file::File;
use crate::ledger::{Dice, TABLES, assert_equal_to_ledger, fill, work};
use crate::run::Run;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_and_the_changes_after_it_leave_no_gap_and_do_not_overlap() {
    let test = "a_snapshot_and_the_changes_after_it_leave_no_gap_and_do_not_overlap";
    for mode in ["WAL", "DELETE"] {
        let Some(file) = File::find(test) else {
            return;
        };
        file.run(&format!(
            "PRAGMA journal_mode = {mode}; {TABLES} {}",
            fill(2_000)
        ));
        let mut writer = file.writer();
        let mut dice = Dice::new(3);
        let mut input = writer.stdin.take().unwrap();
        let feed = std::thread::spawn(move || {
            for _ in 0..400 {
                input.write_all(work(&mut dice, 2_000).as_bytes()).unwrap();
            }
        });
        let mut run = Run::of(&file, &["item"]);
        // Each part of the snapshot is cut off while the rows behind it still change.
        for rows in [300, 900, 1_500] {
            run.start();
            run.until("item", |events| {
                events
                    .iter()
                    .any(|event| event["key"]["id"].as_i64() > Some(rows))
            })
            .await;
            run.crash().await;
        }
        run.start();
        feed.join().unwrap();
        assert!(writer.wait().unwrap().success());
        let events = run.fence(&file, "item", 1_000_000).await;
        let reads = events.iter().filter(|event| event["op"] == "read").count();
        assert!(reads > 500, "only {reads} rows were read");
        assert_equal_to_ledger(&file, &events);
        run.crash().await;
    }
}

#[tokio::test]
async fn keys_of_every_kind_are_read_in_an_order_that_can_be_resumed() {
    let Some(file) = File::find("keys_of_every_kind_are_read_in_an_order_that_can_be_resumed")
    else {
        return;
    };
    // Values of all classes in one key, and a collation by which some of them would be equal.
    file.run(
        "CREATE TABLE keyed (n, name TEXT COLLATE NOCASE, at, PRIMARY KEY (name, at DESC)) WITHOUT ROWID;
         WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 700)
         INSERT INTO keyed SELECT n, char(65 + n % 57) || n / 7, CASE n % 4 WHEN 0 THEN n WHEN 1 THEN n / 3.0
            WHEN 2 THEN 'T' || n ELSE CAST(n AS BLOB) END FROM n;",
    );
    let mut run = Run::of(&file, &["keyed"]);
    for rows in [100, 300, 500] {
        run.start();
        run.count("keyed", rows).await;
        run.crash().await;
        // Each is in the next part, or among the changes, and never in both.
        file.run("UPDATE keyed SET n = n + 1000");
    }
    run.start();
    run.until("keyed", |events| {
        events.iter().filter(|event| event["op"] == "read").count() == 700
    })
    .await;
    file.run("INSERT INTO keyed VALUES (-1, 'last', 1)");
    let last = |event: &serde_json::Value| event["after"]["n"] == -1;
    let events = run
        .until("keyed", |events| events.last().is_some_and(last))
        .await;
    let mut rows = std::collections::BTreeMap::new();
    for event in &events {
        let n = event["after"]["n"].as_i64().unwrap();
        let before = rows.insert(event["key"].to_string(), n);
        let expected = match event["op"].as_str().unwrap() {
            "modify" => Some(n - 1000),
            _ => None,
        };
        assert_eq!(before, expected, "{event}");
    }
    assert_eq!(rows.len(), 701);
    assert!(rows.values().all(|n| *n == -1 || *n > 3_000), "{rows:?}");
    run.crash().await;
}
