//! Reading whole tables, each under a view of its own.
//!
//! Rows come in the order of their key as one result that the server sends as fast as it is read. The
//! place in the log that the view shows is known exactly: MariaDB tells it with the view, and MySQL
//! holds the table still for the moment in which the view is taken.

use std::collections::VecDeque;
use std::sync::Arc;

use connector::SourceError;
use futures::StreamExt as _;
use mysql_async::prelude::{Query as _, Queryable as _};
use mysql_async::{Conn, ResultSetStream, Row, TextProtocol, Value};

use super::charset::Charsets;
use super::event::hex;
use super::failure::{sql, unavailable};
use super::logged::LogPlace;
use super::position::View;
use super::server::{Family, Found, Server, describe, end, place, quoted, quoted_table};
use super::value::Kind;
use crate::Naming;
use crate::change::TableName;
use crate::coverage::Chunk;
use crate::table::{Cell, Table, Tuple};
use crate::window::{KeyOrder, Window};

/// A table to be read, behind the key given.
pub(super) type Unread = (TableName, Option<Vec<String>>);

/// Tables that are being read.
pub(super) struct Reader {
    queue: VecDeque<Unread>,
    open: Option<Open>,
}

/// A table that is being read.
struct Open {
    found: Found,
    after: Option<Vec<String>>,
    view: View,
    rows: ResultSetStream<'static, 'static, 'static, Row, TextProtocol>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) const fn new(queue: VecDeque<Unread>) -> Self {
        Self { queue, open: None }
    }

    /// The next rows, of about `max_bytes`; none when all tables were read.
    pub(super) async fn next(
        &mut self,
        server: &Server,
        naming: &Naming,
        charsets: &Charsets,
        max_bytes: usize,
    ) -> Result<Option<Chunk<Kind, View>>, SourceError> {
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let Some((name, after)) = self.queue.front() else {
                    return Ok(None);
                };
                none.insert(Open::begin(server, naming, charsets, name, after.clone()).await?)
            }
        };
        let chunk = open.next(max_bytes).await?;
        if chunk.window.to.is_none() {
            self.open = None;
            self.queue.pop_front();
        }
        Ok(Some(chunk))
    }
}

impl Open {
    async fn begin(
        server: &Server,
        naming: &Naming,
        charsets: &Charsets,
        name: &TableName,
        after: Option<Vec<String>>,
    ) -> Result<Self, SourceError> {
        let act = format!("read table {name}");
        let mut client = server.another().await?;
        let until = view(server, &mut client, name, server.family).await?;
        // From here on the table stays what it is: changes of its columns wait, or fail us.
        let touch = format!("SELECT 1 FROM {} LIMIT 1", quoted_table(name));
        client.query_drop(touch).await.map_err(sql(&act))?;
        let found = describe(&mut client, naming, charsets, name).await?;
        let select = select(&found, after.as_deref());
        let rows = select.stream(client).await.map_err(sql(&act))?;
        Ok(Self {
            found,
            after,
            view: View { until },
            rows,
        })
    }

    async fn next(&mut self, max_bytes: usize) -> Result<Chunk<Kind, View>, SourceError> {
        let act = format!("read table {}", self.found.table.name);
        let mut rows: Vec<Tuple> = Vec::new();
        let mut bytes = 0;
        let mut ended = false;
        while bytes < max_bytes {
            let Some(row) = self.rows.next().await else {
                ended = true;
                break;
            };
            let row: Tuple = row
                .map_err(sql(&act))?
                .unwrap()
                .into_iter()
                .map(cell)
                .collect();
            bytes += row.iter().map(size).sum::<usize>();
            rows.push(row);
        }
        let to = match rows.last() {
            Some(row) if !ended => Some(self.key(row)),
            Some(_) | None => None,
        };
        let key = self.found.key.iter();
        Ok(Chunk {
            table: Arc::new(self.found.table.clone()),
            rows,
            window: Window {
                table: self.found.table.name.clone(),
                key: key
                    .map(|column| (column.name.clone(), column.order))
                    .collect(),
                after: self.after.clone(),
                to,
                view: self.view,
            },
        })
    }

    fn key(&self, row: &Tuple) -> Vec<String> {
        let table = &self.found.table;
        let part = |name: &str| key_text(table, row, name).unwrap_or_default();
        let key = self.found.key.iter();
        key.map(|column| part(&column.name)).collect()
    }
}

