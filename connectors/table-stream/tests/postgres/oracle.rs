//! What others make of the same changes: PostgreSQL's own `pg_recvlogical`, by another decoder, and
//! Debezium read them from slots of their own, and there must be no difference.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::debezium::Debezium;
use crate::rows::{TABLES, work};
use crate::run::Run;

/// Changes in an ordinary run; `TIDEMILL_ORACLE_CHANGES` asks for more.
const CHANGES: i64 = 3_000;

fn changes() -> i64 {
    let asked = std::env::var("TIDEMILL_ORACLE_CHANGES").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(CHANGES)
}

/// A change of one row: what happened, to which key, and what the row is then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) op: &'static str,
    pub(crate) key: String,
    pub(crate) row: BTreeMap<String, String>,
}

/// Runs random transactions in several connections until there were as many changes as asked for.
async fn run_changes(database: &Database, count: i64) {
    let stop = CancellationToken::new();
    let mut workers = Vec::new();
    for seed in 1..=3 {
        let client = database.another().await;
        workers.push(tokio::spawn(work(client, seed, 800, stop.clone())));
    }
    loop {
        let done = "SELECT count(*)::text FROM ledger";
        if database.text(done).await.parse::<i64>().unwrap() >= count {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stop.cancel();
    for worker in workers {
        worker.await.unwrap();
    }
}

/// Our events as steps.
fn ours(events: &[Value]) -> Vec<Step> {
    let step = |event: &Value| Step {
        op: match event["op"].as_str() {
            Some("insert") => "insert",
            Some("modify") => "modify",
            Some("remove") => "remove",
            other => panic!("the stream has {other:?}"),
        },
        key: text(&event["key"]["id"]),
        row: shown(&event["after"]),
    };
    events.iter().map(step).collect()
}

/// A value as `test_decoding` writes it, without quotes.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// A row in JSON; none when there is none.
pub(crate) fn shown(row: &Value) -> BTreeMap<String, String> {
    let columns = row.as_object().into_iter().flatten();
    columns.map(|(name, of)| (name.clone(), text(of))).collect()
}

/// The lines of `test_decoding` about one table as steps; a changed key is a row removed and another
/// one inserted.
fn decoded(lines: &str, table: &str) -> Vec<Step> {
    let about = format!("table public.{table}: ");
    let mut steps = Vec::new();
    for line in lines.lines().filter_map(|line| line.strip_prefix(&about)) {
        let (op, rest) = line.split_once(": ").unwrap();
        let (old, new) = match rest.strip_prefix("old-key: ") {
            Some(rest) => {
                let (old, new) = rest.split_once(" new-tuple: ").unwrap();
                (Some(row(old)), row(new))
            }
            None => (None, row(rest)),
        };
        let step = |op, row: &BTreeMap<String, String>, shown| Step {
            op,
            key: row["id"].clone(),
            row: shown,
        };
        match (op, old) {
            ("INSERT", None) => steps.push(step("insert", &new, new.clone())),
            ("UPDATE", None) => steps.push(step("modify", &new, new.clone())),
            ("UPDATE", Some(old)) if old["id"] != new["id"] => {
                steps.push(step("remove", &old, BTreeMap::new()));
                steps.push(step("insert", &new, new.clone()));
            }
            ("UPDATE", Some(_)) => steps.push(step("modify", &new, new.clone())),
            ("DELETE", None) => steps.push(step("remove", &new, BTreeMap::new())),
            other => panic!("{other:?}: {line}"),
        }
    }
    steps
}

/// `id[integer]:5 filler[text]:'a b' note[bigint]:null`.
fn row(text: &str) -> BTreeMap<String, String> {
    let mut rest = text;
    let mut row = BTreeMap::new();
    while let Some((name, after)) = rest.split_once('[') {
        let (_, after) = after.split_once("]:").unwrap();
        let (value, after) = match after.strip_prefix('\'') {
            Some(quoted) => {
                let end = quoted.find('\'').unwrap();
                (&quoted[..end], &quoted[end + 1..])
            }
            None => after.split_once(' ').unwrap_or((after, "")),
        };
        row.insert(name.trim().to_owned(), value.to_owned());
        rest = after;
    }
    row
}

/// Reads a slot up to `end` with PostgreSQL's own client.
fn received(database: &Database, slot: &str, end: &str) -> String {
    let programs = PathBuf::from(std::env::var_os("TIDEMILL_TEST_POSTGRES_PROGRAMS").unwrap());
    let received = Command::new(programs.join("pg_recvlogical"))
        .args(["--dbname", &database.url(), "--slot", slot, "--start"])
        .args(["--endpos", end, "--no-loop", "--file", "-"])
        .args(["-o", "include-xids=0", "-o", "skip-empty-xacts=1"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&received.stderr);
    assert!(received.status.success(), "{errors}");
    String::from_utf8(received.stdout).unwrap()
}

/// Names the first difference of two streams of changes.
fn assert_no_difference(ours: &[Step], theirs: &[Step]) {
    let place = ours
        .iter()
        .zip(theirs)
        .position(|(one, other)| one != other);
    if let Some(place) = place {
        panic!("change {place}: {:?} and {:?}", ours[place], theirs[place]);
    }
    assert_eq!(ours.len(), theirs.len(), "one has more changes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pg_recvlogical_and_debezium_find_the_same_changes_in_the_same_order() {
    let test = "pg_recvlogical_and_debezium_find_the_same_changes_in_the_same_order";
    let Some(database) = Database::find(test).await else {
        return;
    };
    database.run(TABLES).await;
    let slot = format!("oracle_{}", database.name());
    let create =
        format!("SELECT FROM pg_create_logical_replication_slot('{slot}', 'test_decoding')");
    database.run(&create).await;
    let debezium = Debezium::find(test);
    if let Some(debezium) = &debezium {
        debezium.prepare(&database).await;
    }
    let mut run = Run::of(&database, &["item"]);
    run.max_bytes = 1 << 20;
    run.start();
    run.until_streaming(&database).await;
    run_changes(&database, changes()).await;
    let events = run.fence(&database, "item", 1_000_000).await;
    run.crash().await;
    let end = database
        .text("SELECT pg_current_wal_flush_lsn()::text")
        .await;
    let fence = |step: &Step| step.key == "1000000";
    let mut theirs = decoded(&received(&database, &slot, &end), "item");
    theirs.retain(|step| !fence(step));
    let ours = ours(&events);
    assert!(ours.len() >= usize::try_from(changes()).unwrap());
    assert_no_difference(&ours, &theirs);
    if let Some(debezium) = debezium {
        let mut theirs = debezium.received(&database, "1000000");
        theirs.retain(|step| !fence(step));
        assert_no_difference(&ours, &theirs);
    }
    database.remove().await;
}

#[test]
fn what_test_decoding_writes_is_read() {
    let lines = "BEGIN
table public.item: INSERT: id[integer]:1 note[bigint]:7 filler[text]:'x y'
table public.item: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 note[bigint]:8 filler[text]:''
table public.other: DELETE: id[integer]:2
table public.item: DELETE: id[integer]:2
COMMIT";
    let row = |columns: &[(&str, &str)]| -> BTreeMap<String, String> {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        columns.iter().map(text).collect()
    };
    let step = |op, key: &str, row| Step {
        op,
        key: key.to_owned(),
        row,
    };
    let expected = [
        step(
            "insert",
            "1",
            row(&[("id", "1"), ("note", "7"), ("filler", "x y")]),
        ),
        step("remove", "1", row(&[])),
        step(
            "insert",
            "2",
            row(&[("id", "2"), ("note", "8"), ("filler", "")]),
        ),
        step("remove", "2", row(&[])),
    ];
    assert_eq!(decoded(lines, "item"), expected);
}
