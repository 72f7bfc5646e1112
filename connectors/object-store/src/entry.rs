//! One object as a listing shows it, what may become of it, and how it is remembered.

use bytes::Bytes;
use clock::Timestamp;
use connector::Note;
use serde::{Deserialize, Serialize};

use crate::Listed;

/// What tells one state of an object from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) etag: Option<String>,
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
}

/// One difference between what was known and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: String,
    pub(crate) state: State,
}

/// What a change leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The object is new or another.
    Created(Entry),
    /// The object is gone.
    Removed,
}

impl Entry {
    /// How it is noted under its key: as JSON.
    pub(crate) fn to_value(&self) -> Bytes {
        let json = serde_json::to_vec(self).expect("an entry has a JSON form");
        json.into()
    }

    /// Reads what [`to_value`](Self::to_value) has written.
    pub(crate) fn from_value(value: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(value)
    }
}

impl Change {
    /// What to remember of it.
    pub(crate) fn note(&self) -> Note {
        Note {
            key: Bytes::copy_from_slice(self.key.as_bytes()),
            value: match &self.state {
                State::Created(entry) => Some(entry.to_value()),
                State::Removed => None,
            },
        }
    }

    /// By time and key what was created, then by key what was removed.
    pub(crate) fn order(&self) -> (bool, Option<Timestamp>, &str) {
        match &self.state {
            State::Created(entry) => (false, Some(entry.modified), &self.key),
            State::Removed => (true, None, &self.key),
        }
    }
}

impl Entry {
    /// The key and state of an object.
    pub(crate) fn of(object: Listed) -> (String, Self) {
        let entry = Self {
            // Without the quotes that belong to HTTP.
            etag: object.etag.map(|etag| etag.trim_matches('"').to_owned()),
            size: object.size,
            modified: object.modified,
        };
        (object.key, entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_remembered_in_these_bytes() {
        let entry = Entry {
            etag: Some("e".to_owned()),
            size: 3,
            modified: Timestamp::from_millis(7),
        };
        let value = entry.to_value();
        assert_eq!(value, r#"{"etag":"e","size":3,"modified":7}"#);
        assert_eq!(Entry::from_value(&value).unwrap(), entry);
    }
}
