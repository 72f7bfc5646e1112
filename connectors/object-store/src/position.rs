//! The place that a source has reached.

use std::collections::BTreeMap;

use event::SourcePosition;

use crate::entry::Entry;

/// How many batches led here, and how many objects the manifest holds by now: two decimal numbers with
/// a space between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Grows by one with every batch: orders positions.
    pub(crate) generation: u64,
    /// A manifest with another number is not the one that belongs to it.
    pub(crate) objects: u64,
}

/// A position as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// What is known is in the manifest.
    Place(Place),
    /// What is known stands in the position itself, as it did before there were manifests: the generation,
    /// a line feed, the objects as JSON.
    Whole {
        generation: u64,
        objects: BTreeMap<String, Entry>,
    },
}

/// Why a position cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PositionError {
    #[error("the stored position is none of a listing")]
    Foreign,
    #[error("the objects of the stored position cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

impl Place {
    pub(crate) fn to_position(self) -> SourcePosition {
        SourcePosition::new(format!("{} {}", self.generation, self.objects))
    }
}

impl Stored {
    pub(crate) fn read(position: &SourcePosition) -> Result<Self, PositionError> {
        let text = std::str::from_utf8(position.as_bytes()).map_err(|_| PositionError::Foreign)?;
        let number = |text: &str| text.parse().map_err(|_| PositionError::Foreign);
        if let Some((generation, objects)) = text.split_once('\n') {
            return Ok(Self::Whole {
                generation: number(generation)?,
                objects: serde_json::from_str(objects).map_err(PositionError::Unreadable)?,
            });
        }
        let (generation, objects) = text.split_once(' ').ok_or(PositionError::Foreign)?;
        Ok(Self::Place(Place {
            generation: number(generation)?,
            objects: number(objects)?,
        }))
    }
}

/// The generation of a position; `None` when it is no position of this source.
pub(crate) fn generation_of(position: &SourcePosition) -> Option<u64> {
    let text = position.as_bytes();
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b' '))?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

/// A position for people; `None` when it is none of this source.
#[must_use]
pub fn show_position(position: &SourcePosition) -> Option<String> {
    let (generation, objects) = match Stored::read(position).ok()? {
        Stored::Place(place) => (place.generation, place.objects),
        Stored::Whole {
            generation,
            objects,
        } => (generation, objects.len() as u64),
    };
    Some(format!("change set {generation}, {objects} objects known"))
}

#[cfg(test)]
mod tests {
    use clock::Timestamp;

    use super::*;

    #[test]
    fn the_position_is_these_bytes() {
        let place = Place {
            generation: 12,
            objects: 3,
        };
        let position = place.to_position();
        assert_eq!(position.as_bytes(), "12 3");
        assert_eq!(Stored::read(&position).unwrap(), Stored::Place(place));
        assert_eq!(generation_of(&position), Some(12));
        let shown = show_position(&position);
        assert_eq!(shown.as_deref(), Some("change set 12, 3 objects known"));
    }

    #[test]
    fn a_position_that_holds_its_objects_is_still_read() {
        let position =
            SourcePosition::new("2\n{\"a.csv\":{\"etag\":\"e\",\"size\":3,\"modified\":7}}");
        let entry = Entry {
            etag: Some("e".to_owned()),
            size: 3,
            modified: Timestamp::from_millis(7),
        };
        let whole = Stored::Whole {
            generation: 2,
            objects: BTreeMap::from([("a.csv".to_owned(), entry)]),
        };
        assert_eq!(Stored::read(&position).unwrap(), whole);
        assert_eq!(generation_of(&position), Some(2));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "12", "a b", "1 x", "\n{}", "no manifest"] {
            let position = SourcePosition::new(text);
            assert!(Stored::read(&position).is_err(), "{text:?}");
        }
    }
}
