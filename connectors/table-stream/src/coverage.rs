//! What has been read of which tables, up to a place: for databases whose log is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::change::TableName;
use crate::position::Progress;
use crate::table::{Table, Tuple};
use crate::window::{View, Window, remember};

/// The tables' part of a source's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Coverage<V> {
    /// Every table that was ever read.
    #[serde(serialize_with = "as_list", deserialize_with = "from_list")]
    pub(crate) tables: BTreeMap<TableName, Progress>,
    /// Snapshots that the stream has not passed yet.
    pub(crate) windows: Vec<Window<V>>,
    /// Tables whose readers must be told that changes were lost.
    pub(crate) gaps: Vec<TableName>,
}

/// Some rows of one table.
pub(crate) struct Chunk<K, V> {
    pub(crate) table: Arc<Table<K>>,
    pub(crate) rows: Vec<Tuple>,
    /// What was read of the table under this view, these rows included. It has an end when more may
    /// follow.
    pub(crate) window: Window<V>,
}

/// Nothing is read yet.
impl<V> Default for Coverage<V> {
    fn default() -> Self {
        Self {
            tables: BTreeMap::new(),
            windows: Vec::new(),
            gaps: Vec::new(),
        }
    }
}

impl<V> Coverage<V> {
    /// All tables of before are to be read from their beginnings, and their readers to be told so.
    pub(crate) fn after_gap(self) -> Self {
        let mut gaps: Vec<TableName> = self.tables.into_keys().chain(self.gaps).collect();
        gaps.sort_unstable();
        gaps.dedup();
        Self {
            gaps,
            ..Self::default()
        }
    }

    /// The same for one table.
    pub(crate) fn read_again(&mut self, name: &TableName) {
        self.gaps.push(name.clone());
        self.windows.retain(|window| window.table != *name);
        self.tables.insert(name.clone(), Progress::Unread);
    }

    /// Whose topics are written.
    pub(crate) fn written(&self) -> impl Iterator<Item = &TableName> {
        self.tables.keys().chain(&self.gaps)
    }

    /// For people: the `place` in the log, and how many tables are read whole until all are.
    pub(crate) fn shown_at(&self, place: String) -> String {
        let tables = self.tables.len();
        let all = self.tables.values();
        let whole = all.filter(|progress| **progress == Progress::Whole).count();
        match whole == tables {
            true => place,
            false => format!("{place}, reading rows: {whole} of {tables} tables done"),
        }
    }
}

impl<V: View> Coverage<V> {
    /// A snapshot has come as far as `window` says.
    pub(crate) fn has_read(&mut self, window: Window<V>) {
        let progress = match &window.to {
            Some(key) => Progress::UpTo(key.clone()),
            None => Progress::Whole,
        };
        self.tables.insert(window.table.clone(), progress);
        remember(&mut self.windows, window);
    }
}

/// JSON's objects have text for names only.
fn as_list<S: Serializer>(
    tables: &BTreeMap<TableName, Progress>,
    to: S,
) -> Result<S::Ok, S::Error> {
    to.collect_seq(tables)
}

fn from_list<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<TableName, Progress>, D::Error> {
    Ok(Vec::deserialize(from)?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str) -> TableName {
        TableName {
            schema: "public".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_gap_is_told_to_those_who_were_not_told_of_the_last_one_too() {
        let coverage: Coverage<()> = Coverage {
            tables: [
                (table("a"), Progress::Whole),
                (table("b"), Progress::Unread),
            ]
            .into(),
            windows: Vec::new(),
            gaps: vec![table("c"), table("b")],
        };
        let after = coverage.after_gap();
        assert_eq!(after.gaps, [table("a"), table("b"), table("c")]);
        assert!(after.tables.is_empty());
    }

    #[test]
    fn reading_rows_is_shown_until_all_tables_are_whole() {
        let mut coverage: Coverage<()> = Coverage::default();
        coverage.tables.insert(table("a"), Progress::Whole);
        assert_eq!(coverage.shown_at("log 9".to_owned()), "log 9");
        coverage.read_again(&table("b"));
        assert_eq!(
            coverage.shown_at("log 9".to_owned()),
            "log 9, reading rows: 1 of 2 tables done"
        );
    }
}
