//! What each writer does, as a pure function of the seed.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use clock::{SystemClock, Timestamp};
use event::Record;
use event_log::{
    Cleanup, EmbeddedConfig, EmbeddedLog, Lifetime, Partition, RecordBatch, Retention, TopicConfig,
    TopicName, TopicPartition,
};

use crate::Random;

/// Writers, each with one settlement in flight.
pub const WRITERS: u32 = 7;
/// The writer whose settlements live in the long-lived journal.
pub const BILLER: u32 = 4;
/// The writer that is an idempotent producer.
pub const PRODUCER: u32 = 5;
/// The writer whose records have keys, in a topic that keeps the latest of each.
pub const KEEPER: u32 = 6;

/// The topics that the writers share, all but those that come and go.
///
/// # Panics
/// Never: the names are legal.
#[must_use]
pub fn topics() -> Vec<(TopicName, TopicConfig)> {
    let topic = |name: &str, partitions, lifetime| {
        let name = TopicName::new(name).expect("a legal name");
        let config = TopicConfig::new(partitions, lifetime);
        (name, config)
    };
    let mut compacted = TopicConfig::new(1, Lifetime::LongLived);
    compacted.settings.cleanup = Cleanup::Compact;
    vec![
        topic("rig.a", 3, Lifetime::Events),
        topic("rig.b", 1, Lifetime::Events),
        topic("rig.produced", 1, Lifetime::Events),
        topic("rig.bills", 2, Lifetime::LongLived),
        (TopicName::new("rig.kept").expect("a legal name"), compacted),
        // Checkpoints lie on a topic without records, so that they hold none back from retention.
        topic("rig.cursors", WRITERS, Lifetime::Events),
    ]
}

/// Opens the log as every rig does: with segments so small that it changes them often.
///
/// # Errors
/// The log's own.
pub fn open(dir: &Path, retention_bytes: Option<u64>) -> Result<Arc<EmbeddedLog>> {
    EmbeddedLog::open(config(dir, retention_bytes), Arc::new(SystemClock::new()))
        .context("open the log")
}

/// What every rig's log is configured with.
#[must_use]
pub fn config(dir: &Path, retention_bytes: Option<u64>) -> EmbeddedConfig {
    EmbeddedConfig {
        segment_bytes: 64 << 10,
        retention: Retention {
            age: None,
            bytes: retention_bytes,
        },
        ..EmbeddedConfig::new(dir)
    }
}

/// The work of all writers.
#[derive(Clone, Copy, Debug)]
pub struct Plan(pub u64);

/// One append of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Where to.
    pub to: TopicPartition,
    /// The values of its records.
    pub values: Vec<String>,
}

impl Plan {
    /// The appends of a writer's settlement number `seq`, from 1.
    #[must_use]
    pub fn appends(self, writer: u32, seq: u64) -> Vec<Planned> {
        let mut random = Random::of(self.0, writer, seq);
        let appends = match writer {
            PRODUCER => 1,
            _ => 1 + random.below(3),
        };
        let planned = (0..appends).map(|append| {
            let to = match writer {
                BILLER => place("rig.bills", random.below(2)),
                PRODUCER => place("rig.produced", 0),
                KEEPER => place("rig.kept", 0),
                _ => match random.below(4) {
                    3 => place("rig.b", 0),
                    partition => place("rig.a", partition),
                },
            };
            let records = 1 + random.below(4);
            let values = (0..records).map(|record| {
                let len = match random.below(40) {
                    0 => 12_000 + random.below(30_000),
                    1..10 => 1_000 + random.below(4_000),
                    _ => 20 + random.below(300),
                };
                let filler = filler(&mut random, len as usize);
                format!("{writer}.{seq}.{append}.{record}:{filler}")
            });
            let values = values.collect();
            Planned { to, values }
        });
        planned.collect()
    }

    /// The batch that carries a planned append.
    ///
    /// # Panics
    /// Never: a plan has at least one record for each append.
    #[must_use]
    pub fn batch(planned: &Planned) -> RecordBatch {
        let keyed = planned.to.topic.as_str() == "rig.kept";
        let record = |value: &String| {
            let record = Record::new(value.clone(), Timestamp::from_millis(1_000));
            if keyed {
                record.with_key(Self::key(value))
            } else {
                record
            }
        };
        let records: Vec<Record> = planned.values.iter().map(record).collect();
        RecordBatch::of(&records).expect("at least one record")
    }

    /// The key of a value in the topic that keeps the latest of each key.
    #[must_use]
    pub fn key(value: &str) -> String {
        let id = value.split(':').next().unwrap_or_default();
        let sum: u32 = id.bytes().map(u32::from).sum();
        format!("key {}", sum % 9)
    }

    /// The one record of a topic that comes and goes.
    #[must_use]
    pub fn churned(self, number: u64) -> Planned {
        Planned {
            to: place(&format!("churn.{number}"), 0),
            values: vec![format!("churn {number} of {}", self.0)],
        }
    }

    /// The sequence number with which the idempotent producer's settlement `seq` begins.
    #[must_use]
    pub fn base_sequence(self, seq: u64) -> i32 {
        let before = (1..seq).map(|seq| self.appends(PRODUCER, seq)[0].values.len());
        i32::try_from(before.sum::<usize>()).unwrap_or(i32::MAX)
    }
}

fn place(topic: &str, partition: u64) -> TopicPartition {
    let partition = u32::try_from(partition).expect("a handful of partitions");
    TopicName::new(topic)
        .expect("a legal name")
        .partition(Partition::new(partition))
}

/// `len` letters from a random place of a text that is made once.
fn filler(random: &mut Random, len: usize) -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let mut random = Random::of(0, 0, 0);
        let letters = (0..128 << 10).map(|_| char::from(b'a' + random.below(26) as u8));
        letters.collect()
    });
    let from = random.below((TEXT.len() - len) as u64) as usize;
    &TEXT[from..from + len]
}
