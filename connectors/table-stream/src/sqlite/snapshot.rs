//! Rows as they are, in the order in which they are stored, part by part.

use rusqlite::{Connection, params_from_iter};

use super::layout::{Layout, quoted};
use super::position::Progress;
use super::rows::{Outbox, Subject, Values};
use super::stored::Stored;
use super::triggers::values;
use crate::change::Act;

/// Whether a snapshot has come past the row.
pub(super) fn has_read(
    connection: &Connection,
    layout: &Layout,
    progress: &Progress,
    row: &[Stored],
) -> rusqlite::Result<bool> {
    match progress {
        Progress::Unread => Ok(false),
        Progress::Whole => Ok(true),
        Progress::UpTo(last) => match (last.as_slice(), row) {
            ([Stored::Integer(last)], [Stored::Integer(row)]) => Ok(row <= last),
            _ => Ok(!is_beyond(connection, layout, row, last)?),
        },
    }
}

/// Whether one row is stored after the other; SQLite itself knows it.
fn is_beyond(
    connection: &Connection,
    layout: &Layout,
    one: &[Stored],
    other: &[Stored],
) -> rusqlite::Result<bool> {
    let collated = |from: usize| {
        let parts = layout.locator.iter().enumerate();
        let parts = parts
            .map(|(index, part)| format!("?{} COLLATE {}", from + index, quoted(&part.collation)));
        parts.collect::<Vec<_>>().join(", ")
    };
    let (ones, others) = (collated(1), collated(1 + layout.locator.len()));
    let sql = format!("SELECT ({ones}) > ({others})");
    let values = params_from_iter(one.iter().chain(other));
    connection.query_row(&sql, values, |row| row.get(0))
}

/// Hands over the rows after `progress` until there are `max_bytes`, and says how far that is.
pub(super) fn read(
    connection: &Connection,
    layout: &Layout,
    progress: &Progress,
    subject: Subject<'_>,
    max_bytes: usize,
    outbox: &mut Outbox<'_>,
) -> rusqlite::Result<Progress> {
    let table = quoted(&layout.table);
    let located: Vec<String> = layout
        .located_by()
        .iter()
        .map(|(name, collation)| format!("{table}.{} COLLATE {}", quoted(name), quoted(collation)))
        .collect();
    let after: &[Stored] = match progress {
        Progress::UpTo(last) => last,
        Progress::Unread | Progress::Whole => &[],
    };
    let slots: Vec<String> = (1..=after.len()).map(|slot| format!("?{slot}")).collect();
    let condition = match after {
        [] => String::new(),
        _ => format!("WHERE ({}) > ({})", located.join(", "), slots.join(", ")),
    };
    let sql = format!(
        "SELECT {} FROM {table} {condition} ORDER BY {}",
        values(&table, layout),
        located.join(", ")
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params_from_iter(after))?;
    while let Some(row) = rows.next()? {
        let values = Values::new(row, 0, layout);
        outbox.row(Act::Read, subject, None, Some(values))?;
        if outbox.bytes >= max_bytes {
            return Ok(Progress::UpTo(values.locator()?));
        }
    }
    Ok(Progress::Whole)
}
