//! What is known of every object, in 24 bytes each.
//!
//! A key is 128 bits of hash, an object's state 63 bits and a mark. The hashes are keyed anew in every
//! process, so that nobody can choose keys that collide; by chance two of a million keys do with a
//! probability of 10⁻²⁷, and a change goes unnoticed with one of 10⁻¹⁹. Names are not here: they stand
//! in the manifest.
//!
//! A *pass* goes through all objects that there are and marks them. What has no mark at its end is
//! missing.

use std::hash::{BuildHasher as _, RandomState};

use crate::entry::Entry;

/// Buckets of sorted slots. With a million objects one has 250 slots, which are moved within the
/// processor's nearest cache when one is put between them.
const BUCKETS: usize = 1 << 12;

/// What is known.
#[derive(Debug)]
pub(crate) struct Known {
    hashers: [RandomState; 3],
    buckets: Vec<Vec<Slot>>,
    len: usize,
    missing: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: (u64, u64),
    /// The state's hash; its lowest bit is the mark.
    state: u64,
}

/// What an object is, held against what was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Not known until now.
    New,
    /// Known in another state.
    Other,
    /// As it was known.
    Same,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            hashers: std::array::from_fn(|_| RandomState::new()),
            buckets: vec![Vec::new(); BUCKETS],
            len: 0,
            missing: 0,
        }
    }
}

impl Known {
    /// How many objects are known.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Takes all marks away.
    pub(crate) fn begin_pass(&mut self) {
        for slot in self.buckets.iter_mut().flatten() {
            slot.state &= !1;
        }
        self.missing = self.len;
    }

    /// How many have no mark.
    pub(crate) fn missing(&self) -> usize {
        self.missing
    }

    /// Whether a key is known and has no mark.
    pub(crate) fn is_missing(&self, key: &str) -> bool {
        self.slot(key).is_some_and(|slot| slot.state & 1 == 0)
    }

    /// Whether an object is known in this state.
    pub(crate) fn holds(&self, key: &str, entry: &Entry) -> bool {
        let state = self.hashers[2].hash_one(entry) | 1;
        self.slot(key).is_some_and(|slot| slot.state | 1 == state)
    }

    /// An object that a pass has come to: it is known in this state from now on, and marked. Of two
    /// with one key in a pass, the first counts.
    pub(crate) fn list(&mut self, key: &str, entry: &Entry) -> Found {
        match self.slot(key) {
            Some(slot) if slot.state & 1 == 1 => Found::Same,
            Some(_) | None => self.put(key, entry),
        }
    }

    /// An object is known in this state from now on, and marked.
    pub(crate) fn put(&mut self, key: &str, entry: &Entry) -> Found {
        let state = self.hashers[2].hash_one(entry) | 1;
        let (bucket, key) = self.place(key);
        let slots = &mut self.buckets[bucket];
        match slots.binary_search_by_key(&key, |slot| slot.key) {
            Ok(at) => {
                let before = std::mem::replace(&mut slots[at].state, state);
                if before & 1 == 0 {
                    self.missing -= 1;
                }
                match before | 1 == state {
                    true => Found::Same,
                    false => Found::Other,
                }
            }
            Err(at) => {
                if slots.len() == slots.capacity() {
                    // Doubling would leave half of the memory unused at worst.
                    slots.reserve_exact(slots.len() / 8 + 4);
                }
                slots.insert(at, Slot { key, state });
                self.len += 1;
                Found::New
            }
        }
    }

    /// Marks an object in whatever state it is known; whether it is.
    pub(crate) fn keep(&mut self, key: &str) -> bool {
        let (bucket, key) = self.place(key);
        let slots = &mut self.buckets[bucket];
        let Ok(at) = slots.binary_search_by_key(&key, |slot| slot.key) else {
            return false;
        };
        if slots[at].state & 1 == 0 {
            slots[at].state |= 1;
            self.missing -= 1;
        }
        true
    }

    /// An object is not known any more; whether it was.
    pub(crate) fn forget(&mut self, key: &str) -> bool {
        let (bucket, key) = self.place(key);
        let slots = &mut self.buckets[bucket];
        let Ok(at) = slots.binary_search_by_key(&key, |slot| slot.key) else {
            return false;
        };
        if slots.remove(at).state & 1 == 0 {
            self.missing -= 1;
        }
        self.len -= 1;
        true
    }

    fn slot(&self, key: &str) -> Option<&Slot> {
        let (bucket, key) = self.place(key);
        let slots = &self.buckets[bucket];
        let found = slots.binary_search_by_key(&key, |slot| slot.key);
        found.ok().map(|at| &slots[at])
    }

    fn place(&self, key: &str) -> (usize, (u64, u64)) {
        let [one, other, _] = &self.hashers;
        let hash = (one.hash_one(key), other.hash_one(key));
        let bucket = hash.0 >> (u64::BITS - BUCKETS.trailing_zeros());
        (
            usize::try_from(bucket).expect("there are few buckets"),
            hash,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clock::Timestamp;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        BeginPass,
        List(String, u64),
        Put(String, u64),
        Keep(String),
        Forget(String),
    }

    fn act() -> impl Strategy<Value = Act> {
        let key = || "[a-c]{1,2}";
        prop_oneof![
            1 => Just(Act::BeginPass),
            4 => (key(), 0_u64..3).prop_map(|(key, size)| Act::List(key, size)),
            4 => (key(), 0_u64..3).prop_map(|(key, size)| Act::Put(key, size)),
            1 => key().prop_map(Act::Keep),
            2 => key().prop_map(Act::Forget),
        ]
    }

    fn entry(size: u64) -> Entry {
        Entry {
            etag: None,
            size,
            modified: Timestamp::from_millis(7),
        }
    }

    fn found(before: Option<u64>, now: u64) -> Found {
        match before {
            None => Found::New,
            Some(before) if before == now => Found::Same,
            Some(_) => Found::Other,
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_a_map_of_whole_keys_and_states_does(
            acts in prop::collection::vec(act(), 0..60)
        ) {
            let mut known = Known::default();
            let (mut states, mut marked) = (BTreeMap::new(), BTreeSet::new());
            for act in acts {
                match act {
                    Act::BeginPass => {
                        known.begin_pass();
                        marked.clear();
                    }
                    Act::List(key, _) if marked.contains(&key) => {
                        prop_assert_eq!(known.list(&key, &entry(9)), Found::Same);
                    }
                    Act::List(key, size) => {
                        prop_assert_eq!(known.list(&key, &entry(size)), found(states.insert(key.clone(), size), size));
                        marked.insert(key);
                    }
                    Act::Put(key, size) => {
                        prop_assert_eq!(known.put(&key, &entry(size)), found(states.insert(key.clone(), size), size));
                        marked.insert(key);
                    }
                    Act::Keep(key) => {
                        prop_assert_eq!(known.keep(&key), states.contains_key(&key));
                        if states.contains_key(&key) {
                            marked.insert(key);
                        }
                    }
                    Act::Forget(key) => {
                        prop_assert_eq!(known.forget(&key), states.remove(&key).is_some());
                        marked.remove(&key);
                    }
                }
                prop_assert_eq!(known.len(), states.len());
                prop_assert_eq!(known.missing(), states.len() - marked.len());
                for (key, size) in &states {
                    prop_assert!(known.holds(key, &entry(*size)));
                    prop_assert!(!known.holds(key, &entry(size + 1)));
                    prop_assert_eq!(known.is_missing(key), !marked.contains(key));
                }
            }
        }
    }
}
