//! What a bucket holds, in memory: the current object of every key, and its other versions.
//!
//! The two lie apart, so that who looks for objects meets neither what they were nor the markers of
//! those that are gone, and so that a bucket without versions pays nothing for those of others.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::{DeleteMarker, Object, ObjectKey, Sequencer, Version, VersionId};

/// The versions of every key.
///
/// The newest version of a key is in `current` when it is an object. Every other one is in `older`,
/// with a delete marker that is the newest as the last of its key; no list there is empty.
#[derive(Debug, Default)]
pub(crate) struct Index {
    current: BTreeMap<ObjectKey, Arc<Object>>,
    /// From the oldest to the newest, since new ones are added at the end.
    older: BTreeMap<ObjectKey, Vec<Version>>,
}

impl Index {
    /// The current objects.
    pub(crate) fn current(&self) -> &BTreeMap<ObjectKey, Arc<Object>> {
        &self.current
    }

    /// Whether anything here can only have come from a bucket that keeps versions.
    pub(crate) fn has_versions(&self) -> bool {
        let current = self.current.values().map(|object| object.version);
        !self.older.is_empty() || current.into_iter().any(|id| id != VersionId::NULL)
    }

    /// Whether there is no object, no older version and no marker.
    pub(crate) fn is_empty(&self) -> bool {
        self.current.is_empty() && self.older.is_empty()
    }

    /// The marker by which a key's object is deleted, if it is.
    pub(crate) fn marker(&self, key: &ObjectKey) -> Option<&Arc<DeleteMarker>> {
        match self.older.get(key)?.last()? {
            Version::Marker(marker) if !self.current.contains_key(key) => Some(marker),
            Version::Marker(_) | Version::Object(_) => None,
        }
    }

    /// A version.
    pub(crate) fn find(&self, key: &ObjectKey, id: VersionId) -> Option<Version> {
        if let Some(current) = self.current.get(key).filter(|it| it.version == id) {
            return Some(Version::Object(Arc::clone(current)));
        }
        let older = self.older.get(key)?;
        Some(older[position(older, id)?].clone())
    }

    /// The versions of a key, newest first.
    pub(crate) fn versions(&self, key: &str) -> impl Iterator<Item = Version> {
        let current = self.current.get(key).cloned().map(Version::Object);
        let older = self.older.get(key).into_iter().flatten().rev().cloned();
        current.into_iter().chain(older)
    }

    /// The first key in the order of bytes from a bound on.
    pub(crate) fn first_key(&self, from: Bound<&str>) -> Option<&ObjectKey> {
        let bounds = (from, Bound::Unbounded);
        let current = self.current.range::<str, _>(bounds).next();
        let older = self.older.range::<str, _>(bounds).next();
        let keys = current.map(|(key, _)| key).into_iter();
        keys.chain(older.map(|(key, _)| key)).min()
    }

    /// Every object, current or not, in no order.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        let older = self.older.values().flatten();
        let older = older.filter_map(|version| match version {
            Version::Object(object) => Some(object),
            Version::Marker(_) => None,
        });
        self.current.values().chain(older)
    }

    /// Up to `count` keys that have more than a current object, in the order of bytes, of those after
    /// a key.
    pub(crate) fn with_older(&self, after: Option<&ObjectKey>, count: usize) -> Vec<ObjectKey> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let older = self.older.range::<ObjectKey, _>((from, Bound::Unbounded));
        older.take(count).map(|(key, _)| key.clone()).collect()
    }

    /// Adds a version at its place in the order of its key's. Returns the one of the same id that it
    /// replaces.
    pub(crate) fn put(&mut self, version: Version) -> Option<Version> {
        if let Version::Object(object) = &version
            && let Some(current) = self.current.get_mut(&object.key)
            && current.version == object.version
        {
            let replaced = std::mem::replace(current, Arc::clone(object));
            return Some(Version::Object(replaced));
        }
        let key = version.key().clone();
        let replaced = self.remove(&key, version.id());
        if self.newest(&key).is_some_and(|it| it > version.order()) {
            let older = self.older.entry(key).or_default();
            let at = older.partition_point(|other| other.order() < version.order());
            older.insert(at, version);
            return replaced;
        }
        if let Some(former) = self.current.remove(&key) {
            let older = self.older.entry(key.clone()).or_default();
            older.push(Version::Object(former));
        }
        match version {
            Version::Object(object) => drop(self.current.insert(key, object)),
            marker @ Version::Marker(_) => self.older.entry(key).or_default().push(marker),
        }
        replaced
    }

    /// Takes a version out. Where it was the newest, the one before it takes its place.
    pub(crate) fn remove(&mut self, key: &ObjectKey, id: VersionId) -> Option<Version> {
        let is_current = self.current.get(key).is_some_and(|it| it.version == id);
        let removed = if is_current {
            Version::Object(self.current.remove(key)?)
        } else {
            let older = self.older.get_mut(key)?;
            older.remove(position(older, id)?)
        };
        if let Some(older) = self.older.get_mut(key) {
            let newest = match older.last() {
                Some(Version::Object(object)) if !self.current.contains_key(key) => {
                    Some(Arc::clone(object))
                }
                Some(Version::Object(_) | Version::Marker(_)) | None => None,
            };
            if let Some(object) = newest {
                older.pop();
                self.current.insert(key.clone(), object);
            }
            if older.is_empty() {
                self.older.remove(key);
            }
        }
        Some(removed)
    }

    /// The place of the newest version of a key.
    fn newest(&self, key: &ObjectKey) -> Option<Sequencer> {
        match self.current.get(key) {
            Some(object) => Some(object.order),
            None => self.older.get(key)?.last().map(Version::order),
        }
    }
}

