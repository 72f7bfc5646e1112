//! What can be set for each topic, when it is created and later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a topic keeps and takes. The default leaves everything to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicSettings {
    /// How old records go.
    pub cleanup: Cleanup,
    /// The age from which on records may go, by their batch's latest time. `None`: the log's own
    /// setting. Long-lived topics have no bound of the log's.
    pub retention_age: Option<Limit<Duration>>,
    /// Bytes of batches that a partition keeps; the oldest go while it holds more. `None`: the log's
    /// own setting, which bounds the journal as a whole.
    pub retention_bytes: Option<Limit<u64>>,
    /// How long compaction keeps a tombstone (a record with a key and no value), so that readers see
    /// it. `None`: the log's own setting.
    pub tombstone_grace: Option<Duration>,
    /// The largest batch that an append may bring. `None`: as large as a settlement may be.
    pub max_batch_bytes: Option<u32>,
}

/// How old records go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cleanup {
    /// By age and size.
    #[default]
    Delete,
    /// When a newer record has their key. Such a topic takes only records with keys.
    Compact,
    /// Both.
    CompactAndDelete,
}

/// A bound that can also be none at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit<T> {
    /// There is no bound.
    Unlimited,
    /// Up to this much.
    AtMost(T),
}

impl TopicSettings {
    /// Everything as the log has it.
    pub const DEFAULT: Self = Self {
        cleanup: Cleanup::Delete,
        retention_age: None,
        retention_bytes: None,
        tombstone_grace: None,
        max_batch_bytes: None,
    };
}

impl Cleanup {
    /// Whether superseded records go.
    #[must_use]
    pub fn compacts(self) -> bool {
        match self {
            Self::Delete => false,
            Self::Compact | Self::CompactAndDelete => true,
        }
    }

    /// Whether records go by age and size.
    #[must_use]
    pub fn deletes(self) -> bool {
        match self {
            Self::Compact => false,
            Self::Delete | Self::CompactAndDelete => true,
        }
    }
}
