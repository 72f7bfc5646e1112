//! How much is left at the source, as librdkafka's own statistics tell.

use std::sync::atomic::{AtomicI64, Ordering};

use rdkafka::consumer::ConsumerContext;
use rdkafka::{ClientContext, Statistics};

/// The end of the partition as it was last heard of.
#[derive(Debug)]
pub(crate) struct EndOfPartition {
    topic: String,
    partition: i32,
    end: AtomicI64,
}

impl EndOfPartition {
    pub(crate) fn unknown(topic: String, partition: i32) -> Self {
        Self {
            topic,
            partition,
            end: AtomicI64::new(-1),
        }
    }

    pub(crate) fn set(&self, end: i64) {
        self.end.fetch_max(end, Ordering::Relaxed);
    }

    /// Records from `next` on; none when `next` is past what was heard of.
    pub(crate) fn lag(&self, next: i64) -> u64 {
        u64::try_from(self.end.load(Ordering::Relaxed) - next).unwrap_or(0)
    }
}

impl ClientContext for EndOfPartition {
    fn stats(&self, statistics: Statistics) {
        let topic = statistics.topics.get(&self.topic);
        if let Some(partition) = topic.and_then(|topic| topic.partitions.get(&self.partition)) {
            self.set(partition.hi_offset);
        }
    }
}

impl ConsumerContext for EndOfPartition {}
