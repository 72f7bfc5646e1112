//! Reading whole tables under one snapshot of the database.
//!
//! Rows come in the order of their key through a cursor, as many at a time as are asked for. How far
//! a table was read and under which snapshot is kept in the position, so that another snapshot can go
//! on behind the last key.

use std::collections::VecDeque;
use std::sync::Arc;

use connector::SourceError;
use deadpool_postgres::{ClientWrapper, Object};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

use super::Lsn;
use super::catalog::{Catalog, Family, Published, literal, quoted, quoted_table};
use super::failure::{sql, unavailable};
use super::value::Kind;
use super::view::{Snapshot, View};
use crate::coverage::Chunk;
use crate::table::{Cell, Tuple};
use crate::window::{KeyOrder, Window};

/// Rows of the first fetch; later ones go by their size.
const FIRST_FETCH: usize = 100;
const LARGEST_FETCH: usize = 10_000;

/// A transaction that sees the database at one moment.
pub(super) struct Reader {
    client: ClientWrapper,
    snapshot: Snapshot,
    until: Lsn,
    queue: VecDeque<(Published, Option<Vec<String>>)>,
    fetch: usize,
    open: bool,
}

impl Reader {
    /// Begins to read `tables`, each behind the key given. `exported` is a snapshot that another
    /// connection holds; without one, the database is seen as it is now.
    pub(super) async fn begin(
        catalog: &Catalog,
        exported: Option<&str>,
        tables: VecDeque<(Published, Option<Vec<String>>)>,
    ) -> Result<Self, SourceError> {
        let act = "begin a snapshot";
        // Out of the pool for good: a connection in mid-transaction is nobody else's.
        let client = Object::take(catalog.connection().await?);
        let import = exported.map_or_else(String::new, |name| {
            format!("SET TRANSACTION SNAPSHOT {}", literal(name))
        });
        let begin = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {import}");
        client.batch_execute(&begin).await.map_err(sql(act))?;
        let row = client
            .query_one(
                "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text",
                &[],
            )
            .await
            .map_err(sql(act))?;
        let (snapshot, until): (&str, &str) = (row.get(0), row.get(1));
        let snapshot = Snapshot::parse(snapshot);
        Ok(Self {
            snapshot: snapshot.ok_or_else(|| unavailable(act, "the server's is garbled"))?,
            until: until.parse().map_err(|error| unavailable(act, error))?,
            client,
            queue: tables,
            fetch: FIRST_FETCH,
            open: false,
        })
    }

    /// The next rows, of about `max_bytes`; none when all tables were read.
    pub(super) async fn next(
        &mut self,
        max_bytes: usize,
    ) -> Result<Option<Chunk<Kind, View>>, SourceError> {
        let Some((published, after)) = self.queue.front() else {
            return Ok(None);
        };
        let act = format!("read table {}", published.table.name);
        if !self.open {
            let declare = declare(published, after.as_deref());
            self.client
                .batch_execute(&declare)
                .await
                .map_err(sql(&act))?;
            self.open = true;
        }
        let fetch = format!("FETCH {} FROM tidemill", self.fetch);
        let messages = self.client.simple_query(&fetch).await.map_err(sql(&act))?;
        let width = published.table.columns.len();
        let mut rows: Vec<Tuple> = Vec::new();
        let mut last = None;
        for message in &messages {
            if let SimpleQueryMessage::Row(row) = message {
                rows.push((0..width).map(|column| cell(row, column)).collect());
                last = Some(row);
            }
        }
        let to = match last {
            Some(row) if rows.len() == self.fetch => Some(key(published, row)),
            Some(_) | None => None,
        };
        let window = Window {
            table: published.table.name.clone(),
            key: published
                .key
                .iter()
                .map(|column| (column.name.clone(), column.order))
                .collect(),
            after: after.clone(),
            to: to.clone(),
            view: View {
                snapshot: self.snapshot.clone(),
                until: self.until,
            },
        };
        let table = Arc::new(published.table.clone());
        if to.is_none() {
            self.client
                .batch_execute("CLOSE tidemill")
                .await
                .map_err(sql(&act))?;
            self.open = false;
            self.fetch = FIRST_FETCH;
            self.queue.pop_front();
        } else {
            let bytes: usize = rows.iter().flatten().map(size).sum();
            let each = (bytes / rows.len().max(1)).max(1);
            self.fetch = (max_bytes / each).clamp(1, LARGEST_FETCH);
        }
        Ok(Some(Chunk {
            table,
            rows,
            window,
        }))
    }
}

/// A cursor over a table in the order of its key: whole numbers as they are, which an index serves,
/// everything else by the bytes of its text.
fn declare(published: &Published, after: Option<&[String]>) -> String {
    let columns: Vec<String> = published
        .table
        .columns
        .iter()
        .map(|column| quoted(&column.name))
        .collect();
    let key: Vec<String> = published
        .key
        .iter()
        .map(|column| match column.order {
            KeyOrder::Integer => quoted(&column.name),
            KeyOrder::Bytes => bytewise(&quoted(&column.name)),
        })
        .collect();
    let mut conditions: Vec<String> = Vec::new();
    conditions.extend(published.filter.iter().map(|filter| format!("({filter})")));
    if let Some(after) = after {
        let values: Vec<String> = published
            .key
            .iter()
            .zip(after)
            .map(|(column, value)| match column.order {
                KeyOrder::Integer => format!("{}::bigint", literal(value)),
                KeyOrder::Bytes => bytewise(&literal(value)),
            })
            .collect();
        conditions.push(format!("({}) > ({})", key.join(", "), values.join(", ")));
    }
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    let only = match published.family {
        Family::Own => "ONLY ",
        Family::Partitions => "",
    };
    format!(
        "DECLARE tidemill NO SCROLL CURSOR FOR SELECT {} FROM {only}{}{condition} ORDER BY {}",
        columns.join(", "),
        quoted_table(&published.table.name),
        key.join(", ")
    )
}

/// `format` writes a value as the stream does; a cast to text does not for every type.
fn bytewise(expression: &str) -> String {
    format!("format('%s', {expression}) COLLATE \"C\"")
}

fn cell(row: &SimpleQueryRow, column: usize) -> Cell {
    row.get(column).map_or(Cell::Null, |text| {
        Cell::Text(bytes::Bytes::copy_from_slice(text.as_bytes()))
    })
}

fn key(published: &Published, row: &SimpleQueryRow) -> Vec<String> {
    published
        .key
        .iter()
        .map(|column| row.get(column.name.as_str()).unwrap_or_default().to_owned())
        .collect()
}

fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Null | Cell::Unchanged => 1,
        Cell::Text(text) => text.len(),
    }
}
