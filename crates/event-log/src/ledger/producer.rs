//! Sequence numbers of idempotent producers, per partition.
//!
//! Kafka's rules (`org.apache.kafka.storage.internals.log.ProducerAppendInfo`, 4.0): sequences of an
//! epoch follow each other and wrap after `i32::MAX`; a batch that repeats one of the last five is a
//! duplicate; a new epoch starts at zero; a producer nothing is known of may start anywhere.

use std::collections::{HashMap, VecDeque};

use super::Extent;
use crate::{Error, Offset, Producer, TopicPartition};

/// Batches remembered per producer: Java and librdkafka keep at most five in flight.
const REMEMBERED: usize = 5;
/// Producers remembered per partition; beyond it the one that has been silent longest is forgotten.
const PRODUCERS: usize = 1024;

/// What the producers of one partition sent last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequences(HashMap<i64, Sent>);

/// What one producer sent last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) epoch: i16,
    /// First sequence, last sequence and base offset of the last batches, oldest first.
    pub(crate) batches: VecDeque<(i32, i32, Offset)>,
}

/// What a batch is to a producer's sequence.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Next,
    Duplicate(Offset),
}

impl Sequences {
    pub(crate) fn get(&self, producer: i64) -> Option<&Sent> {
        self.0.get(&producer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Sent)> {
        self.0.iter().map(|(id, sent)| (*id, sent))
    }

    pub(crate) fn insert(&mut self, producer: i64, sent: Sent) {
        self.0.insert(producer, sent);
    }

    pub(super) fn note(&mut self, producer: Producer, extent: &Extent) {
        let sent = self.0.entry(producer.id).or_default();
        sent.note(producer, extent);
        if self.0.len() > PRODUCERS {
            // By offset, not by time: a replay forgets exactly what the first run forgot.
            let last = |sent: &Sent| sent.batches.back().map_or(Offset::ZERO, |batch| batch.2);
            let silent = self.0.iter().min_by_key(|(id, sent)| (last(sent), **id));
            if let Some(id) = silent.map(|(id, _)| *id) {
                self.0.remove(&id);
            }
        }
    }
}

impl Sent {
    pub(super) fn note(&mut self, producer: Producer, extent: &Extent) {
        if producer.epoch != self.epoch {
            self.epoch = producer.epoch;
            self.batches.clear();
        }
        if producer.base_sequence < 0 {
            return; // A transaction marker carries the epoch but no sequence.
        }
        if self.batches.len() == REMEMBERED {
            self.batches.pop_front();
        }
        let last = last_sequence(producer.base_sequence, extent.offsets);
        self.batches
            .push_back((producer.base_sequence, last, extent.base));
    }
}

/// Judges a batch of `offsets` records by what its producer sent before.
pub(super) fn judge(
    sent: Option<&Sent>,
    producer: Producer,
    offsets: u32,
    partition: &TopicPartition,
) -> Result<Verdict, Error> {
    let Some(sent) = sent else {
        return Ok(Verdict::Next);
    };
    if producer.epoch < sent.epoch {
        return Err(Error::ProducerFenced {
            partition: partition.clone(),
            producer_id: producer.id,
            epoch: producer.epoch,
        });
    }
    let first = producer.base_sequence;
    let last = last_sequence(first, offsets);
    let expected = match sent.batches.back() {
        Some((_, last, _)) if producer.epoch == sent.epoch => last_sequence(*last, 2),
        Some(_) | None => 0,
    };
    if producer.epoch == sent.epoch
        && let Some(copy) = sent.batches.iter().find(|at| (at.0, at.1) == (first, last))
    {
        return Ok(Verdict::Duplicate(copy.2));
    }
    if first == expected {
        Ok(Verdict::Next)
    } else {
        Err(Error::OutOfOrderSequence {
            partition: partition.clone(),
            producer_id: producer.id,
            sequence: first,
            expected,
        })
    }
}

/// The sequence of the last of `records` records that begin at `first`.
fn last_sequence(first: i32, records: u32) -> i32 {
    let last = (i64::from(first) + i64::from(records) - 1) % (i64::from(i32::MAX) + 1);
    i32::try_from(last).expect("the remainder is below 2^31")
}

#[cfg(test)]
mod tests {
    use clock::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::Partition;
    use crate::ledger::{Part, PartitionKey};

    #[test]
    fn sequences_wrap_to_zero_after_the_largest() {
        assert_eq!(last_sequence(5, 3), 7);
        assert_eq!(last_sequence(i32::MAX, 1), i32::MAX);
        assert_eq!(last_sequence(i32::MAX, 2), 0);
        assert_eq!(last_sequence(i32::MAX - 1, 4), 1);
    }

    #[test]
    fn the_producer_that_has_been_silent_longest_is_forgotten() {
        let mut sequences = Sequences::default();
        let mut base = Offset::ZERO;
        let mut note = |id: i64| {
            let producer = Producer {
                id,
                epoch: 0,
                base_sequence: 0,
            };
            let extent = Extent {
                key: PartitionKey {
                    topic: Uuid::nil(),
                    partition: Partition::new(0),
                },
                base,
                offsets: 1,
                len: 70,
                max_timestamp: Timestamp::default(),
                producer: Some(producer),
                part: Part::None,
            };
            base = base.next();
            sequences.note(producer, &extent);
        };
        let many = i64::try_from(PRODUCERS).unwrap();
        (0..many).for_each(&mut note);
        note(0);
        note(many);
        assert_eq!(sequences.0.len(), PRODUCERS);
        assert!(sequences.get(0).is_some(), "it wrote again");
        assert!(sequences.get(1).is_none(), "it was silent longest");
        assert!(sequences.get(many).is_some(), "it is the newest");
    }
}
