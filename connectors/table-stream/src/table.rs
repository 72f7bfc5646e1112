//! A table as its rows are read, and rows as changes.

use bytes::Bytes;
use clock::Timestamp;
use event_log::TopicName;

use crate::change::{Act, Change, Field, TableName, Value};
use crate::window::KeyOrder;

/// How the values of a column are read.
pub(crate) trait Kind: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// The value that a cell's bytes stand for; `None` when they cannot.
    fn read<'a>(&self, bytes: &'a [u8]) -> Option<Value<'a>>;
}

/// The values of a row, in the order of its table's columns.
pub(crate) type Tuple = Vec<Cell>;

/// A value as the database writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Null,
    /// A large value that an update left alone, and that was not sent.
    Unchanged,
    Text(Bytes),
}

/// A table's columns at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Table<K> {
    pub(crate) name: TableName,
    pub(crate) topic: TopicName,
    pub(crate) columns: Vec<Column<K>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Column<K> {
    pub(crate) name: String,
    pub(crate) kind: K,
    pub(crate) part: Part,
}

/// What a column is in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Key,
    Plain,
}

/// A column of a table's key, in the key's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) order: KeyOrder,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    #[error("a row of {table} has {found} values for {expected} columns")]
    Width {
        table: TableName,
        found: usize,
        expected: usize,
    },
    #[error("a value of {table}.{column} cannot be read")]
    Value { table: TableName, column: String },
}

/// The rows of one change.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) new: Option<&'a Tuple>,
    /// All of the row before.
    pub(crate) old: Option<&'a Tuple>,
    /// What identified the row before, other columns null.
    pub(crate) key: Option<&'a Tuple>,
}

impl<K: Kind> Table<K> {
    /// The change that `rows` describe. A large value that was left alone is taken from the row
    /// before, and where that is not known, named as unchanged.
    pub(crate) fn change<'a>(
        &'a self,
        act: Act,
        rows: &Rows<'a>,
        sequence: String,
        at: Timestamp,
    ) -> Result<Change<'a>, RowError> {
        let before = rows.old.or(rows.key);
        let identifying = match act {
            Act::Remove => before,
            Act::Insert | Act::Read | Act::Modify | Act::Truncate | Act::Gap => rows.new,
        };
        let mut unchanged = Vec::new();
        let keys = match identifying {
            Some(tuple) => self.fields(tuple, before, Some(Part::Key), &mut Vec::new())?,
            None => Vec::new(),
        };
        let new = match rows.new {
            Some(tuple) => Some(self.fields(tuple, before, None, &mut unchanged)?),
            None => None,
        };
        let old = match rows.old {
            Some(tuple) => Some(self.fields(tuple, None, None, &mut Vec::new())?),
            None => None,
        };
        Ok(Change {
            act,
            table: &self.name,
            keys,
            new,
            old,
            unchanged,
            sequence,
            at,
        })
    }

    /// Whether both rows have the same key.
    pub(crate) fn same_key(&self, one: &Tuple, other: &Tuple) -> bool {
        let key = |tuple: &Tuple| -> Vec<Cell> {
            let cells = self.columns.iter().zip(tuple);
            cells
                .filter(|(column, _)| column.part == Part::Key)
                .map(|(_, cell)| cell.clone())
                .collect()
        };
        key(one)
            .into_iter()
            .zip(key(other))
            .all(|(one, other)| other == Cell::Unchanged || one == other)
    }

    /// The text of a column, for windows to compare.
    pub(crate) fn text<'a>(&self, tuple: &'a Tuple, column: &str) -> Option<&'a str> {
        let place = self.columns.iter().position(|found| found.name == column)?;
        match tuple.get(place)? {
            Cell::Text(text) => std::str::from_utf8(text).ok(),
            Cell::Null | Cell::Unchanged => None,
        }
    }

    fn fields<'a>(
        &'a self,
        tuple: &'a Tuple,
        before: Option<&'a Tuple>,
        only: Option<Part>,
        unchanged: &mut Vec<&'a str>,
    ) -> Result<Vec<Field<'a>>, RowError> {
        if tuple.len() != self.columns.len() {
            return Err(RowError::Width {
                table: self.name.clone(),
                found: tuple.len(),
                expected: self.columns.len(),
            });
        }
        let mut fields = Vec::with_capacity(tuple.len());
        for (place, column) in self.columns.iter().enumerate() {
            if only.is_some_and(|only| only != column.part) {
                continue;
            }
            let mut cell = &tuple[place];
            if *cell == Cell::Unchanged
                && let Some(known @ Cell::Text(_)) = before.and_then(|before| before.get(place))
            {
                cell = known;
            }
            let value = match cell {
                Cell::Null => Value::Null,
                Cell::Text(bytes) => {
                    let read = column.kind.read(bytes);
                    read.ok_or_else(|| RowError::Value {
                        table: self.name.clone(),
                        column: column.name.clone(),
                    })?
                }
                Cell::Unchanged => {
                    unchanged.push(&column.name);
                    continue;
                }
            };
            fields.push(Field {
                name: &column.name,
                value,
            });
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::topic;

    #[derive(Clone, Debug)]
    struct Text;

    impl Kind for Text {
        fn read<'a>(&self, bytes: &'a [u8]) -> Option<Value<'a>> {
            std::str::from_utf8(bytes)
                .ok()
                .map(|text| Value::Text(text.into()))
        }
    }

    fn table() -> Table<Text> {
        let column = |name: &str, part| Column {
            name: name.to_owned(),
            kind: Text,
            part,
        };
        let name = TableName {
            schema: "public".to_owned(),
            name: "docs".to_owned(),
        };
        Table {
            topic: topic("shop", &name).unwrap(),
            name,
            columns: vec![column("id", Part::Key), column("body", Part::Plain)],
        }
    }

    fn cell(text: &'static str) -> Cell {
        Cell::Text(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn an_unchanged_large_value_is_taken_from_the_row_before_or_named() {
        let table = table();
        let new = vec![cell("1"), Cell::Unchanged];
        let old = vec![cell("1"), cell("long")];
        let change = |old| {
            let rows = Rows {
                new: Some(&new),
                old,
                key: None,
            };
            let change = table.change(Act::Modify, &rows, String::new(), Timestamp::default());
            let change = change.unwrap();
            (change.new.unwrap().len(), change.unchanged)
        };
        assert_eq!(change(Some(&old)), (2, vec![]));
        assert_eq!(change(None), (1, vec!["body"]));
    }

    #[test]
    fn a_large_key_that_was_left_alone_is_the_same_key() {
        let table = table();
        let key = vec![cell("1"), Cell::Null];
        assert!(table.same_key(&key, &vec![Cell::Unchanged, cell("x")]));
        assert!(table.same_key(&key, &vec![cell("1"), cell("x")]));
        assert!(!table.same_key(&key, &vec![cell("2"), cell("x")]));
    }

    #[test]
    fn a_row_of_another_width_is_refused_by_name() {
        let table = table();
        let rows = Rows {
            new: Some(&vec![cell("1")]),
            old: None,
            key: None,
        };
        let refused = table.change(Act::Insert, &rows, String::new(), Timestamp::default());
        assert_eq!(
            refused.unwrap_err().to_string(),
            "a row of public.docs has 1 values for 2 columns"
        );
    }
}
