use crate::file::File;
use crate::run::{Run, ops, steps};

#[tokio::test]
async fn every_change_tells_the_row_before_and_after_it() {
    let Some(file) = File::find("every_change_tells_the_row_before_and_after_it") else {
        return;
    };
    file.run("CREATE TABLE item (id INTEGER PRIMARY KEY, n); INSERT INTO item VALUES (1, 1)");
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 1).await;
    file.run(
        "INSERT INTO item VALUES (2, 1); UPDATE item SET n = 2 WHERE id = 1;
         UPDATE item SET id = 3 WHERE id = 2; DELETE FROM item WHERE id = 1;
         BEGIN; INSERT INTO item VALUES (8, 1); ROLLBACK; DELETE FROM item",
    );
    let events = run.count("item", 7).await;
    let expected = [
        "read {id:1} - {id:1,n:1}",
        "insert {id:2} - {id:2,n:1}",
        "modify {id:1} {id:1,n:1} {id:1,n:2}",
        "remove {id:2} {id:2,n:1} -",
        "insert {id:3} - {id:3,n:1}",
        "remove {id:1} {id:1,n:2} -",
        "remove {id:3} {id:3,n:1} -",
    ];
    assert_eq!(steps(&events), expected);
    assert_eq!(events[0]["schema"], "main");
    assert_eq!(events[0]["table"], "item");
    run.crash().await;
}

#[tokio::test]
async fn values_of_every_storage_class_arrive_exactly() {
    let Some(file) = File::find("values_of_every_storage_class_arrive_exactly") else {
        return;
    };
    let values = "(1, NULL), (2, 9223372036854775807), (3, -9223372036854775808), (4, 0.1),
        (5, 1e300), (6, 9e999), (7, 'é\"\n'), (8, x'00ff'), (9, CAST(x'610062' AS TEXT)),
        (10, CAST(x'ff' AS TEXT)), (11, -1.5), (12, '')";
    file.run(&format!(
        "CREATE TABLE kept (id INTEGER PRIMARY KEY, v, twice AS (id * 2)); CREATE TABLE item (id INTEGER PRIMARY KEY, v);
         INSERT INTO item VALUES {values}; INSERT INTO kept VALUES (1, 1)"
    ));
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("item", 12).await;
    run.count("kept", 1).await;
    file.run(&format!(
        "DELETE FROM item; INSERT INTO item VALUES {values}; UPDATE kept SET v = 2"
    ));
    let events = run.count("item", 36).await;
    let expected = [
        serde_json::json!(null),
        serde_json::json!(i64::MAX),
        serde_json::json!(i64::MIN),
        serde_json::json!(0.1),
        serde_json::json!(1e300),
        serde_json::json!("Infinity"),
        serde_json::json!("é\"\n"),
        serde_json::json!("AP8="),
        serde_json::json!("a\0b"),
        serde_json::json!("/w=="),
        serde_json::json!(-1.5),
        serde_json::json!(""),
    ];
    for (index, event) in events.iter().enumerate() {
        let (image, expected) = match index {
            12..24 => ("before", &expected[index - 12]),
            _ => ("after", &expected[index % 12]),
        };
        assert_eq!(event[image]["v"], *expected, "{event}");
    }
    let computed = run.count("kept", 2).await;
    let expected = "modify {id:1} {id:1,twice:2,v:1} {id:1,twice:2,v:2}";
    assert_eq!(steps(&computed)[1], expected);
    run.crash().await;
}

