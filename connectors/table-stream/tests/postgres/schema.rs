use serde_json::{Value, json};

use crate::database::Database;
use crate::run::{Run, steps};

fn after(events: &[Value]) -> Vec<Value> {
    events.iter().map(|event| event["after"].clone()).collect()
}

#[tokio::test]
async fn a_schema_may_change_in_mid_stream_and_in_mid_transaction() {
    let test = "a_schema_may_change_in_mid_stream_and_in_mid_transaction";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database
        .run("CREATE TABLE item (id int PRIMARY KEY, gone text)")
        .await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    database.run("INSERT INTO item VALUES (1, 'x')").await;
    run.until("item", |event| event["key"]["id"] == 1).await;
    run.crash().await;
    // All of it is decoded by what the columns were at the time, not by what they are.
    database.run("INSERT INTO item VALUES (2, 'y')").await;
    database
        .run("ALTER TABLE item ADD COLUMN price numeric DEFAULT 1.50")
        .await;
    database
        .run(
            "BEGIN; INSERT INTO item VALUES (3, 'z', 2); ALTER TABLE item DROP COLUMN gone;
             ALTER TABLE item ALTER COLUMN price TYPE text; INSERT INTO item VALUES (4, '4');
             ALTER TABLE item RENAME COLUMN price TO cost; UPDATE item SET cost = 'c' WHERE id = 1; COMMIT",
        )
        .await;
    run.start();
    let events = run.fence(&database, "item", 9).await;
    assert_eq!(
        after(&events)[1..],
        [
            json!({"id": 2, "gone": "y"}),
            json!({"id": 3, "gone": "z", "price": 2}),
            json!({"id": 4, "price": "4"}),
            json!({"id": 1, "cost": "c"}),
        ]
    );
    run.crash().await;
    database.remove().await;
}

#[tokio::test]
async fn values_of_every_type_are_the_same_from_the_snapshot_and_from_the_stream() {
    let test = "values_of_every_type_are_the_same_from_the_snapshot_and_from_the_stream";
    let Some(database) = Database::find(test).await else {
        return;
    };
    let sql = "
        CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE TYPE pair AS (a int, b text);
        CREATE DOMAIN positive AS int CHECK (value > 0);
        CREATE TABLE item (
            id int PRIMARY KEY, small smallint, big bigint, price numeric(40, 10), nan numeric, single real,
            double double precision, infinite double precision, flag bool, body text, code char(4),
            short varchar(9), raw bytea, doc json, tree jsonb, day date, clock time, zoned timetz,
            stamp timestamp, instant timestamptz, span interval, uid uuid, address inet, net cidr,
            mac macaddr, bits bit(4), money money, place point, numbers int[], grid int[][],
            texts text[], docs jsonb[], range int4range, mood mood, moods mood[], pair pair,
            positive positive, positives positive[], document tsvector, markup xml, nothing text,
            doubled int GENERATED ALWAYS AS (id * 2) STORED);
        INSERT INTO item VALUES (
            1, -32768, 9223372036854775807, 123456789012345678901234567890.0123456789, 'NaN', 1.5,
            1e300, 'Infinity', true, E'a\\nü\"\\\\', 'ab', 'short', '\\x00ff', '{\"a\": 1.10}', '{\"b\":[1,null]}',
            '2024-02-29', '13:14:15.123', '13:14:15+02', '2024-02-29 13:14:15.123456',
            '2024-02-29 13:14:15+02', '1 year 2 days 03:04:05', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
            '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '1010', 12.34, '(1,2)', '{1,NULL,3}',
            '{{1,2},{3,4}}', '{\"a,b\",NULL,\"NULL\"}', ARRAY['{\"k\":1}'::jsonb], '[1,5)', 'glad',
            '{sad,glad}', '(1,\"x y\")', 5, '{6,7}', 'a b', '<a/>', NULL)";
    database.run(sql).await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 1).await;
    database.run("ALTER TABLE item REPLICA IDENTITY FULL").await;
    database
        .run("UPDATE item SET flag = false; UPDATE item SET flag = true")
        .await;
    let events = run
        .until("item", |event| event["before"]["flag"] == false)
        .await;
    let read = &events[0]["after"];
    assert_eq!(
        &events[2]["after"], read,
        "the snapshot and the stream differ"
    );
    assert_eq!(
        &events[1]["before"], read,
        "the row before and the row after differ"
    );
    let expected = json!({
        "id": 1, "small": -32768, "big": 9_223_372_036_854_775_807_i64, "nan": "NaN", "single": 1.5,
        "double": 1e300, "infinite": "Infinity", "flag": true, "body": "a\nü\"\\", "code": "ab  ",
        "short": "short", "raw": "AP8=", "doc": {"a": 1.10}, "tree": {"b": [1, null]},
        "day": "2024-02-29", "clock": "13:14:15.123", "zoned": "13:14:15+02",
        "stamp": "2024-02-29 13:14:15.123456", "instant": "2024-02-29 11:14:15+00",
        "span": "1 year 2 days 03:04:05", "uid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "address": "10.0.0.1/8", "net": "10.0.0.0/8", "mac": "08:00:2b:01:02:03", "bits": "1010",
        "money": "$12.34", "place": "(1,2)", "numbers": [1, null, 3], "grid": [[1, 2], [3, 4]],
        "texts": ["a,b", null, "NULL"], "docs": [{"k": 1}], "range": "[1,5)", "mood": "glad",
        "moods": ["sad", "glad"], "pair": "(1,\"x y\")", "positive": 5, "positives": [6, 7],
        "document": "'a' 'b'", "markup": "<a/>", "nothing": null,
    });
    let mut read = read.as_object().unwrap().clone();
    // Compared as text, for no number of this machine's holds it.
    read.remove("price").unwrap();
    assert_eq!(Value::Object(read), expected);
    let records = run.records("item", 0).await;
    let text = String::from_utf8(records[0].value.clone().unwrap().to_vec()).unwrap();
    assert!(
        text.contains("\"price\":123456789012345678901234567890.0123456789,"),
        "{text}"
    );
    run.crash().await;
    database.remove().await;
}

