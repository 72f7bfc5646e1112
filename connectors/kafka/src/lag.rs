//! How much is left at the source, as librdkafka's own statistics tell, and whether reading has stopped.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Statistics};

use crate::complaint::{self, Complaints};
use crate::identity::Identity;

/// What was last heard of the partition.
#[derive(Debug)]
pub(crate) struct Heard {
    topic: String,
    partition: i32,
    end: AtomicI64,
    /// The next offset that the client will ask for, when everything below was handed over.
    fetched: AtomicI64,
    /// How often the client has told of itself.
    reports: AtomicU64,
    /// Which topic it is.
    pub(crate) identity: Identity,
    /// Why brokers turn the client away.
    pub(crate) complaints: Complaints,
}

/// What the watchdog saw when it looked last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Everything below has been read.
    pub(crate) reached: i64,
    /// The end of the partition.
    pub(crate) end: i64,
    reports: u64,
}

impl Heard {
    pub(crate) fn nothing(topic: String, partition: i32) -> Self {
        Self {
            topic,
            partition,
            end: AtomicI64::new(-1),
            fetched: AtomicI64::new(-1),
            reports: AtomicU64::new(0),
            identity: Identity::default(),
            complaints: Complaints::default(),
        }
    }

    pub(crate) fn end_is(&self, end: i64) {
        self.end.fetch_max(end, Ordering::Relaxed);
    }

    /// Records that wait when everything below `next` was handed over; none when that is past what was
    /// heard of.
    pub(crate) fn lag(&self, next: i64) -> u64 {
        let reached = next.max(self.fetched.load(Ordering::Relaxed));
        u64::try_from(self.end.load(Ordering::Relaxed) - reached).unwrap_or(0)
    }

    /// What there is to see when everything below `next` was handed over and nothing comes: what lies
    /// between there and what was fetched are marks of transactions, and what was aborted by them.
    pub(crate) fn look(&self, next: i64, end: i64) -> Look {
        Look {
            reached: next.max(self.fetched.load(Ordering::Relaxed)),
            end,
            reports: self.reports.load(Ordering::Relaxed),
        }
    }
}

impl Look {
    /// Records that have been waiting since an `earlier` look, none of which was read. None while the
    /// client has not told of itself since: then what was reached is not known.
    pub(crate) fn stalled_since(&self, earlier: &Self) -> Option<u64> {
        let stood_still = self.reached == earlier.reached && self.reports > earlier.reports;
        let waiting = u64::try_from(self.end - self.reached).ok()?;
        (stood_still && earlier.end > earlier.reached).then_some(waiting)
    }
}

impl ClientContext for Heard {
    fn stats(&self, statistics: Statistics) {
        let topic = statistics.topics.get(&self.topic);
        if let Some(partition) = topic.and_then(|topic| topic.partitions.get(&self.partition)) {
            self.end_is(partition.hi_offset);
            // Where nothing was fetched and not handed over, everything below was.
            if partition.fetchq_cnt == 0 {
                self.fetched
                    .fetch_max(partition.next_offset, Ordering::Relaxed);
            }
        }
        self.reports.fetch_add(1, Ordering::Relaxed);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        match level {
            RDKafkaLogLevel::Debug => self.identity.hear(&self.topic, line),
            _ => complaint::pass_on(level, facility, line),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complaints.hear(&error, reason);
    }
}

impl ConsumerContext for Heard {}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(reached: i64, end: i64, reports: u64) -> Look {
        Look {
            reached,
            end,
            reports,
        }
    }

    #[test]
    fn only_what_has_waited_all_the_time_is_a_stall() {
        let earlier = look(5, 9, 1);
        assert_eq!(look(5, 12, 2).stalled_since(&earlier), Some(7));
        // Not known yet, moved on, and nothing was waiting then.
        assert_eq!(look(5, 12, 1).stalled_since(&earlier), None);
        assert_eq!(look(6, 12, 2).stalled_since(&earlier), None);
        assert_eq!(look(9, 12, 3).stalled_since(&look(9, 9, 1)), None);
    }

    #[test]
    fn marks_of_transactions_are_nothing_that_waits() {
        let heard = Heard::nothing("orders".to_owned(), 0);
        heard.fetched.store(9, Ordering::Relaxed);
        assert_eq!(heard.look(8, 9).reached, 9);
    }
}