#[tokio::test]
async fn rows_of_tables_of_every_kind_have_their_keys() {
    let Some(file) = File::find("rows_of_tables_of_every_kind_have_their_keys") else {
        return;
    };
    file.run(
        "CREATE TABLE named (name TEXT PRIMARY KEY, n);
         CREATE TABLE bare (n);
         CREATE TABLE pair (a, n, b TEXT COLLATE NOCASE, PRIMARY KEY (b, a)) WITHOUT ROWID;
         CREATE TABLE \"odd name\" (a); CREATE TABLE odd (\"a b\" INTEGER PRIMARY KEY, \"x\"\"y\")",
    );
    let mut run = Run::of(&file, &[]);
    run.start();
    file.run("INSERT INTO odd VALUES (1, 1)");
    run.count("odd", 1).await;
    file.run(
        "INSERT INTO named VALUES ('a', 1); UPDATE named SET name = 'b'; UPDATE named SET n = 2;
         UPDATE named SET rowid = 7; INSERT INTO bare VALUES (1); UPDATE bare SET n = 2;
         DELETE FROM bare; INSERT INTO pair VALUES (1, 1, 'x'), (2, 1, 'X');
         UPDATE pair SET n = 2 WHERE a = 1; UPDATE pair SET a = 3 WHERE a = 2; DELETE FROM pair;
         DELETE FROM odd",
    );
    let named = [
        "insert {name:a} - {n:1,name:a}",
        "remove {name:a} {n:1,name:a} -",
        "insert {name:b} - {n:1,name:b}",
        "modify {name:b} {n:1,name:b} {n:2,name:b}",
        "modify {name:b} {n:2,name:b} {n:2,name:b}",
    ];
    assert_eq!(steps(&run.count("named", 5).await), named);
    let bare = [
        "insert {rowid:1} - {n:1,rowid:1}",
        "modify {rowid:1} {n:1,rowid:1} {n:2,rowid:1}",
        "remove {rowid:1} {n:2,rowid:1} -",
    ];
    assert_eq!(steps(&run.count("bare", 3).await), bare);
    let pair = [
        "insert {a:1,b:x} - {a:1,b:x,n:1}",
        "insert {a:2,b:X} - {a:2,b:X,n:1}",
        "modify {a:1,b:x} {a:1,b:x,n:1} {a:1,b:x,n:2}",
        "remove {a:2,b:X} {a:2,b:X,n:1} -",
        "insert {a:3,b:X} - {a:3,b:X,n:1}",
        "remove {a:1,b:x} {a:1,b:x,n:2} -",
        "remove {a:3,b:X} {a:3,b:X,n:1} -",
    ];
    assert_eq!(steps(&run.count("pair", 7).await), pair);
    let odd = run.count("odd", 2).await;
    assert_eq!(odd[1]["before"], serde_json::json!({"a b": 1, "x\"y": 1}));
    run.crash().await;
}

#[tokio::test]
async fn a_row_that_is_replaced_is_removed_once_whatever_replaced_it() {
    let Some(file) = File::find("a_row_that_is_replaced_is_removed_once_whatever_replaced_it")
    else {
        return;
    };
    file.run(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n);
         CREATE TABLE pair (id TEXT, code TEXT UNIQUE, n, PRIMARY KEY (id)) WITHOUT ROWID",
    );
    let mut run = Run::of(&file, &[]);
    run.start();
    file.run("INSERT INTO item VALUES (0, 'z', 0); INSERT INTO pair VALUES ('0', 'z', 0)");
    run.count("item", 1).await;
    let work = |table: &str| {
        format!(
            "INSERT INTO {table} VALUES (1, 'a', 1), (2, 'b', 1), (3, 'c', 1);
             REPLACE INTO {table} VALUES (1, 'a', 2);
             REPLACE INTO {table} VALUES (4, 'a', 3);
             REPLACE INTO {table} VALUES (2, 'a', 4);
             UPDATE OR REPLACE {table} SET id = 3, n = 5 WHERE id = 2;
             INSERT OR IGNORE INTO {table} VALUES (3, 'q', 6), (9, 'a', 6);
             INSERT INTO {table} VALUES (3, 'q', 7) ON CONFLICT (id) DO UPDATE SET n = 7;
             INSERT INTO {table} VALUES (8, 'a', 7) ON CONFLICT DO NOTHING;
             INSERT OR REPLACE INTO {table} SELECT id, code, 8 FROM {table} WHERE n > 0;
             DELETE FROM {table} WHERE n > 0;"
        )
    };
    let id = |row: &str| {
        row.split_once(' ')
            .map(|(op, rest)| (op.to_owned(), rest.to_owned()))
    };
    let expected = [
        "insert 1a1",
        "insert 2b1",
        "insert 3c1",
        "remove 1a1",
        "insert 1a2",
        "remove 1a2",
        "insert 4a3",
        "remove 2b1",
        "remove 4a3",
        "insert 2a4",
        "remove 3c1",
        "remove 2a4",
        "insert 3a5",
        "modify 3a7",
        "remove 3a7",
        "insert 3a8",
        "remove 3a8",
    ];
    let mut count = 1;
    for pragma in ["", "PRAGMA recursive_triggers = ON;"] {
        for table in ["item", "pair"] {
            file.run(&format!("{pragma} {}", work(table)));
            let events = run.count(table, count + expected.len()).await;
            let found: Vec<String> = events[count..]
                .iter()
                .map(|event| {
                    let row = match event["op"].as_str() {
                        Some("remove") => &event["before"],
                        _ => &event["after"],
                    };
                    let text = format!("{} {}{}{}", event["op"], row["id"], row["code"], row["n"]);
                    text.replace('"', "")
                })
                .collect();
            // Which of two rows in the way goes first is nobody's promise.
            let mut expected = expected.map(id).to_vec();
            let mut found: Vec<_> = found.iter().map(|row| id(row)).collect();
            expected[7..9].sort();
            found[7..9].sort();
            assert_eq!(found, expected, "{table} {pragma}");
        }
        count += expected.len();
    }
    assert_eq!(file.run("SELECT count(*) FROM item"), "1");
    run.crash().await;
}

