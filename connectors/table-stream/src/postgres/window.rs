//! Which changes a snapshot has shown already.
//!
//! A range of a table's keys was read under one snapshot of the database. When the stream comes to
//! transactions that this snapshot saw, their changes of keys in the range are part of the rows that
//! were read, and are left out. The snapshot says which transactions those are, exactly; the stream
//! passes the last of them at `until`, and then the window is of no use any more.
//!
//! That is what makes a snapshot resumable: every part may be read under a snapshot of its own, at
//! any time after the slot was made.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::Lsn;
use crate::change::TableName;

/// A range of keys and the snapshot under which it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) table: TableName,
    /// The columns of the key and how they are ordered.
    pub(super) key: Vec<(String, KeyOrder)>,
    /// Behind this key; from the first without.
    pub(super) after: Option<Vec<String>>,
    /// Up to and with this key; to the last without.
    pub(super) to: Option<Vec<String>>,
    pub(super) snapshot: Snapshot,
    /// Every transaction that the snapshot saw has committed below.
    pub(super) until: Lsn,
}

/// How keys of a column are compared, here and in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KeyOrder {
    /// As whole numbers.
    Integer,
    /// By the bytes of their text: the one order of text that every database agrees on.
    Bytes,
}

/// PostgreSQL's `pg_snapshot`: which transactions were seen as committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// All below had ended.
    xmin: u64,
    /// None from here on had ended.
    xmax: u64,
    /// Those between that had not.
    running: Vec<u64>,
}

impl Window {
    /// Whether a change by transaction `xid` of the row that `value_of` describes, column by column,
    /// is part of what was read.
    pub(super) fn shows<'a>(&self, xid: u32, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        if !self.snapshot.sees(xid) {
            return false;
        }
        if self.after.is_none() && self.to.is_none() {
            return true;
        }
        let key: Option<Vec<&str>> = self.key.iter().map(|(name, _)| value_of(name)).collect();
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

    /// Whether the whole table as `xid` left it was read.
    pub(super) fn sees(&self, xid: u32) -> bool {
        self.snapshot.sees(xid)
    }

    fn compare(&self, key: &[&str], bound: &[String]) -> Ordering {
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
            Self::Integer => one.parse::<i64>().ok().cmp(&other.parse().ok()),
            Self::Bytes => one.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl Snapshot {
    /// Reads `xmin:xmax:xid,xid,…`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mut number = || parts.next()?.parse().ok();
        let (xmin, xmax) = (number()?, number()?);
        let running = parts.next()?.split(',').filter(|xid| !xid.is_empty());
        Some(Self {
            xmin,
            xmax,
            running: running.map(|xid| xid.parse().ok()).collect::<Option<_>>()?,
        })
    }

    /// Whether transaction `xid`, which has committed by now, is seen. The stream names transactions
    /// by their lower half; the one meant is the one nearest to the snapshot.
    fn sees(&self, xid: u32) -> bool {
        let reference = u32::try_from(self.xmax & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let distance = xid.wrapping_sub(reference).cast_signed();
        let Some(xid) = self.xmax.checked_add_signed(i64::from(distance)) else {
            return true;
        };
        xid < self.xmin || (xid < self.xmax && !self.running.contains(&xid))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(after: Option<&str>, to: Option<&str>, order: KeyOrder) -> Window {
        let bound = |key: &str| vec![key.to_owned()];
        Window {
            table: TableName {
                schema: "public".to_owned(),
                name: "t".to_owned(),
            },
            key: vec![("id".to_owned(), order)],
            after: after.map(bound),
            to: to.map(bound),
            snapshot: Snapshot::parse("10:15:11,13").unwrap(),
            until: Lsn::new(0),
        }
    }

    #[test]
    fn a_snapshot_sees_what_had_ended_when_it_was_taken() {
        let snapshot = Snapshot::parse("10:15:11,13").unwrap();
        let seen: Vec<u32> = (8..18).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 10, 12, 14]);
        assert!(Snapshot::parse("7:7:").unwrap().running.is_empty());
        assert_eq!(Snapshot::parse("7"), None);
    }

    #[test]
    fn numbers_of_transactions_wrap_around() {
        let snapshot = Snapshot::parse("4294967295:4294967300:").unwrap();
        for (xid, seen) in [
            (u32::MAX, true),
            (0, true),
            (3, true),
            (4, false),
            (u32::MAX - 9, true),
        ] {
            assert_eq!(snapshot.sees(xid), seen, "{xid}");
        }
    }

    #[test]
    fn bounds_are_exclusive_below_and_inclusive_above() {
        let shown = |window: &Window, key: &'static str| window.shows(12, |_| Some(key));
        let numbers = window(Some("9"), Some("11"), KeyOrder::Integer);
        let found: Vec<&str> = ["8", "9", "10", "11", "12"]
            .into_iter()
            .filter(|key| shown(&numbers, key))
            .collect();
        assert_eq!(found, ["10", "11"]);
        let text = window(None, Some("11"), KeyOrder::Bytes);
        assert!(shown(&text, "10") && !shown(&text, "9"));
        assert!(
            !text.shows(13, |_| Some("10")),
            "the transaction was not seen"
        );
    }

    proptest! {
        #[test]
        fn of_adjoining_windows_exactly_one_covers_a_key(key: i64, cut: i64) {
            let (key, cut) = (key.to_string(), cut.to_string());
            let below = window(None, Some(&cut), KeyOrder::Integer);
            let above = window(Some(&cut), None, KeyOrder::Integer);
            let shown = [below, above].iter().filter(|window| window.shows(12, |_| Some(&key))).count();
            prop_assert_eq!(shown, 1);
        }
    }
}
