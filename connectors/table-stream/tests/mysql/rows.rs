//! A random workload and its ledger: triggers write every change down in the transaction that makes it,
//! so the ledger has exactly what was committed, and of each row in its order.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::database::Database;
use crate::harness::{self, Dice};

pub(crate) const TABLES: &str = "
CREATE TABLE item (id int PRIMARY KEY, note bigint, filler text);
CREATE TABLE ledger (entry bigint AUTO_INCREMENT PRIMARY KEY, op text, id int, note bigint);
CREATE SEQUENCE notes;
CREATE TRIGGER inserted AFTER INSERT ON item FOR EACH ROW
  INSERT INTO ledger (op, id, note) VALUES ('insert', NEW.id, NEW.note);
CREATE TRIGGER removed AFTER DELETE ON item FOR EACH ROW
  INSERT INTO ledger (op, id, note) VALUES ('remove', OLD.id, OLD.note);
CREATE TRIGGER changed AFTER UPDATE ON item FOR EACH ROW
  IF NEW.id <> OLD.id THEN
    INSERT INTO ledger (op, id, note) VALUES ('remove', OLD.id, OLD.note), ('insert', NEW.id, NEW.note);\u{20}
  ELSEIF NOT (NEW.note <=> OLD.note) THEN
    INSERT INTO ledger (op, id, note) VALUES ('modify', NEW.id, NEW.note);\u{20}
  END IF;
INSERT INTO item SELECT seq, NEXTVAL(notes), 'x' FROM seq_0_to_499";

/// The statements of one random transaction: a few changes, sometimes with a part rolled back, sometimes as
/// a whole.
fn transaction(dice: &mut Dice, keys: u64) -> Vec<String> {
    let mut sql = vec!["BEGIN".to_owned()];
    for _ in 0..=dice.below(4) {
        let (one, other) = (dice.below(keys), dice.below(keys));
        let change = match dice.below(6) {
            0..=2 => format!(
                "INSERT INTO item VALUES ({one}, NEXTVAL(notes), repeat('x', {})) \
                 ON DUPLICATE KEY UPDATE note = NEXTVAL(notes)",
                dice.below(300)
            ),
            3 => format!(
                "UPDATE item SET note = NEXTVAL(notes) WHERE id BETWEEN {one} AND {one} + 3"
            ),
            4 => format!("DELETE FROM item WHERE id = {one}"),
            _ => format!(
                "UPDATE item SET id = {other}, note = NEXTVAL(notes) WHERE id = {one} \
                 AND NOT EXISTS (SELECT 1 FROM item AS same WHERE same.id = {other})"
            ),
        };
        match dice.below(5) {
            0 => sql.extend(["SAVEPOINT s".to_owned(), change, "ROLLBACK TO s".to_owned()]),
            1 => sql.extend([
                "SAVEPOINT s".to_owned(),
                change,
                "RELEASE SAVEPOINT s".to_owned(),
            ]),
            _ => sql.push(change),
        }
    }
    sql.push(match dice.below(8) {
        0 => "ROLLBACK".to_owned(),
        _ => "COMMIT".to_owned(),
    });
    sql
}

/// Runs random transactions until told to stop or the server goes away; those that meet another's locks
/// fail and count for nothing.
pub(crate) async fn work(mut client: Conn, seed: u64, keys: u64, stop: CancellationToken) {
    let mut dice = Dice::new(seed);
    while !stop.is_cancelled() {
        for statement in transaction(&mut dice, keys) {
            match client.query_drop(statement).await {
                Ok(()) => {}
                Err(mysql_async::Error::Server(_)) => {
                    if client.query_drop("ROLLBACK").await.is_err() {
                        return;
                    }
                    break;
                }
                Err(_) => return,
            }
        }
    }
}

/// Holds the events of `item` against the ledger.
pub(crate) async fn assert_equal_to_ledger(database: &Database, events: &[Value]) {
    let mut client = database.client().await;
    let ledger = "SELECT op, id, note FROM ledger WHERE note IS NOT NULL ORDER BY entry";
    let ledger: Vec<(String, i64, Option<i64>)> = client.query(ledger).await.unwrap();
    let ledger = ledger.into_iter().map(|(op, id, note)| (id, (op, note)));
    // The fence has no note.
    let left = "SELECT id FROM item WHERE note IS NOT NULL";
    let left: Vec<i64> = client.query(left).await.unwrap();
    client.disconnect().await.unwrap();
    harness::assert_equal_to_ledger(events, ledger, left);
}