#[tokio::test]
async fn what_triggers_and_foreign_keys_do_in_turn_comes_after_what_made_them() {
    let Some(file) =
        File::find("what_triggers_and_foreign_keys_do_in_turn_comes_after_what_made_them")
    else {
        return;
    };
    file.run(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, n, touched DEFAULT 0);
         CREATE TABLE part (id INTEGER PRIMARY KEY, item REFERENCES item ON DELETE CASCADE);
         INSERT INTO item VALUES (1, 1, 0); INSERT INTO part VALUES (5, 1)",
    );
    let mut run = Run::of(&file, &[]);
    run.start();
    run.count("part", 1).await;
    // Newer than the connector's triggers, so it would run before them.
    file.run(
        "CREATE TRIGGER touch AFTER UPDATE OF n ON item
         BEGIN UPDATE item SET touched = touched + 1 WHERE id = NEW.id; END;
         CREATE TABLE fence (id INTEGER PRIMARY KEY);
         INSERT INTO fence VALUES (1)",
    );
    run.count("fence", 1).await;
    file.run("UPDATE item SET n = 2; PRAGMA foreign_keys = ON; DELETE FROM item");
    let item = [
        "read {id:1} - {id:1,n:1,touched:0}",
        "modify {id:1} {id:1,n:1,touched:0} {id:1,n:2,touched:0}",
        "modify {id:1} {id:1,n:2,touched:0} {id:1,n:2,touched:1}",
        "remove {id:1} {id:1,n:2,touched:1} -",
    ];
    assert_eq!(steps(&run.count("item", 4).await), item);
    assert_eq!(ops(&run.count("part", 2).await), ["read 5", "remove 5"]);
    run.crash().await;
}

#[tokio::test]
async fn acknowledged_changes_leave_the_file() {
    let Some(file) = File::find("acknowledged_changes_leave_the_file") else {
        return;
    };
    file.run("CREATE TABLE item (id INTEGER PRIMARY KEY)");
    let mut run = Run::of(&file, &[]);
    run.start();
    file.run(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
         INSERT INTO item SELECT n FROM n",
    );
    run.count("item", 3000).await;
    // The last one stays, for the next to have a larger number.
    while file.run("SELECT count(*) FROM _tidemill_changes") != "1" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    run.crash().await;
    file.run("INSERT INTO item VALUES (9001)");
    run.start();
    let events = run.count("item", 3001).await;
    assert_eq!(events.last().unwrap()["key"]["id"], 9001);
    run.crash().await;
}
