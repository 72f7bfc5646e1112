//! What was in the store when it was last listed.

use std::collections::BTreeMap;

use clock::Timestamp;
use event::SourcePosition;
use serde::{Deserialize, Serialize};

/// The largest manifest, as it is written with every batch: some 10,000 objects with names of
/// ordinary length.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// Objects by key, and how many batches led here. It is the source's position: the generation in
/// decimal, a line feed, the objects as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Grows by one with every batch: orders positions.
    pub(crate) generation: u64,
    pub(crate) objects: BTreeMap<String, Entry>,
}

/// What tells one state of an object from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) etag: Option<String>,
    pub(crate) size: u64,
    pub(crate) modified: Timestamp,
}

/// One difference between a manifest and a listing.
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

/// Why a manifest cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error(
        "{objects} objects need a manifest of {bytes} bytes and the limit is {MAX_MANIFEST_BYTES}: \
         watch a prefix with fewer"
    )]
    TooLarge { objects: usize, bytes: usize },
    #[error("the stored position has no generation")]
    NoGeneration,
    #[error("the objects of the stored position cannot be read")]
    Unreadable(#[source] serde_json::Error),
}

impl Manifest {
    /// What must happen to the manifest to become `listing`: created by time and key, then removed
    /// by key.
    pub(crate) fn changes_to(&self, listing: BTreeMap<String, Entry>) -> Vec<Change> {
        let removed: Vec<Change> = self
            .objects
            .keys()
            .filter(|key| !listing.contains_key(*key))
            .map(|key| Change {
                key: key.clone(),
                state: State::Removed,
            })
            .collect();
        let mut created: Vec<(String, Entry)> = listing
            .into_iter()
            .filter(|(key, entry)| self.objects.get(key) != Some(entry))
            .collect();
        created.sort_by(|(one, a), (other, b)| (a.modified, one).cmp(&(b.modified, other)));
        created
            .into_iter()
            .map(|(key, entry)| Change {
                key,
                state: State::Created(entry),
            })
            .chain(removed)
            .collect()
    }

    /// Makes one change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match &change.state {
            State::Created(entry) => {
                self.objects.insert(change.key.clone(), entry.clone());
            }
            State::Removed => {
                self.objects.remove(&change.key);
            }
        }
    }

    pub(crate) fn to_position(&self) -> Result<SourcePosition, ManifestError> {
        let objects =
            serde_json::to_string(&self.objects).expect("a manifest has only text as keys");
        let bytes = format!("{}\n{objects}", self.generation);
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge {
                objects: self.objects.len(),
                bytes: bytes.len(),
            });
        }
        Ok(SourcePosition::new(bytes))
    }

    pub(crate) fn from_position(position: &SourcePosition) -> Result<Self, ManifestError> {
        let bytes = position.as_bytes();
        let (generation, rest) = split(bytes).ok_or(ManifestError::NoGeneration)?;
        Ok(Self {
            generation,
            objects: serde_json::from_slice(rest).map_err(ManifestError::Unreadable)?,
        })
    }

    /// The generation of a position, without reading the objects; `None` when it is no position of
    /// this source.
    pub(crate) fn generation_of(position: &SourcePosition) -> Option<u64> {
        split(position.as_bytes()).map(|(generation, _)| generation)
    }
}

/// A position for people; `None` when it is none of this source.
#[must_use]
pub fn show_position(position: &SourcePosition) -> Option<String> {
    let manifest = Manifest::from_position(position).ok()?;
    Some(format!(
        "change set {}, {} objects known",
        manifest.generation,
        manifest.objects.len()
    ))
}

fn split(position: &[u8]) -> Option<(u64, &[u8])> {
    let end = position.iter().position(|byte| *byte == b'\n')?;
    let generation = std::str::from_utf8(&position[..end]).ok()?.parse().ok()?;
    Some((generation, &position[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listing() -> impl Strategy<Value = BTreeMap<String, Entry>> {
        let entry = (proptest::option::of("[a-z\"]{0,4}"), 0_u64..3, 0_i64..3).prop_map(
            |(etag, size, modified)| Entry {
                etag,
                size,
                modified: Timestamp::from_millis(modified),
            },
        );
        prop::collection::btree_map("[a-c/é\"]{1,2}", entry, 0..12)
    }

    proptest! {
        #[test]
        fn changes_lead_from_a_manifest_to_the_listing_and_name_each_key_once(
            objects in listing(),
            listed in listing(),
        ) {
            let mut manifest = Manifest { generation: 1, objects };
            let changes = manifest.changes_to(listed.clone());
            let keys: std::collections::BTreeSet<_> = changes.iter().map(|it| &it.key).collect();
            prop_assert_eq!(keys.len(), changes.len());
            for change in &changes {
                manifest.apply(change);
            }
            prop_assert_eq!(&manifest.objects, &listed);
            prop_assert!(manifest.changes_to(listed).is_empty());
        }

        #[test]
        fn a_manifest_survives_its_position(generation: u64, objects in listing()) {
            let manifest = Manifest { generation, objects };
            let read = Manifest::from_position(&manifest.to_position().unwrap()).unwrap();
            prop_assert_eq!(read, manifest);
        }
    }

    #[test]
    fn a_manifest_beyond_the_limit_is_refused_with_its_size() {
        let entry = Entry {
            etag: None,
            size: 0,
            modified: Timestamp::default(),
        };
        let objects = (0..1_100).map(|n| (format!("{n:01000}"), entry.clone()));
        let manifest = Manifest {
            generation: 1,
            objects: objects.collect(),
        };
        let refused = manifest.to_position().unwrap_err().to_string();
        assert!(refused.starts_with("1100 objects"), "{refused}");
    }

    #[test]
    fn the_position_is_these_bytes() {
        let entry = Entry {
            etag: Some("e".to_owned()),
            size: 3,
            modified: Timestamp::from_millis(7),
        };
        let manifest = Manifest {
            generation: 2,
            objects: BTreeMap::from([("a.csv".to_owned(), entry)]),
        };
        assert_eq!(
            manifest.to_position().unwrap().as_bytes(),
            "2\n{\"a.csv\":{\"etag\":\"e\",\"size\":3,\"modified\":7}}"
        );
    }
}