/// The text of a column by which keys are compared: of bytes, their digits.
pub(super) fn key_text(table: &Table<Kind>, row: &Tuple, column: &str) -> Option<String> {
    let place = table
        .columns
        .iter()
        .position(|found| found.name == column)?;
    match (row.get(place)?, table.columns.get(place)?.kind) {
        (Cell::Text(bytes), Kind::Bytes) => Some(hex(bytes)),
        (Cell::Text(bytes), _) => String::from_utf8(bytes.to_vec()).ok(),
        (Cell::Null | Cell::Unchanged, _) => None,
    }
}

/// Begins a transaction that sees the database at one moment, and says which that is in the log.
async fn view(
    server: &Server,
    client: &mut Conn,
    name: &TableName,
    family: Family,
) -> Result<LogPlace, SourceError> {
    let act = "begin a snapshot";
    let begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
    client
        .query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        .await
        .map_err(sql(act))?;
    match family {
        Family::Mariadb => {
            client.query_drop(begin).await.map_err(sql(act))?;
            let ask = "SHOW SESSION STATUS LIKE 'binlog_snapshot_%'";
            let told: Vec<(String, String)> = client.query(ask).await.map_err(sql(act))?;
            let value = |wanted: &str| {
                let found = told
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.clone())
            };
            let byte = value("Binlog_snapshot_position").and_then(|text| text.parse().ok());
            let found = place(value("Binlog_snapshot_file"), byte);
            let garbled = || unavailable(act, "the server does not say what it shows");
            found.map(|(_, place)| place).ok_or_else(garbled)
        }
        Family::Mysql => {
            // Whoever writes the table has committed, and nobody begins to before the view is taken.
            let mut holder = server.another().await?;
            let hold = format!("LOCK TABLES {} READ", quoted_table(name));
            holder.query_drop(hold).await.map_err(sql(act))?;
            client.query_drop(begin).await.map_err(sql(act))?;
            let (_, place) = end(&mut holder, server.family, server.version()).await?;
            holder.query_drop("UNLOCK TABLES").await.map_err(sql(act))?;
            Ok(place)
        }
    }
}

/// All rows in the order of their key: whole numbers as they are, which an index serves, everything else
/// by the bytes of its text.
fn select(found: &Found, after: Option<&[String]>) -> String {
    let key: Vec<String> = found
        .key
        .iter()
        .map(|column| {
            let name = quoted(&column.name);
            match (column.order, kind(found, &column.name)) {
                (KeyOrder::Integer, _) => name,
                (KeyOrder::Bytes, Some(Kind::Bytes)) => format!("CAST({name} AS BINARY)"),
                (KeyOrder::Bytes, _) => format!("CAST(CONVERT({name} USING utf8mb4) AS BINARY)"),
            }
        })
        .collect();
    let values: Vec<String> = found
        .key
        .iter()
        .zip(after.unwrap_or_default())
        .map(
            |(column, value)| match (column.order, kind(found, &column.name)) {
                (KeyOrder::Integer, _) => value.clone(),
                (KeyOrder::Bytes, Some(Kind::Bytes)) => format!("X'{value}'"),
                (KeyOrder::Bytes, _) => format!("X'{}'", hex(value.as_bytes())),
            },
        )
        .collect();
    // Larger in the first column, or the same there and larger in the next: an index is used for it.
    let larger = (0..values.len()).map(|last| {
        let same = key.iter().zip(&values).take(last);
        let mut parts: Vec<String> = same
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        parts.push(format!("{} > {}", key[last], values[last]));
        format!("({})", parts.join(" AND "))
    });
    let larger: Vec<String> = larger.collect();
    let condition = match larger.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", larger.join(" OR ")),
    };
    format!(
        "SELECT {} FROM {}{condition} ORDER BY {}",
        found.selected.join(", "),
        quoted_table(&found.table.name),
        key.join(", ")
    )
}

fn kind(found: &Found, column: &str) -> Option<Kind> {
    let columns = found.table.columns.iter();
    columns
        .filter(|known| known.name == column)
        .map(|known| known.kind)
        .next()
}

fn cell(value: Value) -> Cell {
    match value {
        Value::NULL => Cell::Null,
        Value::Bytes(bytes) => Cell::Text(bytes.into()),
        // As text nothing else comes.
        other => Cell::Text(other.as_sql(true).into_bytes().into()),
    }
}

fn size(cell: &Cell) -> usize {
    match cell {
        Cell::Null | Cell::Unchanged => 1,
        Cell::Text(text) => text.len() + 1,
    }
}
