//! The settings of topics under Kafka's names: what each takes, says and falls back to.
//!
//! A setting that the log applies can be set; one that holds anyway can be given the value that it
//! has; any other is refused by name.

mod table;
mod values;

use std::time::Duration;

use event_log::{Lifetime, Topic, TopicSettings};

use crate::broker::Broker;
use crate::error_code::Refusal;

pub(crate) use table::{Kind, Setting};

use table::SETTINGS;
use values::invalid;

/// Where a value comes from (`ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was set for the topic.
    Topic = 1,
    /// It is the broker's.
    Broker = 4,
    /// Nobody set it.
    Default = 5,
}

/// What a setting says for one topic.
#[derive(Debug)]
pub(crate) struct Described {
    pub(crate) setting: &'static Setting,
    pub(crate) value: String,
    pub(crate) source: Source,
    /// What holds where the topic sets nothing, and whence.
    pub(crate) fallback: (String, Source),
}

/// What becomes of a setting.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation<'a> {
    /// It has this value.
    Set(&'a str),
    /// It falls back.
    Reset,
    /// Its list has these, too.
    Append(&'a str),
    /// Its list has these no longer.
    Subtract(&'a str),
}

/// Changes one setting.
///
/// # Errors
/// There is no such setting, or it does not take the value.
pub(crate) fn apply(
    settings: &mut TopicSettings,
    name: &str,
    operation: Operation<'_>,
) -> Result<(), Refusal> {
    let setting = SETTINGS.iter().find(|setting| setting.name == name);
    let setting = setting.ok_or_else(|| invalid(format!("{name} is not supported")))?;
    match operation {
        Operation::Set(value) => setting.set(settings, value.trim()),
        Operation::Reset => {
            setting.reset(settings);
            Ok(())
        }
        Operation::Append(items) => {
            let list = setting.list(settings)?;
            let more = items.split(',').map(str::trim);
            let more = more.filter(|item| !list.contains(item));
            let joined: Vec<_> = list.iter().copied().chain(more).collect();
            setting.set(settings, &joined.join(","))
        }
        Operation::Subtract(items) => {
            let mut list = setting.list(settings)?;
            let gone: Vec<_> = items.split(',').map(str::trim).collect();
            list.retain(|item| !gone.contains(item));
            setting.set(settings, &list.join(","))
        }
    }
}

/// What every setting says for a topic.
pub(crate) fn describe(broker: &Broker, topic: &Topic) -> impl Iterator<Item = Described> {
    let (config, defaults) = (topic.config, broker.config.topic_defaults.clone());
    SETTINGS.iter().map(move |setting| {
        let fallback = setting.fallback(config.lifetime, &defaults);
        let own = setting.own(&config.settings);
        let (value, source) = match own {
            Some(value) => (value, Source::Topic),
            None => fallback.clone(),
        };
        Described {
            setting,
            value,
            source,
            fallback,
        }
    })
}

/// What a topic has that sets nothing, for the broker's own description.
pub(crate) fn defaults(broker: &Broker) -> Vec<(&'static Setting, String, Source)> {
    let defaults = &broker.config.topic_defaults;
    let described = SETTINGS.iter().map(|setting| {
        let (value, source) = setting.fallback(Lifetime::Events, defaults);
        (setting, value, source)
    });
    described.collect()
}

/// What holds for topics that do not say otherwise, as far as clients are told.
#[derive(Clone, Debug)]
pub struct TopicDefaults {
    /// The age from which on records of events may go; `None` for no bound.
    pub retention_age: Option<Duration>,
    /// How long compaction keeps tombstones.
    pub tombstone_grace: Duration,
    /// The largest batch, in bytes.
    pub max_batch_bytes: u32,
}

impl Default for TopicDefaults {
    /// No bound of age, a day, 16 MiB.
    fn default() -> Self {
        Self {
            retention_age: None,
            tombstone_grace: Duration::from_secs(24 * 3_600),
            max_batch_bytes: 16 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use event_log::Cleanup;
    use kafka_protocol::ResponseError;

    use super::*;

    fn set(name: &str, value: &str) -> Result<TopicSettings, Refusal> {
        let mut settings = TopicSettings::DEFAULT;
        apply(&mut settings, name, Operation::Set(value)).map(|()| settings)
    }

    #[test]
    fn what_is_set_is_said_and_what_is_reset_is_not() {
        for (name, value, said) in [
            ("cleanup.policy", "compact", "compact"),
            ("cleanup.policy", "delete, compact", "compact,delete"),
            ("retention.ms", "-1", "-1"),
            ("retention.ms", "60000", "60000"),
            ("retention.bytes", "0", "0"),
            ("delete.retention.ms", "900", "900"),
            ("max.message.bytes", "10000", "10000"),
        ] {
            let setting = SETTINGS.iter().find(|setting| setting.name == name);
            let setting = setting.unwrap();
            let mut settings = set(name, value).unwrap();
            assert_eq!(setting.own(&settings).as_deref(), Some(said), "{name}");
            apply(&mut settings, name, Operation::Reset).unwrap();
            assert_eq!(settings, TopicSettings::DEFAULT, "{name}");
            assert_eq!(setting.own(&settings), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_applied_is_refused_by_name() {
        for (name, value) in [
            ("cleanup.policy", ""),
            ("cleanup.policy", "shred"),
            ("cleanup.policy", "delete,shred"),
            ("compression.type", "gzip"),
            ("flush.messages", "1000"),
            ("max.message.bytes", "-1"),
            ("max.message.bytes", "3000000000"),
            ("message.timestamp.type", "LogAppendTime"),
            ("min.insync.replicas", "2"),
            ("retention.bytes", "10%"),
            ("retention.ms", "-2"),
            ("retention.ms", "forever"),
            ("segment.bytes", "1048576"),
            ("nonsense", "1"),
        ] {
            let refused = set(name, value).unwrap_err();
            assert_eq!(refused.code(), ResponseError::InvalidConfig.code());
            assert!(refused.message().contains(name), "{:?}", refused.message());
        }
        for (name, value) in [
            ("compression.type", "producer"),
            ("flush.messages", "1"),
            ("message.timestamp.type", "CreateTime"),
            ("min.insync.replicas", "1"),
        ] {
            assert_eq!(set(name, value).unwrap(), TopicSettings::DEFAULT);
        }
    }

    #[test]
    fn lists_grow_and_shrink() {
        let mut settings = TopicSettings::DEFAULT;
        let steps = [
            (Operation::Append("compact"), Cleanup::CompactAndDelete),
            (Operation::Append("compact"), Cleanup::CompactAndDelete),
            (Operation::Subtract("delete"), Cleanup::Compact),
            (Operation::Subtract("delete"), Cleanup::Compact),
            (Operation::Append("delete"), Cleanup::CompactAndDelete),
            (Operation::Subtract("compact"), Cleanup::Delete),
        ];
        for (operation, cleanup) in steps {
            apply(&mut settings, "cleanup.policy", operation).unwrap();
            assert_eq!(settings.cleanup, cleanup, "{operation:?}");
        }
        let nothing = Operation::Subtract("delete");
        apply(&mut settings, "cleanup.policy", nothing).unwrap_err();
        assert_eq!(settings.cleanup, Cleanup::Delete);
        let no_list = Operation::Append("1");
        apply(&mut settings, "retention.ms", no_list).unwrap_err();
    }
}
