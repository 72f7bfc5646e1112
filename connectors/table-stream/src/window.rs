//! Which changes a snapshot has shown already.
//!
//! A range of a table's keys was read under one view of the database. When the stream comes to
//! transactions that this view showed, their changes of keys in the range are part of the rows that
//! were read, and are left out. A [`View`] tells which transactions those are, exactly.
//!
//! That is what makes a snapshot resumable: every part may be read under a view of its own, at any
//! time after the place in the log from which the stream goes on.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::change::{Act, TableName};

/// What was to be seen when rows were read.
pub(crate) trait View: PartialEq {
    /// What names a committed transaction of the stream.
    type Transaction: Copy;

    /// Whether what it did was to be seen.
    fn sees(&self, transaction: Self::Transaction) -> bool;
}

/// A range of keys and the view under which it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Window<V> {
    pub(crate) table: TableName,
    /// The columns of the key and how they are ordered.
    pub(crate) key: Vec<(String, KeyOrder)>,
    /// Behind this key; from the first without.
    pub(crate) after: Option<Vec<String>>,
    /// Up to and with this key; to the last without.
    pub(crate) to: Option<Vec<String>>,
    #[serde(flatten)]
    pub(crate) view: V,
}

/// How keys of a column are compared, here and in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyOrder {
    /// As whole numbers.
    Integer,
    /// By the bytes of their text: the one order of text that every database agrees on.
    Bytes,
}

/// Whether a snapshot has shown a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    No,
    Yes,
    /// Some parts of it have, and some have not.
    InPart,
}

/// Whether any of `windows` has shown what a change of `table` by `transaction` has led to; `value_of`
/// tells the columns of the row that was changed.
pub(crate) fn shown<'a, V: View>(
    windows: &[Window<V>],
    table: &TableName,
    act: Act,
    transaction: V::Transaction,
    value_of: impl Fn(&str) -> Option<Cow<'a, str>>,
) -> Shown {
    let mut windows = windows.iter().filter(|window| window.table == *table);
    let shown = match act {
        Act::Truncate | Act::Gap => {
            let seeing: Vec<_> = windows
                .filter(|window| window.view.sees(transaction))
                .collect();
            // Later views show more: with the first part, all parts have shown it.
            match seeing.iter().any(|window| window.after.is_none()) {
                false if !seeing.is_empty() => return Shown::InPart,
                first => first,
            }
        }
        Act::Insert | Act::Read | Act::Modify | Act::Remove => {
            windows.any(|window| window.shows(transaction, &value_of))
        }
    };
    match shown {
        true => Shown::Yes,
        false => Shown::No,
    }
}

/// Puts `window` among those that are known, in the place of the one that it goes on with.
pub(crate) fn remember<V: View>(windows: &mut Vec<Window<V>>, window: Window<V>) {
    match windows.iter_mut().find(|known| {
        known.table == window.table && known.after == window.after && known.view == window.view
    }) {
        Some(known) => *known = window,
        None => windows.push(window),
    }
}

impl<V: View> Window<V> {
    /// Whether a change by `transaction` of the row that `value_of` describes, column by column, is
    /// part of what was read.
    fn shows<'a>(
        &self,
        transaction: V::Transaction,
        value_of: impl Fn(&str) -> Option<Cow<'a, str>>,
    ) -> bool {
        if !self.view.sees(transaction) {
            return false;
        }
        if self.after.is_none() && self.to.is_none() {
            return true;
        }
        let key: Option<Vec<Cow<'_, str>>> =
            self.key.iter().map(|(name, _)| value_of(name)).collect();
        // A table whose key has changed since is not compared with the old one.
        let Some(key) = key else { return false };
        let against = |bound: &Vec<String>| self.compare(&key, bound);
        self.after
            .as_ref()
            .is_none_or(|after| against(after) == Ordering::Greater)
            && self
                .to
                .as_ref()
                .is_none_or(|to| against(to) != Ordering::Greater)
    }

    fn compare(&self, key: &[Cow<'_, str>], bound: &[String]) -> Ordering {
        self.key
            .iter()
            .zip(key.iter().zip(bound))
            .map(|((_, order), (one, other))| order.compare(one, other))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

impl KeyOrder {
    fn compare(self, one: &str, other: &str) -> Ordering {
        match self {
            // Wide enough for 64 bits with and without a sign.
            Self::Integer => one.parse::<i128>().ok().cmp(&other.parse().ok()),
            Self::Bytes => one.as_bytes().cmp(other.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Until(u32);

    impl View for Until {
        type Transaction = u32;

        fn sees(&self, transaction: u32) -> bool {
            transaction < self.0
        }
    }

    fn table() -> TableName {
        TableName {
            schema: "public".to_owned(),
            name: "t".to_owned(),
        }
    }

    fn window(after: Option<&str>, to: Option<&str>, order: KeyOrder) -> Window<Until> {
        let bound = |key: &str| vec![key.to_owned()];
        Window {
            table: table(),
            key: vec![("id".to_owned(), order)],
            after: after.map(bound),
            to: to.map(bound),
            view: Until(13),
        }
    }

    #[test]
    fn bounds_are_exclusive_below_and_inclusive_above() {
        let shown =
            |window: &Window<Until>, key: &'static str| window.shows(12, |_| Some(key.into()));
        let numbers = window(Some("9"), Some("11"), KeyOrder::Integer);
        let found: Vec<&str> = ["8", "9", "10", "11", "12"]
            .into_iter()
            .filter(|key| shown(&numbers, key))
            .collect();
        assert_eq!(found, ["10", "11"]);
        let text = window(None, Some("11"), KeyOrder::Bytes);
        assert!(shown(&text, "10") && !shown(&text, "9"));
        assert!(
            !text.shows(13, |_| Some("10".into())),
            "the transaction was not seen"
        );
    }

    #[test]
    fn a_truncation_that_only_later_parts_have_shown_is_shown_in_part() {
        let truncated =
            |windows: &[Window<Until>]| shown(windows, &table(), Act::Truncate, 12, |_| None);
        let first = window(None, Some("5"), KeyOrder::Integer);
        let later = window(Some("5"), None, KeyOrder::Integer);
        let mut early = first.clone();
        early.view = Until(10);
        assert_eq!(truncated(&[first, later.clone()]), Shown::Yes);
        assert_eq!(truncated(&[early.clone(), later]), Shown::InPart);
        assert_eq!(truncated(&[early]), Shown::No);
    }

    proptest! {
        #[test]
        fn of_adjoining_windows_exactly_one_covers_a_key(key: i64, cut: i64) {
            let (key, cut) = (key.to_string(), cut.to_string());
            let below = window(None, Some(&cut), KeyOrder::Integer);
            let above = window(Some(&cut), None, KeyOrder::Integer);
            let shown = [below, above].iter().filter(|window| window.shows(12, |_| Some(key.as_str().into()))).count();
            prop_assert_eq!(shown, 1);
        }
    }
}
