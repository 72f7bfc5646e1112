//! Which shards there are, which of them may be read, and whether any was lost.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use super::position::{Reached, State};

/// A shard as the stream lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub(super) id: String,
    /// The one whose items it goes on with.
    pub(super) parent: Option<String>,
    /// The first sequence number that it may have.
    pub(super) begins: Option<String>,
}

/// Why changes may have been lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The stream has dropped what was not read: it keeps 24 hours.
    Trimmed { shard: String },
    /// A shard goes on with one that was never seen.
    Unseen { shard: String, parent: String },
    /// The table has another stream, and nobody knows what happened between the two.
    OtherStream { stream: String },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trimmed { shard } => {
                write!(
                    f,
                    "the stream has dropped changes of {shard} that were not read"
                )
            }
            Self::Unseen { shard, parent } => {
                write!(f, "{shard} goes on with {parent}, which was never seen")
            }
            Self::OtherStream { stream } => write!(f, "the table has a new stream, {stream}"),
        }
    }
}

/// The parents of the shards that are listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Lineage(HashMap<String, Option<String>>);

impl Lineage {
    /// Brings `state` up to what the stream lists, and says what was lost by it.
    ///
    /// Of the first listing, all that the stream has is read. What comes later was begun after that, so
    /// it is read from its very beginning, or something is lost.
    pub(super) fn update(&mut self, state: &mut State, listed: Vec<Shard>) -> Option<Loss> {
        let is_first = state.shards.is_empty();
        let mut loss = None;
        let ids: HashSet<&String> = listed.iter().map(|shard| &shard.id).collect();
        for shard in &listed {
            if state.shards.contains_key(&shard.id) {
                continue;
            }
            if let (false, Some(parent)) = (is_first, &shard.parent)
                && !ids.contains(parent)
                && !state.shards.contains_key(parent)
            {
                loss = Some(Loss::Unseen {
                    shard: shard.id.clone(),
                    parent: parent.clone(),
                });
            }
            let reached = match (&shard.begins, is_first) {
                (Some(begins), false) => Reached::At(begins.clone()),
                (None, _) | (_, true) => Reached::Horizon,
            };
            state.shards.insert(shard.id.clone(), reached);
        }
        state.shards.retain(|id, reached| {
            let is_listed = ids.contains(id);
            if !is_listed && *reached != Reached::End {
                loss = Some(Loss::Trimmed { shard: id.clone() });
            }
            is_listed
        });
        self.0 = listed
            .into_iter()
            .map(|shard| (shard.id, shard.parent))
            .collect();
        loss
    }

    /// The shards that may be read: not at their end, and with nothing left of their parents.
    pub(super) fn readable<'a>(
        &'a self,
        shards: &'a BTreeMap<String, Reached>,
    ) -> impl Iterator<Item = (&'a String, &'a Reached)> {
        let is_over = |id: &String| {
            shards
                .get(id)
                .is_none_or(|reached| *reached == Reached::End)
        };
        shards.iter().filter(move |(id, reached)| {
            let parent = self.0.get(*id).and_then(Option::as_ref);
            **reached != Reached::End && parent.is_none_or(is_over)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parent: Option<&str>) -> Shard {
        Shard {
            id: id.to_owned(),
            parent: parent.map(str::to_owned),
            begins: Some("1".to_owned()),
        }
    }

    fn readable(lineage: &Lineage, state: &State) -> Vec<String> {
        let readable = lineage.readable(&state.shards);
        readable.map(|(id, _)| id.clone()).collect()
    }

    #[test]
    fn a_child_is_read_after_its_parent() {
        let (mut lineage, mut state) = (Lineage::default(), State::default());
        let first = vec![
            shard("b", Some("gone")),
            shard("c", Some("b")),
            shard("d", None),
        ];
        assert_eq!(lineage.update(&mut state, first.clone()), None);
        assert_eq!(readable(&lineage, &state), ["b", "d"]);
        assert_eq!(state.shards["c"], Reached::Horizon);
        state.shards.insert("b".to_owned(), Reached::End);
        assert_eq!(readable(&lineage, &state), ["c", "d"]);
        // Shards that come later are held to have their first record.
        let later = vec![
            shard("c", Some("b")),
            shard("d", None),
            shard("e", Some("d")),
        ];
        assert_eq!(lineage.update(&mut state, later), None);
        assert_eq!(state.shards["e"], Reached::At("1".to_owned()));
        assert!(!state.shards.contains_key("b"), "it was read and is gone");
        assert_eq!(readable(&lineage, &state), ["c", "d"]);
    }

    #[test]
    fn a_shard_that_went_before_its_end_is_a_loss() {
        let (mut lineage, mut state) = (Lineage::default(), State::default());
        lineage.update(&mut state, vec![shard("a", None)]);
        let loss = lineage.update(&mut state, vec![shard("b", Some("a"))]);
        assert_eq!(
            loss,
            Some(Loss::Trimmed {
                shard: "a".to_owned()
            })
        );
        assert_eq!(readable(&lineage, &state), ["b"]);
        assert_eq!(lineage.update(&mut state, vec![shard("b", None)]), None);
    }

    #[test]
    fn a_generation_that_nobody_saw_is_a_loss() {
        let (mut lineage, mut state) = (Lineage::default(), State::default());
        lineage.update(&mut state, vec![shard("a", None)]);
        state.shards.insert("a".to_owned(), Reached::End);
        let listed = vec![shard("a", None), shard("c", Some("b"))];
        let loss = lineage.update(&mut state, listed);
        assert!(matches!(loss, Some(Loss::Unseen { .. })), "{loss:?}");
    }
}
