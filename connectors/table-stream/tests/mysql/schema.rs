use serde_json::{Value, json};

use crate::database::Database;
use crate::run::{Run, folded, steps};

fn after(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| event["after"].clone()).collect()
}

#[tokio::test]
async fn a_schema_may_change_in_mid_stream() {
    let test = "a_schema_may_change_in_mid_stream";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database
        .run("CREATE TABLE item (id int PRIMARY KEY, gone text)")
        .await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until_streaming(&database).await;
    database.run("INSERT INTO item VALUES (1, 'x')").await;
    run.until("item", |event| event["key"]["id"] == 1).await;
    run.crash().await;
    // All of it is decoded by what the columns were at the time, not by what they are.
    database
        .run(
            "INSERT INTO item VALUES (2, 'y');
ALTER TABLE item ADD COLUMN price decimal(5, 2) DEFAULT 1.50 FIRST;
INSERT INTO item VALUES (2, 3, 'z');
ALTER TABLE item DROP COLUMN gone, MODIFY price varchar(9);
INSERT INTO item VALUES ('4', 4);
ALTER TABLE item RENAME COLUMN price TO cost;
UPDATE item SET cost = 'c' WHERE id = 1",
        )
        .await;
    run.start();
    let events = run.fence(&database, "item", 9).await;
    assert_eq!(
        after(&events)[1..],
        [
            json!({"id": 2, "gone": "y"}),
            json!({"price": 2.00, "id": 3, "gone": "z"}),
            json!({"price": "4", "id": 4}),
            json!({"cost": "c", "id": 1}),
        ]
    );
    run.crash().await;
}

#[tokio::test]
async fn tables_that_go_and_come_are_emptied_and_those_that_take_their_place_are_read() {
    let test = "tables_that_go_and_come_are_emptied_and_those_that_take_their_place_are_read";
    let Some(database) = Database::find(test).await else {
        return;
    };
    let create = "CREATE TABLE item (id int PRIMARY KEY, note text)";
    database.run(create).await;
    database.run("INSERT INTO item VALUES (1, '')").await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 1).await;
    run.until_streaming(&database).await;
    database
        .run(&format!(
            "DROP TABLE item;\n{create};\nINSERT INTO item VALUES (2, '')"
        ))
        .await;
    let events = run.until("item", |event| event["key"]["id"] == 2).await;
    let step = |op: &str, id| (op.to_owned(), id);
    assert_eq!(
        steps(&events),
        [step("read", 1), step("truncate", -1), step("insert", 2)]
    );
    // As tools do that change tables without stopping anybody.
    database
        .run(
            "CREATE TABLE new LIKE item;\nINSERT INTO new VALUES (2, ''), (3, '');\n\
             RENAME TABLE item TO old, new TO item;\nINSERT INTO item VALUES (4, '')",
        )
        .await;
    run.until("item", |event| event["key"]["id"] == 4).await;
    let events = run.fence(&database, "item", 9).await;
    assert_eq!(steps(&events)[3], step("gap", -1));
    assert_eq!(folded(&events), [2, 3, 4]);
    run.crash().await;
}

