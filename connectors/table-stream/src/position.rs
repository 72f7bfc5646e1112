//! The resume token: a place that is compared, and what must be known to go on from it.
//!
//! The first 28 bytes are the [`Place`], big-endian, so that places compare as bytes; the rest, which
//! only the position of a whole batch has, is the source's state as JSON.

use std::cmp::Ordering;

use event::SourcePosition;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const PLACE_BYTES: usize = 28;

/// A place in what a source hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// One more after every gap.
    pub(crate) generation: u32,
    /// The transaction's place in the database's log, or the end of the last one.
    pub(crate) log: u64,
    /// The number of the change in its transaction, from 1; 0 between transactions.
    pub(crate) change: u64,
    /// Rows of snapshots handed over since that change.
    pub(crate) row: u64,
}

/// How far the snapshot of a table has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Progress {
    /// Nothing of it was read.
    Unread,
    /// Rows up to this key were read.
    UpTo(Vec<String>),
    /// All of it was read.
    Whole,
}

#[derive(Debug, thiserror::Error)]
#[error("the stored position is none of such a source")]
pub(crate) struct Unreadable;

impl Place {
    /// The event's sequence number: decimal, larger for later places, and 40 digits at the most for
    /// as long as there were fewer than 100 gaps, as DynamoDB's are.
    pub(crate) fn sequence(self) -> String {
        let Self {
            generation,
            log,
            change,
            row,
        } = self;
        format!("{generation}{log:018}{change:010}{row:010}")
    }

    /// The place alone, for what is compared and never resumed at.
    pub(crate) fn to_position(self) -> SourcePosition {
        SourcePosition::new(self.bytes().to_vec())
    }

    /// The beginning of a generation that goes on from `log`.
    pub(crate) const fn beginning(generation: u32, log: u64) -> Self {
        Self {
            generation,
            log,
            change: 0,
            row: 0,
        }
    }

    /// The place once everything of the log up to `log` was handed over.
    pub(crate) fn past(self, log: u64) -> Self {
        self.max(Self::beginning(self.generation, log))
    }

    fn bytes(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..4].copy_from_slice(&self.generation.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.log.to_be_bytes());
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
            log: number(4)?,
            change: number(12)?,
            row: number(20)?,
        })
    }
}

/// The position after `place`, to resume at.
pub(crate) fn resumable(place: Place, state: &impl Serialize) -> SourcePosition {
    let mut bytes = place.bytes().to_vec();
    serde_json::to_writer(&mut bytes, state).expect("a state has no maps but those of text");
    SourcePosition::new(bytes)
}

/// Reads a position to resume at.
pub(crate) fn read<S: DeserializeOwned>(
    position: &SourcePosition,
) -> Result<(Place, S), Unreadable> {
    let bytes = position.as_bytes();
    let place = Place::of_bytes(bytes).ok_or(Unreadable)?;
    let state = serde_json::from_slice(&bytes[PLACE_BYTES..]).map_err(|_| Unreadable)?;
    Ok((place, state))
}

/// The order of places.
pub(crate) fn order(one: &SourcePosition, other: &SourcePosition) -> Ordering {
    let place = |of: &SourcePosition| of.as_bytes().get(..PLACE_BYTES).map(<[u8]>::to_vec);
    place(one).cmp(&place(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        (0u32..50, 0u64..1_000_000_000, 0u64..1_000, 0u64..1_000).prop_map(
            |(generation, log, change, row)| Place {
                generation: generation + 1,
                log,
                change,
                row,
            },
        )
    }

    #[test]
    fn a_place_alone_is_nothing_to_resume_at() {
        let place = Place {
            generation: 1,
            log: 1,
            change: 0,
            row: 0,
        };
        assert!(read::<Vec<u8>>(&place.to_position()).is_err());
        assert!(read::<Vec<u8>>(&SourcePosition::new("41")).is_err());
    }

    proptest! {
        #[test]
        fn positions_and_numbers_have_the_order_of_places(one in place(), other in place()) {
            let order_of_places = one.cmp(&other);
            prop_assert_eq!(order(&one.to_position(), &resumable(other, &())), order_of_places);
            let number = |place: Place| format!("{:0>42}", place.sequence());
            prop_assert_eq!(number(one).cmp(&number(other)), order_of_places);
        }
    }
}
