//! What a snapshot of PostgreSQL shows: it says which transactions, and the stream passes the last of
//! them at a known place.

use serde::{Deserialize, Serialize};

use super::Lsn;
use crate::window;

/// A snapshot and how far it matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct View {
    pub(super) snapshot: Snapshot,
    /// Every transaction that the snapshot saw has committed below.
    pub(super) until: Lsn,
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

impl window::View for View {
    type Transaction = u32;

    fn sees(&self, xid: u32) -> bool {
        self.snapshot.sees(xid)
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
    use super::*;

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
}
