//! Who is to have which partitions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use uuid::Uuid;

use super::member::Place;

/// How partitions are spread over members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Assignor {
    /// As evenly as subscriptions allow, moving as little as that takes.
    #[default]
    Uniform,
    /// Each topic in as many ranges as it has subscribers.
    Range,
}

/// A member as assignors see it.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) member: String,
    pub(super) instance: Option<String>,
    pub(super) topics: BTreeSet<Uuid>,
}

/// An assignment by member.
pub(super) type Target = BTreeMap<String, BTreeSet<Place>>;

impl Assignor {
    /// The assignor that clients know by this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Assigns every partition of `topics` that somebody wants to one of those who want it;
    /// `current` is the assignment so far.
    pub(super) fn assign(
        self,
        subscribers: &[Subscriber],
        topics: &BTreeMap<Uuid, u32>,
        current: &Target,
    ) -> Target {
        match self {
            Self::Uniform => uniform(subscribers, topics, current),
            Self::Range => range(subscribers, topics),
        }
    }
}

fn range(subscribers: &[Subscriber], topics: &BTreeMap<Uuid, u32>) -> Target {
    let mut order: Vec<_> = subscribers.iter().collect();
    // Static members first, by their own names, so that restarts move nothing.
    order.sort_by_key(|one| (one.instance.is_none(), &one.instance, &one.member));
    let mut target: Target = empty(subscribers);
    for (topic, partitions) in topics {
        let wanting = order.iter().filter(|one| one.topics.contains(topic));
        let wanting: Vec<_> = wanting.collect();
        let Ok(count) = u32::try_from(wanting.len()) else {
            continue;
        };
        if count == 0 {
            continue;
        }
        let (each, over) = (partitions / count, partitions % count);
        let mut next = 0;
        for (index, one) in (0..).zip(wanting) {
            let end = next + each + u32::from(index < over);
            if let Some(places) = target.get_mut(&one.member) {
                places.extend((next..end).map(|partition| (*topic, partition)));
            }
            next = end;
        }
    }
    target
}

/// Members keep what they have; what nobody has goes to whoever has least; then partitions move
/// from those with more to those with at least two less, until there are none.
fn uniform(subscribers: &[Subscriber], topics: &BTreeMap<Uuid, u32>, current: &Target) -> Target {
    let wanting: BTreeMap<Uuid, Vec<usize>> = topics
        .keys()
        .map(|topic| {
            let all = subscribers.iter().enumerate();
            let wanting = all.filter(|(_, one)| one.topics.contains(topic));
            (*topic, wanting.map(|(index, _)| index).collect())
        })
        .collect();
    let mut owner = HashMap::<Place, usize>::new();
    let mut load = vec![0usize; subscribers.len()];
    for (index, one) in subscribers.iter().enumerate() {
        for place in current.get(&one.member).into_iter().flatten() {
            let exists = topics.get(&place.0).is_some_and(|count| place.1 < *count);
            if exists && one.topics.contains(&place.0) {
                owner.insert(*place, index);
                load[index] += 1;
            }
        }
    }
    let mut by_choice: Vec<_> = topics.iter().collect();
    by_choice.sort_by_key(|(topic, _)| (wanting[topic].len(), **topic));
    let places = || {
        let by_choice = by_choice.iter();
        by_choice.flat_map(|(topic, count)| (0..**count).map(|partition| (**topic, partition)))
    };
    let poorest = |load: &[usize], topic: &Uuid| {
        wanting[topic]
            .iter()
            .copied()
            .min_by_key(|index| load[*index])
    };
    for place in places() {
        if !owner.contains_key(&place)
            && let Some(poor) = poorest(&load, &place.0)
        {
            owner.insert(place, poor);
            load[poor] += 1;
        }
    }
    // Each move makes the loads more equal, so this ends.
    let mut moved = true;
    while moved {
        moved = false;
        for place in places() {
            let (Some(rich), Some(poor)) = (owner.get(&place).copied(), poorest(&load, &place.0))
            else {
                continue;
            };
            if load[rich] >= load[poor] + 2 {
                owner.insert(place, poor);
                load[rich] -= 1;
                load[poor] += 1;
                moved = true;
            }
        }
    }
    let mut target = empty(subscribers);
    for (place, index) in owner {
        if let Some(places) = target.get_mut(&subscribers[index].member) {
            places.insert(place);
        }
    }
    target
}

