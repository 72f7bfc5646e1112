//! A random workload and its ledger: a trigger writes every change down in the transaction that makes
//! it, so the ledger has exactly what was committed, and of each row in its order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio_postgres::Client;

use crate::database::Database;

pub(crate) const TABLES: &str = "
CREATE TABLE item (id int PRIMARY KEY, note bigint, filler text);
CREATE TABLE ledger (entry bigserial PRIMARY KEY, op text, id int, note bigint);
CREATE SEQUENCE notes;
CREATE FUNCTION enter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO ledger (op, id, note) VALUES ('insert', NEW.id, NEW.note);
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO ledger (op, id, note) VALUES ('remove', OLD.id, OLD.note);
  ELSIF NEW.id <> OLD.id THEN
    INSERT INTO ledger (op, id, note) VALUES ('remove', OLD.id, OLD.note);
    INSERT INTO ledger (op, id, note) VALUES ('insert', NEW.id, NEW.note);
  ELSE
    INSERT INTO ledger (op, id, note) VALUES ('modify', NEW.id, NEW.note);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER enter AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION enter();
";

/// Small numbers without a pattern, the same for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// One random transaction: a few changes, sometimes with a part rolled back, sometimes as a whole,
/// sometimes prepared first.
pub(crate) fn transaction(dice: &mut Dice, keys: u64) -> String {
    let mut sql = String::from("BEGIN;");
    for _ in 0..=dice.below(4) {
        let (one, other) = (dice.below(keys), dice.below(keys));
        let change = match dice.below(6) {
            0..=2 => format!(
                "INSERT INTO item VALUES ({one}, nextval('notes'), repeat('x', {})) \
                 ON CONFLICT (id) DO UPDATE SET note = nextval('notes');",
                dice.below(300)
            ),
            3 => format!(
                "UPDATE item SET note = nextval('notes') WHERE id BETWEEN {one} AND {one} + 3;"
            ),
            4 => format!("DELETE FROM item WHERE id = {one};"),
            _ => format!(
                "UPDATE item SET id = {other}, note = nextval('notes') WHERE id = {one} \
                 AND NOT EXISTS (SELECT FROM item WHERE id = {other});"
            ),
        };
        match dice.below(5) {
            0 => sql += &format!("SAVEPOINT s; {change} ROLLBACK TO s;"),
            1 => sql += &format!("SAVEPOINT s; {change} RELEASE s;"),
            _ => sql += &change,
        }
    }
    sql += match dice.below(8) {
        0 => "ROLLBACK;",
        _ => "COMMIT;",
    };
    sql
}

/// Runs random transactions until told to stop or the server goes away; those that meet another's
/// locks fail and count for nothing.
pub(crate) async fn work(
    client: Client,
    seed: u64,
    keys: u64,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut dice = Dice::new(seed);
    while !stop.is_cancelled() && !client.is_closed() {
        if client
            .batch_execute(&transaction(&mut dice, keys))
            .await
            .is_err()
        {
            let _ = client.batch_execute("ROLLBACK").await;
        }
    }
}

/// Holds the events of `item` against the ledger: of every row, they are the ledger's last entries, all
/// of them from the one on that the snapshot has shown, in order, and none twice.
pub(crate) async fn assert_equal_to_ledger(database: &Database, events: &[Value]) {
    let rows = database
        .client
        .query("SELECT op, id, note FROM ledger ORDER BY entry", &[])
        .await
        .unwrap();
    let mut ledger: BTreeMap<i64, Vec<(String, i64)>> = BTreeMap::new();
    for row in &rows {
        let (id, note): (i32, Option<i64>) = (row.get(1), row.get(2));
        // The fence has no note.
        if let Some(note) = note {
            ledger
                .entry(id.into())
                .or_default()
                .push((row.get(0), note));
        }
    }
    let mut found: BTreeMap<i64, Vec<(String, Option<i64>)>> = BTreeMap::new();
    for event in events {
        let op = event["op"].as_str().unwrap().to_owned();
        let note = event["after"]["note"].as_i64();
        let id = event["key"]["id"].as_i64().unwrap();
        found.entry(id).or_default().push((op, note));
    }
    for (id, events) in &found {
        let entries = &ledger[id];
        let from = entries.len().checked_sub(events.len());
        let from = from.unwrap_or_else(|| panic!("row {id} has too many: {events:?}\n{entries:?}"));
        for (event, entry) in events.iter().zip(&entries[from..]) {
            let same = match event.0.as_str() {
                // A snapshot shows the row as one of the changes before has left it.
                "read" => entry.0 != "remove" && event.1 == Some(entry.1),
                "remove" => entry.0 == "remove",
                op => op == entry.0 && event.1 == Some(entry.1),
            };
            assert!(same, "row {id}: {events:?}\n{entries:?}");
        }
        let reads = events.iter().skip(1).filter(|(op, _)| op == "read").count();
        assert_eq!(reads, 0, "row {id} was read in mid-stream: {events:?}");
    }
    // What is in the table and was never told of has no event at all.
    let rows = database
        .client
        .query("SELECT id FROM item WHERE note IS NOT NULL", &[])
        .await;
    for row in rows.unwrap() {
        let id = i64::from(row.get::<_, i32>(0));
        assert!(found.contains_key(&id), "row {id} has no event");
    }
    let sequences: Vec<&str> = events
        .iter()
        .map(|event| event["sequence"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&&str> = sequences.iter().collect();
    assert_eq!(distinct.len(), sequences.len(), "a change has come twice");
}
