//! The triggers of a table, as text.
//!
//! A row that `REPLACE` removes fires no trigger, unless its writer asked for that by `PRAGMA
//! recursive_triggers`. So each row in the way of a new one is put aside before, and if it is gone
//! after, it is written down as removed.
//!
//! Of all triggers of a table ours must be the newest: SQLite runs the newest first, and what the
//! others do in turn comes after what made them do it.
//!
//! A policy in a writer's statement (`OR IGNORE`) holds for the statements of triggers, too. Nothing
//! here can violate a constraint, so there is nothing that it could change.

use super::layout::{Described, Layout, quoted};

/// What a change is called in the change table.
pub(super) mod word {
    pub(in crate::sqlite) const BEGIN: &str = "begin";
    pub(in crate::sqlite) const INSERT: &str = "insert";
    pub(in crate::sqlite) const MODIFY: &str = "modify";
    /// A row as it is now; what it was before is not known.
    pub(in crate::sqlite) const REFRESH: &str = "refresh";
    pub(in crate::sqlite) const REMOVE: &str = "remove";
    /// The table is gone with all its rows.
    pub(in crate::sqlite) const TRUNCATE: &str = "truncate";
    /// Changes of the table may have been lost.
    pub(in crate::sqlite) const GAP: &str = "gap";
}

/// What is kept in the file. The newest change that was read stays, so that the next has a larger
/// number.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS _tidemill_source (mark TEXT NOT NULL, connection TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS _tidemill_layouts (
    id INTEGER PRIMARY KEY, active INTEGER NOT NULL, description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS _tidemill_changes (
    change INTEGER PRIMARY KEY, at REAL NOT NULL DEFAULT (julianday('now')),
    layout INTEGER NOT NULL, op TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS _tidemill_replaced (layout INTEGER NOT NULL);
INSERT INTO _tidemill_changes (layout, op)
    SELECT 0, 'begin' WHERE NOT EXISTS (SELECT 1 FROM _tidemill_changes);
";

/// The statements that create all triggers for `described`, under the layout's number.
pub(super) fn of(id: i64, described: &Described) -> Vec<String> {
    let layout = &described.layout;
    let table = quoted(&layout.table);
    let width = layout.columns.len();
    let forget = format!("DELETE FROM _tidemill_replaced WHERE layout = {id};");
    let put_aside = |unless: &str| {
        format!(
            "{forget} INSERT INTO _tidemill_replaced (layout, {}) SELECT {id}, {} FROM {table} \
             WHERE ({}){unless};",
            slots(0, width),
            values(&table, layout),
            in_the_way(&table, described),
        )
    };
    let write = |op: &str, values: &str, width: usize| {
        let slots = slots(0, width);
        format!(
            "INSERT INTO _tidemill_changes (layout, op, {slots}) VALUES ({id}, '{op}', {values});"
        )
    };
    let replaced = format!(
        "INSERT INTO _tidemill_changes (layout, op, {slots}) \
         SELECT layout, '{}', {slots} FROM _tidemill_replaced AS r WHERE r.layout = {id} \
         AND (({}) OR NOT EXISTS (SELECT 1 FROM {table} WHERE {})); {forget}",
        word::REMOVE,
        aside_is(layout, "NEW"),
        aside_is(layout, &table),
        slots = slots(0, width),
    );
    let not_itself = format!(" AND NOT ({})", same(layout, &table, "OLD"));
    let both = format!("{}, {}", values("OLD", layout), values("NEW", layout));
    let bodies = [
        ("before_insert", "BEFORE INSERT", put_aside("")),
        ("before_update", "BEFORE UPDATE", put_aside(&not_itself)),
        (
            "insert",
            "AFTER INSERT",
            format!(
                "{replaced} {}",
                write(word::INSERT, &values("NEW", layout), width)
            ),
        ),
        (
            "update",
            "AFTER UPDATE",
            format!("{replaced} {}", write(word::MODIFY, &both, 2 * width)),
        ),
        (
            "delete",
            "AFTER DELETE",
            format!(
                "DELETE FROM _tidemill_replaced WHERE layout = {id} AND {}; {}",
                aside_is_in(layout, "_tidemill_replaced", "OLD"),
                write(word::REMOVE, &values("OLD", layout), width)
            ),
        ),
    ];
    let trigger = |(word, moment, body): (&str, &str, String)| {
        format!("CREATE TRIGGER _tidemill_{id}_{word} {moment} ON {table} BEGIN {body} END")
    };
    bodies.into_iter().map(trigger).collect()
}

/// Writes down every row whose column from `added` on is not what it began as.
pub(super) fn refresh(id: i64, described: &Described, added: usize) -> Option<String> {
    let layout = &described.layout;
    let table = quoted(&layout.table);
    let columns = layout.columns.iter().zip(&described.defaults).skip(added);
    let differ: Vec<String> = columns
        .filter_map(|(column, default)| {
            let default = default.as_ref()?;
            Some(format!(
                "{table}.{} IS NOT ({default})",
                quoted(&column.name)
            ))
        })
        .collect();
    let condition = (!differ.is_empty()).then(|| differ.join(" OR "))?;
    Some(format!(
        "INSERT INTO _tidemill_changes (layout, op, {}) SELECT {id}, '{}', {} FROM {table} \
         WHERE {condition}",
        slots(0, layout.columns.len()),
        word::REFRESH,
        values(&table, layout),
    ))
}

/// The columns `v<from>` to before `v<to>` of our tables.
pub(super) fn slots(from: usize, to: usize) -> String {
    let slots: Vec<String> = (from..to).map(|slot| format!("v{slot}")).collect();
    slots.join(", ")
}

/// All values of the row that `row` is.
pub(super) fn values(row: &str, layout: &Layout) -> String {
    let columns = layout.columns.iter();
    let values: Vec<String> = columns
        .map(|column| format!("{row}.{}", quoted(&column.name)))
        .collect();
    values.join(", ")
}

/// Whether a row of the table has something that only one row may have, and that the new one has.
fn in_the_way(table: &str, described: &Described) -> String {
    let ways = described.unique.iter().map(|columns| {
        let equal = columns.iter().map(|(name, collation)| {
            let (name, collation) = (quoted(name), quoted(collation));
            format!("{table}.{name} = NEW.{name} COLLATE {collation}")
        });
        equal.collect::<Vec<_>>().join(" AND ")
    });
    ways.collect::<Vec<_>>().join(" OR ")
}

fn same(layout: &Layout, one: &str, other: &str) -> String {
    let parts = layout.located_by().into_iter().map(|(name, collation)| {
        let (name, collation) = (quoted(&name), quoted(&collation));
        format!("{one}.{name} IS {other}.{name} COLLATE {collation}")
    });
    parts.collect::<Vec<_>>().join(" AND ")
}

/// Whether the row that was put aside, `r`, is found where `row` is.
fn aside_is(layout: &Layout, row: &str) -> String {
    aside_is_in(layout, "r", row)
}

fn aside_is_in(layout: &Layout, aside: &str, row: &str) -> String {
    let parts = layout.locator.iter().map(|part| {
        let name = quoted(&layout.columns[part.column].name);
        let collation = quoted(&part.collation);
        let slot = part.column;
        format!("{row}.{name} IS {aside}.v{slot} COLLATE {collation}")
    });
    parts.collect::<Vec<_>>().join(" AND ")
}
