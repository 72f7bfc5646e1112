//! The words of the log as types.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A topic's name: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..` (Kafka's rule,
/// `org.apache.kafka.common.internals.Topic`). Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// The index of a partition within its topic, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(u32);

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition within it.
    pub partition: Partition,
}

/// A place in a partition of our log. Dense: the record after offset `n` has offset `n + 1`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Offset(u64);

/// Who reads and checkpoints, for example `trigger/<uuid>`, `billing` or `group/<kafka group>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsumerId(Arc<str>);

/// Who writes under an epoch, for example `dispatcher`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnerId(Arc<str>);

/// A writer's generation. A newer epoch of the same owner fences every older one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(u64);

impl TopicName {
    /// Checks and wraps a topic's name.
    ///
    /// # Errors
    /// [`Error::InvalidTopicName`] when the name breaks Kafka's rule.
    pub fn new(name: impl AsRef<str>) -> Result<Self, Error> {
        let name = name.as_ref();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty()
            || name.len() > 249
            || name == "."
            || name == ".."
            || !name.bytes().all(legal)
        {
            return Err(Error::InvalidTopicName {
                name: name.chars().take(300).collect(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One partition of this topic.
    #[must_use]
    pub fn partition(&self, partition: Partition) -> TopicPartition {
        TopicPartition {
            topic: self.clone(),
            partition,
        }
    }
}

impl TryFrom<String> for TopicName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(name)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl Partition {
    /// The partition with this index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The index, from zero.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl Offset {
    /// The first place of every partition.
    pub const ZERO: Self = Self(0);

    /// The place `value`.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The place as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The place `records` further on.
    #[must_use]
    pub const fn plus(self, records: u64) -> Self {
        Self(self.0 + records)
    }

    /// The place right after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }
}

impl Epoch {
    /// The epoch with this number.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The epoch's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The epoch that fences this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

macro_rules! text_name {
    ($name:ident) => {
        impl $name {
            /// Wraps the text as it is.
            #[must_use]
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(text.as_ref().into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

impl ConsumerId {
    /// What names of Kafka consumer groups begin with.
    pub const GROUP: &str = "group/";

    /// Whether retention waits for this consumer. It does for our own; a Kafka consumer group that
    /// has stopped reading must not fill the disk, and is told that its offset is out of range, as
    /// Kafka tells it.
    #[must_use]
    pub fn holds_records(&self) -> bool {
        !self.as_str().starts_with(Self::GROUP)
    }
}

text_name!(ConsumerId);
text_name!(OwnerId);

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_like_topic_names_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "../x",
            "naïve",
            "a b",
            &"x".repeat(250),
        ] {
            assert!(TopicName::new(name).is_err(), "{name}");
        }
        assert!(TopicName::new("bucket.my-data_1").is_ok());
    }
}
