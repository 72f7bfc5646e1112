//! The settings of topics under Kafka's names: what each takes, says and falls back to.
//!
//! A setting that the log applies can be set; one that holds anyway can be given the value that it
//! has; any other is refused by name.

use std::time::Duration;

use event_log::{Cleanup, Lifetime, Limit, Topic, TopicSettings};
use kafka_protocol::ResponseError;

use crate::broker::Broker;
use crate::error_code::Refusal;

/// A setting as Kafka's clients know it.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name for topics.
    pub(crate) name: &'static str,
    /// The broker's setting that it falls back to, if there is one by another name.
    pub(crate) broker_name: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) documentation: &'static str,
    value: Value,
}

/// Kafka's types of settings (`ConfigType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    List = 7,
}

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

#[derive(Clone, Copy, Debug)]
enum Value {
    Cleanup,
    RetentionAge,
    RetentionBytes,
    TombstoneGrace,
    MaxBatchBytes,
    /// What holds for every topic.
    Always(&'static str),
}

const SETTINGS: &[Setting] = &[
    Setting {
        name: "cleanup.policy",
        broker_name: Some("log.cleanup.policy"),
        kind: Kind::List,
        documentation: "How old records go: delete (by age and size), compact (when a newer record \
                        has their key; such a topic takes only records with keys), or both.",
        value: Value::Cleanup,
    },
    Setting {
        name: "compression.type",
        broker_name: Some("compression.type"),
        kind: Kind::String,
        documentation: "Batches keep the compression that their producer gave them.",
        value: Value::Always("producer"),
    },
    Setting {
        name: "delete.retention.ms",
        broker_name: Some("log.cleaner.delete.retention.ms"),
        kind: Kind::Long,
        documentation: "Milliseconds for which compaction keeps a tombstone, so that readers see it.",
        value: Value::TombstoneGrace,
    },
    Setting {
        name: "flush.messages",
        broker_name: Some("log.flush.interval.messages"),
        kind: Kind::Long,
        documentation: "Every record is on the disk before it is acknowledged.",
        value: Value::Always("1"),
    },
    Setting {
        name: "max.message.bytes",
        broker_name: Some("message.max.bytes"),
        kind: Kind::Int,
        documentation: "The largest batch that the topic takes, in bytes, as it is compressed.",
        value: Value::MaxBatchBytes,
    },
    Setting {
        name: "message.timestamp.type",
        broker_name: Some("log.message.timestamp.type"),
        kind: Kind::String,
        documentation: "Records keep the time that their producer gave them.",
        value: Value::Always("CreateTime"),
    },
    Setting {
        name: "min.insync.replicas",
        broker_name: Some("min.insync.replicas"),
        kind: Kind::Int,
        documentation: "There is one replica of every partition.",
        value: Value::Always("1"),
    },
    Setting {
        name: "retention.bytes",
        broker_name: Some("log.retention.bytes"),
        kind: Kind::Long,
        documentation: "Bytes of batches that each partition keeps; -1 for no bound of its own: the \
                        log as a whole may still be bounded.",
        value: Value::RetentionBytes,
    },
    Setting {
        name: "retention.ms",
        broker_name: Some("log.retention.ms"),
        kind: Kind::Long,
        documentation: "The age in milliseconds from which on records may go, once no trigger needs \
                        them; -1 for no bound.",
        value: Value::RetentionAge,
    },
    Setting {
        name: "unclean.leader.election.enable",
        broker_name: Some("unclean.leader.election.enable"),
        kind: Kind::Boolean,
        documentation: "There are no elections.",
        value: Value::Always("false"),
    },
];

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

impl Setting {
    /// Whether it has one value for every topic.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.value, Value::Always(_))
    }

    fn set(&self, settings: &mut TopicSettings, value: &str) -> Result<(), Refusal> {
        match self.value {
            Value::Cleanup => settings.cleanup = cleanup(value)?,
            Value::RetentionAge => {
                let age = self.limit(value)?;
                settings.retention_age = Some(match age {
                    None => Limit::Unlimited,
                    Some(millis) => Limit::AtMost(Duration::from_millis(millis)),
                });
            }
            Value::RetentionBytes => {
                let bytes = self.limit(value)?;
                settings.retention_bytes = Some(bytes.map_or(Limit::Unlimited, Limit::AtMost));
            }
            Value::TombstoneGrace => {
                let millis = self.number(value, i64::MAX)?;
                settings.tombstone_grace = Some(Duration::from_millis(millis));
            }
            Value::MaxBatchBytes => {
                let bytes = self.number(value, i64::from(i32::MAX))?;
                settings.max_batch_bytes = u32::try_from(bytes).ok();
            }
            Value::Always(holds) if holds == value => {}
            Value::Always(holds) => {
                return Err(invalid(format!("{} is always {holds}", self.name)));
            }
        }
        Ok(())
    }

