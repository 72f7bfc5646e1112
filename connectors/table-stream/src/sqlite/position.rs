//! The resume token: a place that is compared, and what must be known to go on from it.
//!
//! The first 20 bytes are the [`Place`], big-endian, so that places compare as bytes; the rest, which
//! only the position of a whole batch has, is the [`State`] as JSON.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use event::SourcePosition;
use serde::{Deserialize, Serialize};

use super::stored::Stored;

const PLACE_BYTES: usize = 20;

/// A place in what a source hands over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// One more after every gap of the whole file.
    pub(super) generation: u32,
    /// The number of the last change that was read.
    pub(super) change: i64,
    /// Events since that change, its own among them.
    pub(super) event: u64,
}

/// What has been handed over up to a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// What the file was marked with when it was attached.
    pub(super) mark: String,
    /// When the last change that was read was made, ms since the epoch: with its number, that tells
    /// one history of the file from another.
    pub(super) at: i64,
    /// Every table that is read.
    pub(super) tables: BTreeMap<String, Progress>,
    /// Tables whose readers must be told that changes were lost.
    pub(super) gaps: Vec<String>,
}

/// How far the snapshot of a table has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Progress {
    /// Nothing of it was read.
    Unread,
    /// Rows up to the one that is located by these values were read.
    UpTo(Vec<Stored>),
    /// All of it was read.
    Whole,
}

#[derive(Debug, thiserror::Error)]
#[error("the stored position is none of a SQLite source")]
pub(super) struct Unreadable;

impl Place {
    /// The place of the next event of the same change.
    pub(super) fn next(&mut self) -> Self {
        self.event += 1;
        *self
    }

    /// The event's sequence number: decimal, larger for later places, and 40 digits at the most, as
    /// DynamoDB's are.
    pub(super) fn sequence(self) -> String {
        let Self {
            generation,
            change,
            event,
        } = self;
        format!("{generation}{change:019}{event:010}")
    }

    /// The place alone, for what is compared and never resumed at.
    pub(super) fn to_position(self) -> SourcePosition {
        SourcePosition::new(self.bytes().to_vec())
    }

    fn bytes(self) -> [u8; PLACE_BYTES] {
        let mut bytes = [0; PLACE_BYTES];
        bytes[..4].copy_from_slice(&self.generation.to_be_bytes());
        bytes[4..12].copy_from_slice(&self.change.to_be_bytes());
        bytes[12..].copy_from_slice(&self.event.to_be_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            generation: u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?),
            change: i64::from_be_bytes(bytes.get(4..12)?.try_into().ok()?),
            event: u64::from_be_bytes(bytes.get(12..20)?.try_into().ok()?),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place() -> impl Strategy<Value = Place> {
        (1u32..50, 1i64..1_000_000_000, 0u64..1_000).prop_map(|(generation, change, event)| Place {
            generation,
            change,
            event,
        })
    }

    #[test]
    fn golden_bytes_of_a_position() {
        let state = State {
            mark: "m".to_owned(),
            at: 7,
            tables: [
                ("a".to_owned(), Progress::UpTo(vec![Stored::Integer(5)])),
                ("b".to_owned(), Progress::Whole),
            ]
            .into(),
            gaps: vec!["b".to_owned()],
        };
        let place = Place {
            generation: 1,
            change: 10,
            event: 3,
        };
        let position = resumable(place, &state);
        let mut golden = hex::decode("00000001000000000000000a0000000000000003").unwrap();
        golden.extend_from_slice(
            br#"{"mark":"m","at":7,"tables":{"a":{"upto":[{"integer":5}]},"b":"whole"},"gaps":["b"]}"#,
        );
        assert_eq!(position.as_bytes(), &golden);
        assert_eq!(read(&position).unwrap(), (place, state));
        assert_eq!(place.sequence(), "100000000000000000100000000003");
    }

    #[test]
    fn a_place_alone_is_nothing_to_resume_at() {
        let place = Place {
            generation: 1,
            change: 1,
            event: 0,
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
