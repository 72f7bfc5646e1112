//! Which settings there are.

/// A setting as Kafka's clients know it.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name for topics.
    pub(crate) name: &'static str,
    /// The broker's setting that it falls back to, if there is one by another name.
    pub(crate) broker_name: Option<&'static str>,
    pub(crate) kind: Kind,
    pub(crate) documentation: &'static str,
    pub(super) value: Value,
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

/// What a setting is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Cleanup,
    RetentionAge,
    RetentionBytes,
    TombstoneGrace,
    MaxBatchBytes,
    /// What holds for every topic.
    Always(&'static str),
}

pub(super) const SETTINGS: &[Setting] = &[
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

impl Setting {
    /// Whether it has one value for every topic.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.value, Value::Always(_))
    }
}