    fn reset(&self, settings: &mut TopicSettings) {
        let default = TopicSettings::DEFAULT;
        match self.value {
            Value::Cleanup => settings.cleanup = default.cleanup,
            Value::RetentionAge => settings.retention_age = default.retention_age,
            Value::RetentionBytes => settings.retention_bytes = default.retention_bytes,
            Value::TombstoneGrace => settings.tombstone_grace = default.tombstone_grace,
            Value::MaxBatchBytes => settings.max_batch_bytes = default.max_batch_bytes,
            Value::Always(_) => {}
        }
    }

    /// The topic's own value, if it has one.
    fn own(&self, settings: &TopicSettings) -> Option<String> {
        match self.value {
            Value::Cleanup => {
                let is_set = settings.cleanup != Cleanup::default();
                is_set.then(|| cleanup_list(settings.cleanup).join(","))
            }
            Value::RetentionAge => settings.retention_age.map(|age| match age {
                Limit::Unlimited => "-1".to_owned(),
                Limit::AtMost(age) => age.as_millis().to_string(),
            }),
            Value::RetentionBytes => settings.retention_bytes.map(|bytes| match bytes {
                Limit::Unlimited => "-1".to_owned(),
                Limit::AtMost(bytes) => bytes.to_string(),
            }),
            Value::TombstoneGrace => settings
                .tombstone_grace
                .map(|grace| grace.as_millis().to_string()),
            Value::MaxBatchBytes => settings.max_batch_bytes.map(|bytes| bytes.to_string()),
            Value::Always(_) => None,
        }
    }

    fn fallback(&self, lifetime: Lifetime, defaults: &TopicDefaults) -> (String, Source) {
        match self.value {
            Value::Cleanup => ("delete".to_owned(), Source::Default),
            Value::RetentionAge => match (lifetime, defaults.retention_age) {
                (Lifetime::LongLived, _) => ("-1".to_owned(), Source::Default),
                (Lifetime::Events, None) => ("-1".to_owned(), Source::Broker),
                (Lifetime::Events, Some(age)) => (age.as_millis().to_string(), Source::Broker),
            },
            Value::RetentionBytes => ("-1".to_owned(), Source::Default),
            Value::TombstoneGrace => {
                let grace = defaults.tombstone_grace.as_millis();
                (grace.to_string(), Source::Default)
            }
            Value::MaxBatchBytes => (defaults.max_batch_bytes.to_string(), Source::Default),
            Value::Always(holds) => (holds.to_owned(), Source::Default),
        }
    }

    /// The items of a setting that is a list.
    fn list(&self, settings: &TopicSettings) -> Result<Vec<&'static str>, Refusal> {
        match self.value {
            Value::Cleanup => Ok(cleanup_list(settings.cleanup).to_vec()),
            Value::RetentionAge
            | Value::RetentionBytes
            | Value::TombstoneGrace
            | Value::MaxBatchBytes
            | Value::Always(_) => Err(invalid(format!("{} is not a list", self.name))),
        }
    }

    /// A number, where -1 stands for no limit.
    fn limit(&self, value: &str) -> Result<Option<u64>, Refusal> {
        if value == "-1" {
            return Ok(None);
        }
        self.number(value, i64::MAX).map(Some)
    }

    fn number(&self, value: &str, most: i64) -> Result<u64, Refusal> {
        let number = value.parse().ok();
        let number = number.filter(|number| (0..=most).contains(number));
        let number = number.and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| invalid(format!("{} takes a number from 0 to {most}", self.name)))
    }
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

fn cleanup(value: &str) -> Result<Cleanup, Refusal> {
    let mut items: Vec<_> = value.split(',').map(str::trim).collect();
    items.sort_unstable();
    items.dedup();
    match items.as_slice() {
        ["delete"] => Ok(Cleanup::Delete),
        ["compact"] => Ok(Cleanup::Compact),
        ["compact", "delete"] => Ok(Cleanup::CompactAndDelete),
        _ => Err(invalid(
            "cleanup.policy takes delete, compact or compact,delete".to_owned(),
        )),
    }
}

fn cleanup_list(cleanup: Cleanup) -> &'static [&'static str] {
    match cleanup {
        Cleanup::Delete => &["delete"],
        Cleanup::Compact => &["compact"],
        Cleanup::CompactAndDelete => &["compact", "delete"],
    }
}

fn invalid(reason: String) -> Refusal {
    Refusal::new(ResponseError::InvalidConfig, reason)
}

#[cfg(test)]
mod tests {
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
