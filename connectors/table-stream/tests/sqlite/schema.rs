use crate::file::File;
use crate::run::{Run, ops, steps};

#[tokio::test]
async fn a_new_column_is_told_with_what_was_written_before_it_was_noticed() {
    let Some(file) = File::find("a_new_column_is_told_with_what_was_written_before_it_was_noticed")
    else {
        return;
    };
    file.run(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, a); INSERT INTO item VALUES (1, 1), (2, 2)",
    );
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 2).await;
    run.crash().await;
    file.run(
        "ALTER TABLE item ADD COLUMN b DEFAULT 'x'; UPDATE item SET b = 'y' WHERE id = 1;
         INSERT INTO item VALUES (3, 3, 'x')",
    );
    run.start();
    run.count("item", 5).await;
    file.run("UPDATE item SET b = 'z' WHERE id = 2");
    let expected = [
        "read {id:1} - {a:1,id:1}",
        "read {id:2} - {a:2,id:2}",
        "modify {id:1} {a:1,id:1} {a:1,id:1}",
        "insert {id:3} - {a:3,id:3}",
        "modify {id:1} - {a:1,b:y,id:1}",
        "modify {id:2} {a:2,b:x,id:2} {a:2,b:z,id:2}",
    ];
    assert_eq!(steps(&run.count("item", 6).await), expected);
    run.crash().await;
}

#[tokio::test]
async fn renamed_columns_and_tables_go_on_under_their_new_names() {
    let Some(file) = File::find("renamed_columns_and_tables_go_on_under_their_new_names") else {
        return;
    };
    file.run("CREATE TABLE item (id INTEGER PRIMARY KEY, a); INSERT INTO item VALUES (1, 1)");
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    file.run("ALTER TABLE item RENAME COLUMN a TO b; CREATE TABLE fence (id INTEGER PRIMARY KEY)");
    file.run("INSERT INTO fence VALUES (1)");
    run.count("fence", 1).await;
    file.run("UPDATE item SET b = 2");
    let events = run.count("item", 2).await;
    assert_eq!(steps(&events)[1], "modify {id:1} {b:1,id:1} {b:2,id:1}");
    file.run("ALTER TABLE item RENAME TO thing; INSERT INTO thing VALUES (2, 2)");
    run.count("thing", 2).await;
    file.run("DELETE FROM thing WHERE id = 1");
    assert_eq!(
        ops(&run.count("thing", 3).await),
        ["read 1", "read 2", "remove 1"]
    );
    // What was written before it was noticed is still told under the old name.
    let old = run
        .until("item", |events| events.last().unwrap()["op"] == "truncate")
        .await;
    assert!(old.len() <= 4, "{old:?}");
    run.crash().await;
}

#[tokio::test]
async fn a_table_that_is_dropped_is_emptied_and_one_made_anew_is_read_again() {
    let Some(file) =
        File::find("a_table_that_is_dropped_is_emptied_and_one_made_anew_is_read_again")
    else {
        return;
    };
    file.run(
        "CREATE TABLE item (id INTEGER PRIMARY KEY); INSERT INTO item VALUES (1);
         CREATE TABLE gone (id INTEGER PRIMARY KEY); INSERT INTO gone VALUES (1)",
    );
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    run.count("gone", 1).await;
    file.run(
        "DROP TABLE gone; BEGIN; CREATE TABLE new (id INTEGER PRIMARY KEY, a);
         INSERT INTO new SELECT id, 7 FROM item; INSERT INTO new VALUES (2, 7);
         DROP TABLE item; ALTER TABLE new RENAME TO item; COMMIT",
    );
    assert_eq!(ops(&run.count("gone", 2).await), ["read 1", "truncate"]);
    run.count("item", 4).await;
    file.run("DELETE FROM item WHERE id = 1; CREATE TABLE gone (id INTEGER PRIMARY KEY)");
    let expected = ["read 1", "gap", "read 1", "read 2", "remove 1"];
    assert_eq!(ops(&run.count("item", 5).await), expected);
    file.run("INSERT INTO gone VALUES (5)");
    assert!(["read 5", "insert 5"].contains(&ops(&run.count("gone", 3).await)[2].as_str()));
    run.crash().await;
}

#[tokio::test]
async fn a_column_is_dropped_by_way_of_dropping_triggers_and_the_table_is_read_again() {
    let Some(file) =
        File::find("a_column_is_dropped_by_way_of_dropping_triggers_and_the_table_is_read_again")
    else {
        return;
    };
    file.run("CREATE TABLE item (id INTEGER PRIMARY KEY, a, b); INSERT INTO item VALUES (1, 1, 1)");
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    let refused = file.try_run("ALTER TABLE item DROP COLUMN a");
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("_tidemill_"), "{text}");
    let names = file.run("SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema WHERE type = 'trigger'");
    file.run(&format!(
        "BEGIN; {names}; ALTER TABLE item DROP COLUMN a; COMMIT"
    ));
    let events = run.count("item", 3).await;
    assert_eq!(
        steps(&events)[1..],
        ["gap - - -", "read {id:1} - {b:1,id:1}"]
    );
    run.crash().await;
}

#[tokio::test]
async fn only_the_tables_that_were_named_are_read_and_they_must_exist() {
    let Some(file) = File::find("only_the_tables_that_were_named_are_read_and_they_must_exist")
    else {
        return;
    };
    file.run(
        "CREATE TABLE item (id INTEGER PRIMARY KEY); CREATE TABLE other (id INTEGER PRIMARY KEY);
         CREATE VIEW seen AS SELECT * FROM item; INSERT INTO item VALUES (1); INSERT INTO other VALUES (1)",
    );
    let mut run = Run::of(&file, &["ITEM"]);
    run.start();
    assert_eq!(ops(&run.fence(&file, "item", 9).await), ["read 1"]);
    assert!(run.events("other").await.is_empty());
    let on_other =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'other'";
    assert_eq!(file.run(on_other), "0");
    run.crash().await;
    for missing in ["none", "seen"] {
        let mut run = Run::of(&file, &[missing]);
        run.start();
        let reason = run.given_up().await;
        assert!(
            reason.contains(&format!("read table {missing}")),
            "{reason}"
        );
    }
}
