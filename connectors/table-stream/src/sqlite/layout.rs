//! A table as its changes are written down, and what else the database says of it.

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

/// More columns than this SQLite would not store twice in one row.
pub(super) const MOST_COLUMNS: usize = 990;

/// Values of a table's rows as changes hold them. What is written under a layout stays readable by it,
/// whatever becomes of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    pub(super) table: String,
    /// In the order of the values.
    pub(super) columns: Vec<Column>,
    /// What a row is found by, in the order in which rows are stored.
    pub(super) locator: Vec<Locating>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) part: Part,
}

/// What a value is in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    /// Of the primary key; the rowid where there is none.
    Key,
    Plain,
    /// The rowid beside a primary key: it locates the row and is not shown.
    Hidden,
}

/// A value that locates rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Locating {
    /// Its place among the layout's columns.
    pub(super) column: usize,
    pub(super) collation: String,
}

/// A table as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) layout: Layout,
    /// Columns, with their collations, that no two rows have the same of: each is one way in which a
    /// row can be replaced.
    pub(super) unique: Vec<Vec<(String, String)>>,
    /// Unique indexes of expressions, or of some rows only, by which replaced rows are not found.
    pub(super) unwatched: Vec<String>,
    /// The default of each of the layout's columns as SQL; `None` where a value is computed.
    pub(super) defaults: Vec<Option<String>>,
}

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayoutError {
    #[error("table {table} has {columns} columns and {MOST_COLUMNS} are the most")]
    TooWide { table: String, columns: usize },
    #[error("table {table} has columns by every name of the rowid")]
    NoRowid { table: String },
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

/// An ordinary table of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rowid,
    WithoutRowid,
}

/// The tables that rows can be read from; SQLite's own, ours, views and virtual ones left out.
pub(super) fn tables(connection: &Connection) -> rusqlite::Result<Vec<Found>> {
    let sql = "SELECT name, wr FROM pragma_table_list \
        WHERE schema = 'main' AND type = 'table' \
        AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_tidemill\\_%' ESCAPE '\\' \
        ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let found = statement.query_map([], |row| {
        Ok(Found {
            name: row.get(0)?,
            kind: match row.get::<_, bool>(1)? {
                true => Kind::WithoutRowid,
                false => Kind::Rowid,
            },
        })
    })?;
    found.collect()
}

struct Index {
    name: String,
    columns: Vec<(Option<String>, String)>,
    of_key: bool,
    of_some: bool,
}

impl Described {
    pub(super) fn of(connection: &Connection, table: &Found) -> Result<Self, LayoutError> {
        let mut columns = Vec::new();
        let mut defaults = Vec::new();
        let mut key = Vec::new();
        let sql = "SELECT name, pk, hidden, dflt_value FROM pragma_table_xinfo(?1)";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query(params![table.name])?;
        while let Some(row) = rows.next()? {
            let (name, place): (String, u32) = (row.get(0)?, row.get(1)?);
            if place > 0 {
                key.push((place, name.clone()));
            }
            columns.push(Column {
                name,
                part: match place {
                    0 => Part::Plain,
                    _ => Part::Key,
                },
            });
            defaults.push(match row.get(2)? {
                0 => Some(
                    row.get::<_, Option<String>>(3)?
                        .unwrap_or("NULL".to_owned()),
                ),
                _ => None,
            });
        }
        key.sort();
        let indexes = unique_indexes(connection, &table.name)?;
        let locator = match table.kind {
            Kind::WithoutRowid => by_key(&columns, &indexes),
            Kind::Rowid => {
                let is_rowid = key.len() == 1 && !indexes.iter().any(|index| index.of_key);
                let column = match is_rowid {
                    true => columns.iter().position(|column| column.part == Part::Key),
                    false => None,
                };
                let column = match column {
                    Some(column) => column,
                    None => {
                        columns.insert(0, rowid(&table.name, &columns, key.is_empty())?);
                        defaults.insert(0, None);
                        0
                    }
                };
                vec![Locating {
                    column,
                    collation: "BINARY".to_owned(),
                }]
            }
        };
        if columns.len() > MOST_COLUMNS {
            return Err(LayoutError::TooWide {
                table: table.name.clone(),
                columns: columns.len(),
            });
        }
        let layout = Layout {
            table: table.name.clone(),
            columns,
            locator,
        };
        let mut unique = vec![layout.located_by()];
        let mut unwatched = Vec::new();
        for index in indexes {
            let names = index.columns.into_iter();
            let columns: Option<Vec<_>> = names.map(|(name, by)| Some((name?, by))).collect();
            match columns {
                Some(columns) if !index.of_some => unique.push(columns),
                _ => unwatched.push(index.name),
            }
        }
        unique.dedup();
        Ok(Self {
            layout,
            unique,
            unwatched,
            defaults,
        })
    }
}

impl Layout {
    /// Names and collations of what locates a row.
    pub(super) fn located_by(&self) -> Vec<(String, String)> {
        let named = self.locator.iter().map(|part| {
            let name = self.columns[part.column].name.clone();
            (name, part.collation.clone())
        });
        named.collect()
    }
}

