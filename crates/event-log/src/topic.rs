//! Topics as the log sees them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Partition, TopicName, TopicPartition, TopicSettings};

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name.
    pub name: TopicName,
    /// Its identity: a topic deleted and created again has another.
    pub id: Uuid,
    /// What it was created with, as changed since.
    pub config: TopicConfig,
}

/// How a topic is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicConfig {
    /// Number of partitions, at least 1.
    pub partitions: u32,
    /// Which journal holds it.
    pub lifetime: Lifetime,
    /// What it keeps and takes.
    #[serde(default)]
    pub settings: TopicSettings,
}

/// Which journal holds a topic. Long-lived records live apart so that they do not pin the segments
/// of events; a settlement never spans the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// Events and what follows from them: subject to retention.
    Events,
    /// Objects and bills: kept until they are superseded, unless the topic sets a bound of its own.
    LongLived,
}

impl TopicConfig {
    /// A topic that leaves its settings to the log.
    #[must_use]
    pub const fn new(partitions: u32, lifetime: Lifetime) -> Self {
        Self {
            partitions,
            lifetime,
            settings: TopicSettings::DEFAULT,
        }
    }

    /// The same topic with other settings.
    #[must_use]
    pub const fn with(self, settings: TopicSettings) -> Self {
        Self { settings, ..self }
    }
}

impl Topic {
    /// The topic's partitions in order.
    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        (0..self.config.partitions).map(|index| self.name.partition(Partition::new(index)))
    }

    /// The partition that holds records of `key`: Kafka's default partitioner (murmur2, sign bit
    /// cleared, modulo), so that our writers and Kafka clients agree.
    #[must_use]
    pub fn partition_for(&self, key: &[u8]) -> TopicPartition {
        let hash = murmur2(key) & 0x7fff_ffff;
        self.name
            .partition(Partition::new(hash % self.config.partitions))
    }
}

/// Kafka's murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`).
pub(crate) fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash: u32 = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes(word.try_into().expect("chunks of four bytes"));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_agrees_with_the_java_client() {
        // Vectors of org.apache.kafka.common.utils.UtilsTest, signed there.
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }
}
