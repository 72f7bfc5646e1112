//! A change of a row, whatever database it is from.

use std::borrow::Cow;
use std::fmt;

use clock::Timestamp;
use event_log::TopicName;
use serde::{Deserialize, Serialize};

/// A table by its schema and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct TableName {
    pub(crate) schema: String,
    pub(crate) name: String,
}

impl TableName {
    /// What the table is called in topics: without the schema where that is the usual one of its
    /// kind of database.
    pub(crate) fn short(&self) -> String {
        match self.schema.as_str() {
            "public" | "main" => self.name.clone(),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// The topic of a table.
pub(crate) fn topic(connection: &str, table: &TableName) -> Result<TopicName, event_log::Error> {
    TopicName::new(format!("table.{connection}.{}", table.short()))
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Insert,
    /// A row that a snapshot found.
    Read,
    Modify,
    Remove,
    /// All rows of the table are gone.
    Truncate,
    /// Changes were lost; the rows that follow are all there are.
    Gap,
}

/// One change, ready to be written in some shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change<'a> {
    pub(crate) act: Act,
    pub(crate) table: &'a TableName,
    /// What identifies the row; empty when the change is of the whole table.
    pub(crate) keys: Vec<Field<'a>>,
    /// The row after the change, if there is one.
    pub(crate) new: Option<Vec<Field<'a>>>,
    /// The row before it, where the database tells.
    pub(crate) old: Option<Vec<Field<'a>>>,
    /// Columns that are as they were and whose value the database did not tell.
    pub(crate) unchanged: Vec<&'a str>,
    /// Later changes of a row have larger numbers; decimal, without a sign.
    pub(crate) sequence: String,
    pub(crate) at: Timestamp,
}

/// One column of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Value<'a>,
}

/// A value with as much of its type as JSON and DynamoDB know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// In JSON's notation, of any precision.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    /// A JSON document as it was written.
    Json(Cow<'a, str>),
    List(Vec<Value<'a>>),
}

impl Act {
    /// The last word of the event's type.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Read => "read",
            Self::Modify => "modify",
            Self::Remove => "remove",
            Self::Truncate => "truncate",
            Self::Gap => "gap",
        }
    }
}
