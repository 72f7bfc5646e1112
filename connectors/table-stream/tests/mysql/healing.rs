use mysql_async::prelude::Queryable as _;

use crate::database::Database;
use crate::run::{Run, folded, steps};

const TABLE: &str = "CREATE TABLE item (id int PRIMARY KEY, note text);
INSERT INTO item VALUES (1, 'a'), (2, 'b'), (3, 'c')";
const UNSEEN: &str = "DELETE FROM item WHERE id = 1;
UPDATE item SET note = 'B' WHERE id = 2;
INSERT INTO item VALUES (4, 'd')";

/// Reads the table, has `lose` done while nobody reads, and looks for the gap and the rows after it.
async fn heals(test: &str, lose: &str) {
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 3).await;
    run.until_streaming(&database).await;
    run.crash().await;
    // The server keeps what somebody still reads.
    run.until_gone(&database).await;
    database.run(UNSEEN).await;
    database.run(lose).await;
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
    assert_eq!(folded(&events), [2, 3, 4]);
    // Later changes have later numbers, across the gap too.
    let numbers: Vec<String> = events
        .iter()
        .map(|event| format!("{:0>50}", event["sequence"].as_str().unwrap()))
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    run.crash().await;
}

#[tokio::test]
async fn log_that_was_removed_is_announced_and_healed() {
    // The server lets go of a file some time after it was told to begin another one.
    let lose = "FLUSH BINARY LOGS;\nDO SLEEP(1);\nPURGE BINARY LOGS TO 'binlog.000002'";
    heals("log_that_was_removed_is_announced_and_healed", lose).await;
}

#[tokio::test]
async fn log_that_was_begun_anew_is_announced_and_healed() {
    // The new file has the old one's name, and is as long by the time it is looked at.
    let lose = "DO SLEEP(1.1);\nRESET MASTER;\nCREATE TABLE noise (text longtext);\n\
                INSERT INTO noise SELECT repeat('x', 10000) FROM seq_1_to_10";
    heals("log_that_was_begun_anew_is_announced_and_healed", lose).await;
}

#[tokio::test]
async fn statements_in_the_place_of_rows_are_announced_and_healed() {
    let test = "statements_in_the_place_of_rows_are_announced_and_healed";
    heals_what_a_client_writes(test, "SET SESSION binlog_format = STATEMENT").await;
}

#[tokio::test]
async fn rows_without_all_of_their_columns_are_announced_and_healed() {
    let test = "rows_without_all_of_their_columns_are_announced_and_healed";
    heals_what_a_client_writes(test, "SET SESSION binlog_row_image = MINIMAL").await;
}

/// A client whose changes are not logged as they are to be, since it has said `setting`.
async fn heals_what_a_client_writes(test: &str, setting: &str) {
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLE).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 3).await;
    run.until_streaming(&database).await;
    let mut client = database.client().await;
    for statement in [setting, "DELETE FROM item WHERE id = 1"] {
        client.query_drop(statement).await.unwrap();
    }
    run.until("item", |event| event["op"] == "gap").await;
    let events = run.fence(&database, "item", 9).await;
    assert_eq!(folded(&events), [2, 3]);
    run.crash().await;
}
