//! Which part of the work is this node's.
//!
//! Several nodes may work on one log. What they share out is consumers' partitions and foreign
//! sources, each of which falls to one of [`Shard::COUNT`] shards by its name alone. A shard is held
//! by at most one node; who holds it is the log's to say.

use std::fmt;

use event::SourceId;

use crate::topic::murmur2;
use crate::{ConsumerId, Error, Settlement, TopicPartition};

/// One of the parts that all work falls into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

/// The shards that a node holds.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Share(u64);

impl Shard {
    /// How many shards there are. Fixed: a log keeps its checkpoints by shard.
    pub const COUNT: u32 = 64;

    /// The shard of a consumer's work on a partition: the same in every version and on every node.
    #[must_use]
    pub fn of(consumer: &ConsumerId, partition: &TopicPartition) -> Self {
        let index = partition.partition.to_string();
        Self::of_name(&[consumer.as_str(), partition.topic.as_str(), &index])
    }

    /// The shard of a foreign source.
    #[must_use]
    pub fn of_source(source: &SourceId) -> Self {
        Self::of_name(&["source", source.as_str()])
    }

    fn of_name(parts: &[&str]) -> Self {
        let hash = murmur2(parts.join("\0").as_bytes()) % Self::COUNT;
        Self(u8::try_from(hash).expect("the remainder is below the count"))
    }

    /// The shard with this number, if there is one.
    #[must_use]
    pub fn new(index: u32) -> Option<Self> {
        let index = u8::try_from(index).ok()?;
        (u32::from(index) < Self::COUNT).then_some(Self(index))
    }

    /// Every shard, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).filter_map(Self::new)
    }

    /// The shard's number, from zero.
    #[must_use]
    pub fn index(self) -> u32 {
        self.0.into()
    }
}

impl Share {
    /// All of the work: the share of a log that has one node.
    #[must_use]
    pub const fn all() -> Self {
        Self(u64::MAX)
    }

    /// None of it.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// This share and one shard more.
    #[must_use]
    pub const fn with(self, shard: Shard) -> Self {
        Self(self.0 | 1 << shard.0)
    }

    /// This share without one shard.
    #[must_use]
    pub const fn without(self, shard: Shard) -> Self {
        Self(self.0 & !(1 << shard.0))
    }

    /// What belongs to either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What belongs to it and not to the other.
    #[must_use]
    pub const fn but(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether a shard belongs to it.
    #[must_use]
    pub const fn contains(self, shard: Shard) -> bool {
        self.0 & (1 << shard.0) != 0
    }

    /// The shards that belong to it, in order.
    pub fn shards(self) -> impl Iterator<Item = Shard> {
        Shard::all().filter(move |shard| self.contains(*shard))
    }

    /// Whether a consumer's work on a partition belongs to it.
    #[must_use]
    pub fn holds(self, consumer: &ConsumerId, partition: &TopicPartition) -> bool {
        self == Self::all() || self.contains(Shard::of(consumer, partition))
    }

    /// Whether reading a foreign source belongs to it.
    #[must_use]
    pub fn holds_source(self, source: &SourceId) -> bool {
        self == Self::all() || self.contains(Shard::of_source(source))
    }

    /// Whether everything that a settlement moves belongs to it.
    ///
    /// # Errors
    /// [`Error::NotHeld`] names the first checkpoint or position that does not.
    pub fn covers(self, settlement: &Settlement) -> Result<(), Error> {
        for update in &settlement.checkpoints {
            if !self.holds(&update.consumer, &update.partition) {
                return Err(Error::NotHeld {
                    what: format!("{} on {}", update.consumer, update.partition),
                });
            }
        }
        for update in &settlement.positions {
            if !self.holds_source(&update.source) {
                return Err(Error::NotHeld {
                    what: update.source.to_string(),
                });
            }
        }
        Ok(())
    }
}

impl FromIterator<Shard> for Share {
    fn from_iter<T: IntoIterator<Item = Shard>>(shards: T) -> Self {
        shards.into_iter().fold(Self::none(), Self::with)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = self.shards().map(Shard::index);
        f.write_str("Share ")?;
        f.debug_set().entries(shards).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partition, TopicName};

    fn place(index: u32) -> TopicPartition {
        TopicName::new("orders")
            .unwrap()
            .partition(Partition::new(index))
    }

    #[test]
    fn work_falls_to_the_same_shard_for_ever() {
        let shard = |consumer, index| Shard::of(&ConsumerId::new(consumer), &place(index)).index();
        // Checkpoints in logs of earlier versions lie where these numbers say.
        let found = [shard("async", 0), shard("async", 1), shard("billing", 0)];
        assert_eq!(found, [61, 58, 32]);
        let source = Shard::of_source(&SourceId::new("s3/orders"));
        assert_eq!(source.index(), 53);
    }

    #[test]
    fn the_work_of_many_consumers_spreads_over_every_shard() {
        let consumer = |n| ConsumerId::new(format!("trigger/{n}"));
        let hit: Share = (0..200)
            .flat_map(|n| (0..8).map(move |index| Shard::of(&consumer(n), &place(index))))
            .collect();
        assert_eq!(hit, Share::all());
    }

    #[test]
    fn a_share_holds_what_falls_to_its_shards_and_nothing_else() {
        let consumer = ConsumerId::new("async");
        let shard = Shard::of(&consumer, &place(0));
        assert!(Share::none().with(shard).holds(&consumer, &place(0)));
        assert!(!Share::all().without(shard).holds(&consumer, &place(0)));
        assert_eq!(Shard::all().collect::<Share>(), Share::all());
        assert_eq!(
            Share::none().with(shard).shards().collect::<Vec<_>>(),
            [shard]
        );
    }
}
