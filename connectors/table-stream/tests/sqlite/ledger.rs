//! A random workload and its ledger: every transaction writes down what it does, so the ledger has
//! exactly what was committed, and of each row in its order. No trigger has a part in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::file::File;

pub(crate) const TABLES: &str = "
CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE, note INTEGER, filler BLOB);
CREATE TABLE ledger (entry INTEGER PRIMARY KEY, op TEXT, id INTEGER, note INTEGER);
";

/// Fills the table, ledger and all.
pub(crate) fn fill(rows: i64) -> String {
    format!(
        "BEGIN; WITH RECURSIVE n(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n + 1 < {rows})
         INSERT INTO item SELECT n, NULL, -n - 1, NULL FROM n;
         INSERT INTO ledger (op, id, note) SELECT 'insert', id, note FROM item; COMMIT;"
    )
}

/// Small numbers without a pattern, the same for the same seed.
pub(crate) struct Dice {
    state: u64,
    notes: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            notes: seed * 1_000_000,
        }
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) % bound
    }
}

/// One random transaction: a few changes, sometimes with a part rolled back, sometimes as a whole.
pub(crate) fn work(dice: &mut Dice, keys: u64) -> String {
    let mut sql = String::from("BEGIN IMMEDIATE;");
    if dice.below(4) == 0 {
        sql.insert_str(0, "PRAGMA recursive_triggers = ON;");
    } else {
        sql.insert_str(0, "PRAGMA recursive_triggers = OFF;");
    }
    for _ in 0..=dice.below(4) {
        let change = change(dice, keys);
        match dice.below(5) {
            0 => write!(sql, "SAVEPOINT s; {change} ROLLBACK TO s; RELEASE s;"),
            1 => write!(sql, "SAVEPOINT s; {change} RELEASE s;"),
            _ => write!(sql, "{change}"),
        }
        .unwrap();
    }
    sql += match dice.below(8) {
        0 => "ROLLBACK;\n",
        _ => "COMMIT;\n",
    };
    sql
}

fn change(dice: &mut Dice, keys: u64) -> String {
    dice.notes += 1;
    let note = dice.notes;
    let (one, other, code) = (dice.below(keys), dice.below(keys), dice.below(keys / 4 + 1));
    let filler = dice.below(300);
    let enter = "INSERT INTO ledger (op, id, note)";
    let free = format!(
        "id = {one} AND {one} <> {other} AND NOT EXISTS (SELECT 1 FROM item WHERE id = {other})"
    );
    match dice.below(7) {
        0 | 1 => format!(
            "{enter} SELECT iif(EXISTS (SELECT 1 FROM item WHERE id = {one}), 'modify', 'insert'), {one}, {note};
             INSERT INTO item (id, code, note, filler) VALUES ({one}, NULL, {note}, zeroblob({filler})) \
             ON CONFLICT (id) DO UPDATE SET note = {note};"
        ),
        2 => format!(
            "{enter} SELECT 'remove', id, note FROM item WHERE id = {one} OR code = 'c{code}';
             {enter} VALUES ('insert', {one}, {note});
             REPLACE INTO item (id, code, note, filler) VALUES ({one}, 'c{code}', {note}, NULL);"
        ),
        3 => format!(
            "{enter} SELECT 'modify', id, {note} FROM item WHERE id BETWEEN {one} AND {one} + 3;
             UPDATE item SET note = {note} WHERE id BETWEEN {one} AND {one} + 3;"
        ),
        4 => format!(
            "{enter} SELECT 'remove', id, note FROM item WHERE id = {one};
             DELETE FROM item WHERE id = {one};"
        ),
        5 => format!(
            "{enter} SELECT 'remove', id, note FROM item WHERE {free};
             {enter} SELECT 'insert', {other}, {note} FROM item WHERE {free};
             UPDATE item SET id = {other}, note = {note} WHERE {free};"
        ),
        _ => format!(
            "{enter} SELECT 'remove', id, note FROM item WHERE id IN ({one}, {other}) AND {one} <> {other}
                AND EXISTS (SELECT 1 FROM item WHERE id = {one});
             {enter} SELECT 'insert', {other}, {note} FROM item WHERE id = {one} AND {one} <> {other};
             UPDATE OR REPLACE item SET id = {other}, note = {note} WHERE id = {one} AND {one} <> {other};"
        ),
    }
}

/// Holds the events of `item` against the ledger: of every row, they are the ledger's last entries, all
/// of them from the one on that the snapshot has shown, in order, and none twice.
pub(crate) fn assert_equal_to_ledger(file: &File, events: &[Value]) {
    let mut ledger: BTreeMap<i64, Vec<(String, i64)>> = BTreeMap::new();
    for line in file
        .run("SELECT op, id, note FROM ledger ORDER BY entry")
        .lines()
    {
        let fields: Vec<&str> = line.split('|').collect();
        let entry = (fields[0].to_owned(), fields[2].parse().unwrap());
        ledger
            .entry(fields[1].parse().unwrap())
            .or_default()
            .push(entry);
    }
    let mut found: BTreeMap<i64, Vec<(String, Option<i64>)>> = BTreeMap::new();
    for event in events {
        let op = event["op"].as_str().unwrap().to_owned();
        let image = match op.as_str() {
            "remove" => &event["before"],
            _ => &event["after"],
        };
        let id = event["key"]["id"].as_i64().unwrap();
        found
            .entry(id)
            .or_default()
            .push((op, image["note"].as_i64()));
    }
    for (id, events) in &found {
        let entries = &ledger[id];
        let from = entries.len().checked_sub(events.len());
        let from = from.unwrap_or_else(|| panic!("row {id} has too many: {events:?}\n{entries:?}"));
        for (index, (event, entry)) in events.iter().zip(&entries[from..]).enumerate() {
            let same = match event.0.as_str() {
                // A snapshot shows the row as one of the changes before has left it.
                "read" => index == 0 && entry.0 != "remove",
                op => op == entry.0,
            };
            assert!(
                same && event.1 == Some(entry.1),
                "row {id}: {events:?}\n{entries:?}"
            );
        }
        // What came before was in the snapshot, or was gone by then.
        let begins = from == 0 || events[0].0 == "read" || entries[from - 1].0 == "remove";
        assert!(begins, "row {id}: {events:?}\n{entries:?}");
    }
    // What is in the table and was never told of has no event at all.
    for id in file
        .run("SELECT id FROM item WHERE note IS NOT NULL")
        .lines()
    {
        assert!(
            found.contains_key(&id.parse().unwrap()),
            "row {id} has no event"
        );
    }
    let sequences: Vec<&str> = events
        .iter()
        .map(|event| event["sequence"].as_str().unwrap())
        .collect();
    let distinct: BTreeSet<&&str> = sequences.iter().collect();
    assert_eq!(distinct.len(), sequences.len(), "a change has come twice");
}
