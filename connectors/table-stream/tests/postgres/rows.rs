//! A random workload and its ledger: a trigger writes every change down in the transaction that makes
//! it, so the ledger has exactly what was committed, and of each row in its order.

use serde_json::Value;
use tokio_postgres::Client;

use crate::database::Database;
use crate::harness::{self, Dice};

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

/// Holds the events of `item` against the ledger.
pub(crate) async fn assert_equal_to_ledger(database: &Database, events: &[Value]) {
    let ledger = "SELECT op, id, note FROM ledger WHERE note IS NOT NULL ORDER BY entry";
    let ledger = database.client.query(ledger, &[]).await.unwrap();
    let ledger = ledger
        .iter()
        .map(|row| (row.get::<_, i32>(1).into(), (row.get(0), row.get(2))));
    // The fence has no note.
    let left = "SELECT id FROM item WHERE note IS NOT NULL";
    let left = database.client.query(left, &[]).await.unwrap();
    let left = left.iter().map(|row| row.get::<_, i32>(0).into());
    harness::assert_equal_to_ledger(events, ledger, left);
}