fn empty(subscribers: &[Subscriber]) -> Target {
    let members = subscribers.iter().map(|one| one.member.clone());
    members.map(|member| (member, BTreeSet::new())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subscribers(wants: &[Vec<u128>]) -> Vec<Subscriber> {
        let wants = wants.iter().enumerate();
        let subscriber = |(index, topics): (usize, &Vec<u128>)| Subscriber {
            member: format!("m{index:03}"),
            instance: None,
            topics: topics.iter().copied().map(Uuid::from_u128).collect(),
        };
        wants.map(subscriber).collect()
    }

    /// Every wanted partition has exactly one owner, who wants it.
    fn check(subscribers: &[Subscriber], topics: &BTreeMap<Uuid, u32>, target: &Target) {
        let mut seen = BTreeSet::new();
        for one in subscribers {
            for place in &target[&one.member] {
                assert!(one.topics.contains(&place.0) && place.1 < topics[&place.0]);
                assert!(seen.insert(*place), "{place:?} twice");
            }
        }
        for (topic, count) in topics {
            if subscribers.iter().any(|one| one.topics.contains(topic)) {
                for partition in 0..*count {
                    assert!(seen.contains(&(*topic, partition)));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_wanted_partition_has_one_owner_who_wants_it(
            wants in prop::collection::vec(prop::collection::vec(0u128..4, 0..4), 1..6),
            counts in prop::collection::vec(1u32..9, 4),
        ) {
            let topics: BTreeMap<_, _> = (0u128..).map(Uuid::from_u128).zip(counts).collect();
            let mut members = subscribers(&wants);
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let target = assignor.assign(&members, &topics, &Target::new());
                check(&members, &topics, &target);
            }
            let before = Assignor::Uniform.assign(&members, &topics, &Target::new());
            members.remove(0);
            let after = Assignor::Uniform.assign(&members, &topics, &before);
            check(&members, &topics, &after);
        }

        #[test]
        fn equal_subscribers_get_equal_shares_and_keep_what_they_can(
            members in 1usize..9, partitions in 1u32..40,
        ) {
            let topics = BTreeMap::from([(Uuid::from_u128(1), partitions)]);
            let all = subscribers(&vec![vec![1]; members + 1]);
            let before = Assignor::Uniform.assign(&all[1..], &topics, &Target::new());
            let after = Assignor::Uniform.assign(&all, &topics, &before);
            let loads = || after.values().map(BTreeSet::len);
            prop_assert!(loads().max().unwrap() - loads().min().unwrap() <= 1);
            // The newcomer's share is all that moves.
            let newcomers = after[&all[0].member].len();
            let moved: usize = before
                .iter()
                .map(|(member, places)| places.difference(&after[member]).count())
                .sum();
            prop_assert_eq!(moved, newcomers);
        }
    }

    #[test]
    fn ranges_are_in_order_and_the_first_get_what_is_over() {
        let members = subscribers(&[vec![1], vec![1], vec![1]]);
        let topics = BTreeMap::from([(Uuid::from_u128(1), 7)]);
        let target = Assignor::Range.assign(&members, &topics, &Target::new());
        let partitions = |member: &str| -> Vec<u32> {
            target[member]
                .iter()
                .map(|(_, partition)| *partition)
                .collect()
        };
        assert_eq!(partitions("m000"), [0, 1, 2]);
        assert_eq!(partitions("m001"), [3, 4]);
        assert_eq!(partitions("m002"), [5, 6]);
    }
}