/// Where a version is among those of its key: ids say their order, but for the one that has none.
fn position(versions: &[Version], id: VersionId) -> Option<usize> {
    match id.order() {
        Some(order) => {
            let at = versions.binary_search_by_key(&order, Version::order).ok()?;
            (versions[at].id() == id).then_some(at)
        }
        None => versions.iter().rposition(|version| version.id() == id),
    }
}

#[cfg(test)]
mod tests {
    use clock::Timestamp;

    use super::*;
    use crate::object::tests::object;

    fn an_object(id: VersionId, order: u64) -> Version {
        let mut object = object("k");
        object.version = id;
        object.order = Sequencer::from_bits(order);
        Version::Object(Arc::new(object))
    }

    fn a_marker(id: VersionId, order: u64) -> Version {
        Version::Marker(Arc::new(DeleteMarker {
            key: ObjectKey::new("k").unwrap(),
            version: id,
            order: Sequencer::from_bits(order),
            last_modified: Timestamp::default(),
        }))
    }

    fn id(order: u64) -> VersionId {
        VersionId::at(Sequencer::from_bits(order))
    }

    /// The orders of the versions of the key, newest first; whether there is an object.
    fn shape(index: &Index) -> (Vec<u64>, bool) {
        let versions = index.versions("k");
        let orders = versions.map(|version| version.order().to_bits()).collect();
        (orders, index.current().contains_key("k"))
    }

    #[test]
    fn a_marker_hides_the_object_until_it_is_removed() {
        let mut index = Index::default();
        let key = ObjectKey::new("k").unwrap();
        assert!(index.put(an_object(VersionId::NULL, 1)).is_none());
        assert!(index.put(an_object(id(2), 2)).is_none());
        assert!(index.put(a_marker(id(3), 3)).is_none());
        assert_eq!(shape(&index), (vec![3, 2, 1], false));
        assert_eq!(index.marker(&key).unwrap().version, id(3));
        index.remove(&key, id(3)).unwrap();
        assert_eq!(shape(&index), (vec![2, 1], true));
        index.remove(&key, VersionId::NULL).unwrap();
        index.remove(&key, id(2)).unwrap();
        assert!(index.is_empty());
        assert!(index.remove(&key, id(2)).is_none());
    }

    #[test]
    fn the_version_without_an_id_is_replaced_wherever_it_is() {
        let mut index = Index::default();
        for version in [
            an_object(VersionId::NULL, 1),
            an_object(id(2), 2),
            a_marker(VersionId::NULL, 3),
            a_marker(VersionId::NULL, 4),
            an_object(VersionId::NULL, 5),
        ] {
            index.put(version);
        }
        assert_eq!(shape(&index), (vec![5, 2], true));
    }

    #[test]
    fn the_order_in_which_versions_are_read_does_not_matter() {
        let versions = [
            an_object(VersionId::NULL, 4),
            an_object(id(1), 1),
            a_marker(id(3), 3),
            an_object(id(2), 2),
        ];
        for first in 0..versions.len() {
            let mut index = Index::default();
            for step in 0..versions.len() {
                index.put(versions[(first + step) % versions.len()].clone());
            }
            assert_eq!(shape(&index), (vec![4, 3, 2, 1], true));
            let again = index.put(an_object(id(2), 2)).unwrap();
            assert_eq!(again.id(), id(2));
            assert_eq!(shape(&index), (vec![4, 3, 2, 1], true));
        }
    }
}
