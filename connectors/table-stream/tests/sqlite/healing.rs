use connector_table_stream::SqliteSource;

use crate::file::File;
use crate::run::{Run, ops};

const ITEM: &str = "CREATE TABLE item (id INTEGER PRIMARY KEY); INSERT INTO item VALUES (1);";

#[tokio::test]
async fn another_file_in_its_place_is_a_gap_and_is_read_from_its_beginning() {
    let Some(file) =
        File::find("another_file_in_its_place_is_a_gap_and_is_read_from_its_beginning")
    else {
        return;
    };
    file.run(ITEM);
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    let (path, other) = (file.path(), file.path().with_extension("new"));
    file.run(&format!(
        "ATTACH '{}' AS new; CREATE TABLE new.item (id INTEGER PRIMARY KEY); INSERT INTO new.item VALUES (7)",
        other.display()
    ));
    std::fs::rename(&other, &path).unwrap();
    run.count("item", 3).await;
    file.run("INSERT INTO item VALUES (8)");
    let events = run.count("item", 4).await;
    assert_eq!(ops(&events), ["read 1", "gap", "read 7", "insert 8"]);
    run.crash().await;
}

#[tokio::test]
async fn an_older_copy_of_the_file_is_a_gap_even_when_it_went_on() {
    let Some(file) = File::find("an_older_copy_of_the_file_is_a_gap_even_when_it_went_on") else {
        return;
    };
    file.run(ITEM);
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    file.run("INSERT INTO item VALUES (2)");
    run.count("item", 2).await;
    run.crash().await;
    let (path, copy) = (file.path(), file.path().with_extension("copy"));
    file.run(&format!("VACUUM INTO '{}'", copy.display()));
    run.start();
    file.run("INSERT INTO item VALUES (3)");
    run.count("item", 3).await;
    run.crash().await;
    std::fs::rename(&copy, &path).unwrap();
    // As many changes as were made before, and one more.
    file.run("INSERT INTO item VALUES (4); INSERT INTO item VALUES (5)");
    run.start();
    run.until("item", |events| events.last().unwrap()["key"]["id"] == 5)
        .await;
    let events = run.fence(&file, "item", 9).await;
    let expected = [
        "read 1", "insert 2", "insert 3", "gap", "read 1", "read 2", "read 4", "read 5",
    ];
    assert_eq!(ops(&events), expected);
    run.crash().await;
}

#[tokio::test]
async fn changes_that_somebody_removed_are_a_gap() {
    let Some(file) = File::find("changes_that_somebody_removed_are_a_gap") else {
        return;
    };
    file.run(ITEM);
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    run.crash().await;
    file.run(
        "INSERT INTO item VALUES (2); INSERT INTO item VALUES (3);
         DELETE FROM _tidemill_changes WHERE change = (SELECT max(change) - 1 FROM _tidemill_changes)",
    );
    run.start();
    run.count("item", 5).await;
    let events = run.fence(&file, "item", 9).await;
    assert_eq!(
        ops(&events),
        ["read 1", "gap", "read 1", "read 2", "read 3"]
    );
    run.crash().await;
}

#[tokio::test]
async fn a_file_that_another_connector_reads_is_refused_to_the_first() {
    let Some(file) = File::find("a_file_that_another_connector_reads_is_refused_to_the_first")
    else {
        return;
    };
    file.run(ITEM);
    let mut first = Run::of(&file, &[]);
    first.start();
    first.count("item", 1).await;
    let mut second = Run::of(&file, &[]);
    second.start();
    second.count("item", 1).await;
    file.run("INSERT INTO item VALUES (2)");
    assert_eq!(ops(&second.count("item", 2).await), ["read 1", "insert 2"]);
    let reason = first.given_up().await;
    assert!(
        reason.contains("another connector has attached it"),
        "{reason}"
    );
    second.crash().await;
}

#[tokio::test]
async fn a_detached_file_is_as_it_was() {
    let Some(file) = File::find("a_detached_file_is_as_it_was") else {
        return;
    };
    file.run(ITEM);
    let before = file.run("SELECT * FROM sqlite_schema");
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    run.crash().await;
    assert_ne!(file.run("SELECT * FROM sqlite_schema"), before);
    SqliteSource::detach(&file.path()).unwrap();
    assert_eq!(file.run("SELECT * FROM sqlite_schema"), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let Some(file) = File::find("a_file_that_is_no_database_is_refused") else {
        return;
    };
    std::fs::write(file.path(), [b'x'; 4096]).unwrap();
    let mut run = Run::of(&file, &[]);
    run.start();
    let reason = run.given_up().await;
    assert!(reason.contains("not a database"), "{reason}");
}
