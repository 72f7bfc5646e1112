//! The resume token: a place that is compared, and what must be known to go on from it.
//!
//! The first 28 bytes are the [`Place`], big-endian, so that places compare as bytes; the rest, which
//! only the position of a whole batch has, is the [`State`] as JSON.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use event::SourcePosition;
use serde::{Deserialize, Serialize};

use super::Lsn;
use super::window::Window;
use crate::change::TableName;

const PLACE_BYTES: usize = 28;

/// A place in what a source hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// One more after every gap.
    pub(super) generation: u32,
    /// The commit record of the transaction, or the end of the last one.
    pub(super) lsn: Lsn,
    /// The number of the change in its transaction, from 1; 0 between transactions.
    pub(super) change: u64,
    /// Rows of snapshots handed over since that change.
    pub(super) row: u64,
}

/// What has been handed over up to a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The cluster's own identifier.
    pub(super) system: String,
    /// Transactions whose commit record ends here or earlier are complete.
    pub(super) flushed: Lsn,
    /// Every table that was ever read.
    #[serde(with = "as_list")]
    pub(super) tables: BTreeMap<TableName, Progress>,
    /// Snapshots that the stream has not passed yet.
    pub(super) windows: Vec<Window>,
    /// Tables whose readers must be told that changes were lost.
    pub(super) gaps: Vec<TableName>,
}

/// How far the snapshot of a table has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Progress {
    /// Nothing of it was read.
    Unread,
    /// Rows up to this key were read.
    UpTo(Vec<String>),
    /// All of it was read.
    Whole,
}

#[derive(Debug, thiserror::Error)]
#[error("the stored position is none of a PostgreSQL source")]
pub(super) struct Unreadable;

impl Place {
    /// The event's sequence number: decimal, larger for later places, and 40 digits at the most for
    /// as long as there were fewer than 100 gaps, as DynamoDB's are.
    pub(super) fn sequence(self) -> String {
        let Self {
            generation,
            lsn,
            change,
            row,
        } = self;
        format!("{generation}{:018}{change:010}{row:010}", lsn.get())
    }

    /// The place alone, for what is compared and never resumed at.
    pub(super) fn to_position(self) -> SourcePosition {
        SourcePosition::new(self.bytes().to_vec())
    }

    fn bytes(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..4].copy_from_slice(&self.generation.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.lsn.get().to_be_bytes());
        bytes[12..20].copy_from_slice(&self.change.to_be_bytes());
        bytes[20..].copy_from_slice(&self.row.to_be_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |from: usize| {
            Some(u64::from_be_bytes(
                bytes.get(from..from + 8)?.try_into().ok()?,
            ))
        };
        Some(Self {
            generation: u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?),
            lsn: Lsn::new(number(4)?),
            change: number(12)?,
            row: number(20)?,
        })
    }
}

/// The position after `place`, to resume at.
pub(super) fn resumable(place: Place, state: &State) -> SourcePosition {
    let mut bytes = place.bytes().to_vec();
    serde_json::to_writer(&mut bytes, state).expect("a state has no maps but those of text");
    SourcePosition::new(bytes)
}

/// Reads a position to resume at.
pub(super) fn read(position: &SourcePosition) -> Result<(Place, State), Unreadable> {
    let bytes = position.as_bytes();
    let place = Place::of_bytes(bytes).ok_or(Unreadable)?;
    let state = serde_json::from_slice(&bytes[PLACE_BYTES..]).map_err(|_| Unreadable)?;
    Ok((place, state))
}

/// The order of places.
pub(super) fn order(one: &SourcePosition, other: &SourcePosition) -> Ordering {
    let place = |of: &SourcePosition| of.as_bytes().get(..PLACE_BYTES).map(<[u8]>::to_vec);
    place(one).cmp(&place(other))
}

/// JSON's objects have text for names only.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Progress, TableName};

    pub(super) fn serialize<S: Serializer>(
        tables: &BTreeMap<TableName, Progress>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(tables)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<TableName, Progress>, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        (0u32..50, 0u64..1_000_000_000, 0u64..1_000, 0u64..1_000).prop_map(
            |(generation, lsn, change, row)| Place {
                generation: generation + 1,
                lsn: Lsn::new(lsn),
                change,
                row,
            },
        )
    }

    #[test]
    fn golden_bytes_of_a_position() {
        let table = TableName {
            schema: "public".to_owned(),
            name: "orders".to_owned(),
        };
        let state = State {
            system: "7".to_owned(),
            flushed: Lsn::new(9),
            tables: [(table, Progress::UpTo(vec!["5".to_owned()]))].into(),
            windows: Vec::new(),
            gaps: Vec::new(),
        };
        let place = Place {
            generation: 1,
            lsn: Lsn::new(10),
            change: 2,
            row: 3,
        };
        let position = resumable(place, &state);
        let mut golden =
            hex::decode("00000001000000000000000a00000000000000020000000000000003").unwrap();
        golden.extend_from_slice(
            br#"{"system":"7","flushed":9,"tables":[[{"schema":"public","name":"orders"},{"upto":["5"]}]],"windows":[],"gaps":[]}"#,
        );
        assert_eq!(position.as_bytes(), &golden);
        assert_eq!(read(&position).unwrap(), (place, state));
        assert_eq!(place.sequence(), "100000000000000001000000000020000000003");
        assert!(place.sequence().len() < 40);
    }

    #[test]
    fn a_place_alone_is_nothing_to_resume_at() {
        let place = Place {
            generation: 1,
            lsn: Lsn::new(1),
            change: 0,
            row: 0,
        };
        assert!(read(&place.to_position()).is_err());
        assert!(read(&SourcePosition::new("41")).is_err());
    }

    proptest! {
        #[test]
        fn positions_and_numbers_have_the_order_of_places(one in place(), other in place()) {
            let state = State::default();
            let order_of_places = one.cmp(&other);
            prop_assert_eq!(order(&one.to_position(), &resumable(other, &state)), order_of_places);
            let number = |place: Place| format!("{:0>42}", place.sequence());
            prop_assert_eq!(number(one).cmp(&number(other)), order_of_places);
        }
    }
}