#[tokio::test]
async fn an_unchanged_large_value_is_named_or_known() {
    let Some(database) = Database::find("an_unchanged_large_value_is_named_or_known").await else {
        return;
    };
    database
        .run(
            "CREATE TABLE item (id int PRIMARY KEY, note text, large text);
             ALTER TABLE item ALTER COLUMN large SET STORAGE EXTERNAL;
             INSERT INTO item VALUES (1, 'a', repeat('x', 10000))",
        )
        .await;
    let mut run = Run::of(&database, &["item"]);
    run.start();
    run.until("item", |event| event["key"]["id"] == 1).await;
    database.run("UPDATE item SET note = 'b'").await;
    database.run("ALTER TABLE item REPLICA IDENTITY FULL").await;
    database.run("UPDATE item SET note = 'c'").await;
    // A changed key: the row that is inserted takes the value from the one that is removed.
    database.run("UPDATE item SET id = 2").await;
    let events = run.fence(&database, "item", 9).await;
    let large = |event: &Value| event["after"]["large"].as_str().map(str::len);
    assert_eq!(large(&events[0]), Some(10_000));
    assert_eq!(events[1]["after"], json!({"id": 1, "note": "b"}));
    assert_eq!(events[1]["unchanged"], json!(["large"]));
    assert_eq!(large(&events[2]), Some(10_000));
    assert_eq!(events[2].get("unchanged"), None);
    let step = |op: &str, id| (op.to_owned(), id);
    assert_eq!(steps(&events)[3..], [step("remove", 1), step("insert", 2)]);
    assert_eq!(large(&events[4]), Some(10_000));
    run.crash().await;
    database.remove().await;
}

#[tokio::test]
async fn a_table_without_a_key_is_refused_by_name() {
    let Some(database) = Database::find("a_table_without_a_key_is_refused_by_name").await else {
        return;
    };
    database.run("CREATE TABLE keyless (n int)").await;
    let mut run = Run::of(&database, &["keyless"]);
    run.start();
    let error = run.given_up().await;
    assert!(
        error.contains("describe table public.keyless: ") && error.contains("primary key"),
        "{error}"
    );
    database.remove().await;
}

#[tokio::test]
async fn a_publication_without_a_table_that_was_named_is_refused_by_name() {
    let test = "a_publication_without_a_table_that_was_named_is_refused_by_name";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database
        .run("CREATE TABLE one (id int PRIMARY KEY); CREATE TABLE other (id int PRIMARY KEY)")
        .await;
    let mut run = Run::of(&database, &["one", "other"]);
    let publication = run.config.publication();
    database
        .run(&format!("CREATE PUBLICATION {publication} FOR TABLE one"))
        .await;
    run.start();
    let error = run.given_up().await;
    let (_, missing) = error.split_once("it exists and has not ").unwrap();
    assert!(
        missing.contains("other") && !missing.contains("one\""),
        "{error}"
    );
    let add = format!("ALTER PUBLICATION {publication} ADD TABLE other");
    database.run(&add).await;
    run.start();
    database.run("INSERT INTO other VALUES (7)").await;
    run.until("other", |event| event["key"]["id"] == 7).await;
    run.crash().await;
    database.remove().await;
}