#[tokio::test]
async fn values_of_every_type_are_the_same_from_the_snapshot_and_from_the_stream() {
    let test = "values_of_every_type_are_the_same_from_the_snapshot_and_from_the_stream";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database
        .run(
            "CREATE TABLE item (
            id int PRIMARY KEY, tiny tinyint, tinyu tinyint unsigned, small smallint, medium mediumint,
            mediumu mediumint unsigned, whole int(5) unsigned zerofill, big bigint, bigu bigint unsigned,
            price decimal(40, 10), zeros decimal(6, 2) zerofill, single float, double_ double,
            flag bit(1), bits bit(64), year_ year, day_ date, clock_ time, clock3 time(3), clock6 time(6),
            stamp datetime, stamp6 datetime(6), instant timestamp NULL, instant2 timestamp(2) NULL,
            nodate date, code char(4), short varchar(9), latin varchar(9) CHARACTER SET latin1,
            cyrillic char(9) CHARACTER SET cp1251, wide varchar(9) CHARACTER SET ucs2,
            wider varchar(9) CHARACTER SET utf32, body mediumtext, fixed binary(4), raw varbinary(9),
            blob_ longblob, mood enum('sad', 'glad', 'ü'), moods set('a', 'b', 'ü') CHARACTER SET latin1,
            doc json, nothing text, doubled int AS (id * 2) STORED, tripled int AS (id * 3) VIRTUAL);
SET SESSION sql_mode = '', time_zone = '+02:00'",
        )
        .await;
    let row = |id: i64| {
        format!(
            "INSERT INTO item (id, tiny, tinyu, small, medium, mediumu, whole, big, bigu, price, zeros, single,
            double_, flag, bits, year_, day_, clock_, clock3, clock6, stamp, stamp6, instant, instant2,
            nodate, code, short, latin, cyrillic, wide, wider, body, fixed, raw, blob_, mood, moods, doc)
            VALUES ({id}, -128, 255, -32768, -8388608, 16777215, 42, -9223372036854775808,
            18446744073709551615, -123456789012345678901234567890.0123456789, 1.5, 0.1, 1e300, 1,
            18446744073709551615, 2024, '2024-02-29', '-838:59:58', '-00:00:00.010', '13:14:15.123456',
            '2024-02-29 13:14:15', '1999-12-31 23:59:59.999999', '2024-02-29 13:14:15',
            '2038-01-19 03:14:07.25', '0000-00-00', 'ab  ', 'x ', 'grün', 'мир', '€', '😀',
            repeat('ü', 3), 'ab', x'00ff', x'00010203', 'ü', 'ü,a', '{{\"a\": [1.10, null]}}')"
        )
    };
    let lenient = |sql: String| format!("SET SESSION sql_mode = '', time_zone = '+00:00';\n{sql}");
    database.run(&lenient(row(1))).await;
    let mut run = Run::of(&database, &["item"]);
    run.max_bytes = 1 << 20;
    run.start();
    run.until("item", |event| event["key"]["id"] == 1).await;
    run.until_streaming(&database).await;
    database.run(&lenient(row(2))).await;
    let events = run.until("item", |event| event["key"]["id"] == 2).await;
    let mut rows = after(&events);
    for (row, id) in rows.iter_mut().zip(1..) {
        for (name, factor) in [("id", 1), ("doubled", 2), ("tripled", 3)] {
            assert_eq!(row[name], id * factor, "{name}");
            row.as_object_mut().unwrap().remove(name);
        }
    }
    for (name, value) in rows[0].as_object().unwrap() {
        assert_eq!(*value, rows[1][name], "{name}");
    }
    for (name, expected) in [
        ("tiny", json!(-128)),
        ("tinyu", json!(255)),
        ("mediumu", json!(16_777_215)),
        ("whole", json!(42)),
        ("bigu", json!(18_446_744_073_709_551_615_u64)),
        ("single", json!(0.1)),
        ("double_", json!(1e300)),
        ("flag", json!(1)),
        ("bits", json!(18_446_744_073_709_551_615_u64)),
        ("year_", json!(2024)),
        ("day_", json!("2024-02-29")),
        ("clock_", json!("-838:59:58")),
        ("clock3", json!("-00:00:00.010")),
        ("clock6", json!("13:14:15.123456")),
        ("stamp6", json!("1999-12-31 23:59:59.999999")),
        ("instant", json!("2024-02-29 13:14:15")),
        ("instant2", json!("2038-01-19 03:14:07.25")),
        ("nodate", json!("0000-00-00")),
        ("code", json!("ab")),
        ("short", json!("x ")),
        ("latin", json!("grün")),
        ("cyrillic", json!("мир")),
        ("wide", json!("€")),
        ("wider", json!("😀")),
        ("body", json!("üüü")),
        ("fixed", json!("YWIAAA==")),
        ("raw", json!("AP8=")),
        ("blob_", json!("AAECAw==")),
        ("mood", json!("ü")),
        ("moods", json!("a,ü")),
        ("doc", json!("{\"a\": [1.10, null]}")),
        ("nothing", Value::Null),
    ] {
        assert_eq!(rows[1][name], expected, "{name}");
    }
    // Numbers keep every digit.
    let record = run.records("item", 0).await.pop().unwrap();
    let text = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    assert!(text.contains("\"price\":-123456789012345678901234567890.0123456789"));
    assert!(text.contains("\"zeros\":1.50"), "{text}");
    run.crash().await;
}

#[tokio::test]
async fn keys_of_every_type_are_read_in_an_order_that_can_be_resumed() {
    let test = "keys_of_every_type_are_read_in_an_order_that_can_be_resumed";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database
        .run(
            "CREATE TABLE keyed (n int, name varchar(9) CHARACTER SET latin1, raw varbinary(4), at datetime(3),
             price decimal(5, 1), big bigint unsigned, PRIMARY KEY (name, raw, at, price, big));
INSERT INTO keyed SELECT seq, concat(char(65 + seq % 40 USING latin1), seq DIV 7), char(seq % 200),
             '2024-01-01' + INTERVAL seq HOUR, seq / 3, 18446744073709551615 - seq FROM seq_1_to_700",
        )
        .await;
    let mut run = Run::of(&database, &["keyed"]);
    let n = |event: &Value| event["after"]["n"].as_i64().unwrap();
    for rows in [100, 300, 500] {
        run.start();
        run.until_count("keyed", rows).await;
        run.crash().await;
        // Each is seen by the next snapshot, and must come from one side only.
        database.run("UPDATE keyed SET n = n + 1000").await;
    }
    run.start();
    // From here on it is the stream.
    run.until("keyed", |event| event["op"] == "modify").await;
    run.until_streaming(&database).await;
    database
        .run("INSERT INTO keyed VALUES (-1, 'last', '', '2024-01-01', 0, 0)")
        .await;
    let events = run.until("keyed", |event| n(event) == -1).await;
    let mut last = std::collections::BTreeMap::new();
    for event in &events {
        let before = last.insert(event["key"].to_string(), n(event));
        match event["op"].as_str().unwrap() {
            "modify" => assert_eq!(Some(n(event)), before.map(|n| n + 1000), "{event}"),
            _ => assert_eq!(before, None, "{event}"),
        }
    }
    assert_eq!(last.len(), 701);
    assert!(last.values().all(|n| *n == -1 || *n > 3_000), "{last:?}");
    run.crash().await;
}