fn by_key(columns: &[Column], indexes: &[Index]) -> Vec<Locating> {
    let key = indexes.iter().find(|index| index.of_key);
    let parts = key.into_iter().flat_map(|index| &index.columns);
    parts
        .filter_map(|(name, collation)| {
            let column = columns
                .iter()
                .position(|column| Some(&column.name) == name.as_ref())?;
            Some(Locating {
                column,
                collation: collation.clone(),
            })
        })
        .collect()
}

fn rowid(table: &str, columns: &[Column], is_key: bool) -> Result<Column, LayoutError> {
    let taken = |name: &&str| columns.iter().any(|it| it.name.eq_ignore_ascii_case(name));
    let name = ["rowid", "_rowid_", "oid"]
        .into_iter()
        .find(|it| !taken(it));
    let name = name.ok_or_else(|| LayoutError::NoRowid {
        table: table.to_owned(),
    })?;
    Ok(Column {
        name: name.to_owned(),
        part: match is_key {
            true => Part::Key,
            false => Part::Hidden,
        },
    })
}

fn unique_indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Index>> {
    let sql = "SELECT name, origin = 'pk', partial FROM pragma_index_list(?1) WHERE \"unique\" \
        ORDER BY name";
    let mut statement = connection.prepare(sql)?;
    let mut indexes: Vec<Index> = statement
        .query_map(params![table], |row| {
            Ok(Index {
                name: row.get(0)?,
                of_key: row.get(1)?,
                of_some: row.get(2)?,
                columns: Vec::new(),
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let sql = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno";
    let mut statement = connection.prepare(sql)?;
    for index in &mut indexes {
        let columns =
            statement.query_map(params![index.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        index.columns = columns.collect::<rusqlite::Result<_>>()?;
    }
    Ok(indexes)
}

/// A name as SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(sql: &str) -> Described {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        let tables = tables(&connection).unwrap();
        Described::of(&connection, &tables[0]).unwrap()
    }

    fn parts(of: &Described) -> Vec<(&str, Part)> {
        let columns = of.layout.columns.iter();
        columns.map(|it| (it.name.as_str(), it.part)).collect()
    }

    fn locators(of: &Described) -> Vec<(String, String)> {
        of.layout.located_by()
    }

    fn by(name: &str, collation: &str) -> (String, String) {
        (name.to_owned(), collation.to_owned())
    }

    #[test]
    fn rows_are_located_by_what_their_table_is_stored_by() {
        let table = described("CREATE TABLE t (b, id INTEGER PRIMARY KEY)");
        assert_eq!(parts(&table), [("b", Part::Plain), ("id", Part::Key)]);
        assert_eq!(locators(&table), [by("id", "BINARY")]);

        let table = described("CREATE TABLE t (rowid, name TEXT PRIMARY KEY)");
        let expected = [
            ("_rowid_", Part::Hidden),
            ("rowid", Part::Plain),
            ("name", Part::Key),
        ];
        assert_eq!(parts(&table), expected);
        assert_eq!(locators(&table), [by("_rowid_", "BINARY")]);

        let table = described("CREATE TABLE t (a, b)");
        assert_eq!(parts(&table)[0], ("rowid", Part::Key));

        let table = described(
            "CREATE TABLE t (a TEXT COLLATE NOCASE, b, c, PRIMARY KEY (c, a)) WITHOUT ROWID",
        );
        assert_eq!(locators(&table), [by("c", "BINARY"), by("a", "NOCASE")]);
    }

    #[test]
    fn every_way_to_replace_a_row_is_found_or_named() {
        let table = described(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE COLLATE NOCASE, b, c, UNIQUE (b, c));
             CREATE UNIQUE INDEX some ON t (b) WHERE c > 0;
             CREATE UNIQUE INDEX computed ON t (b + c);
             CREATE INDEX plain ON t (c)",
        );
        let expected = [
            vec![by("id", "BINARY")],
            vec![by("a", "NOCASE")],
            vec![by("b", "BINARY"), by("c", "BINARY")],
        ];
        assert_eq!(table.unique, expected);
        assert_eq!(table.unwatched, ["computed", "some"]);
    }

    #[test]
    fn computed_columns_have_no_default() {
        let table = described("CREATE TABLE t (id INTEGER PRIMARY KEY, a DEFAULT 'x', b AS (a))");
        let defaults = ["NULL", "'x'"].map(|text| Some(text.to_owned()));
        assert_eq!(table.defaults[..2], defaults);
        assert_eq!(table.defaults[2], None);
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let connection = Connection::open_in_memory().unwrap();
        let columns: Vec<String> = (0..=MOST_COLUMNS).map(|n| format!("c{n}")).collect();
        let sql = format!(
            "CREATE TABLE wide ({}); CREATE TABLE odd (rowid, oid, _rowid_)",
            columns.join(",")
        );
        connection.execute_batch(&sql).unwrap();
        for table in tables(&connection).unwrap() {
            let refused = Described::of(&connection, &table).unwrap_err().to_string();
            assert!(refused.contains(&table.name), "{refused}");
        }
    }

    #[test]
    fn views_and_virtual_tables_are_no_tables_of_rows() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = "CREATE TABLE a (b); CREATE VIEW v AS SELECT * FROM a;
                   CREATE VIRTUAL TABLE f USING fts5(c); CREATE TABLE _tidemill_x (a)";
        connection.execute_batch(sql).unwrap();
        let names: Vec<String> = tables(&connection)
            .unwrap()
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(names, ["a"]);
    }
}
