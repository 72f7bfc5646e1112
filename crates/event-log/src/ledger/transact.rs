//! May a transaction take this step, and what would it change?

use std::time::Duration;

use clock::Timestamp;

use super::transactions::{Enrolled, Open, REMEMBERED, Stage, Staged, Writing};
use super::{Change, Extent, Judged, Ledger, Part, PartitionKey};
use crate::{
    Checkpoint, ConsumerId, Error, Lifetime, Offset, Outcome, ProducerIdentity, RecordBatch,
    StagedOffset, TopicPartition, TransactionStep, TransactionalId,
};

/// Bytes that a control batch and its change take at most.
const MARKER: usize = 192;
/// Bytes that the change of one checkpoint takes beside its names and notes.
const CHECKPOINT: usize = 96;

/// Bytes of a transactional id at most.
const MAX_ID: usize = 1_024;

/// A step that was accepted.
#[derive(Debug)]
pub(crate) struct Transacted {
    /// The latest life of the transactional id.
    pub(crate) producer: ProducerIdentity,
    /// The control batches to be written, as the changes name them.
    pub(crate) markers: Vec<(PartitionKey, Offset, RecordBatch)>,
}

/// What ending a transaction writes.
struct Ending {
    changes: Vec<Change>,
    markers: Vec<(PartitionKey, Offset, RecordBatch)>,
}

impl Ledger {
    pub(crate) fn judge_step(
        &self,
        id: &TransactionalId,
        step: &TransactionStep,
    ) -> Result<Judged<Transacted>, Error> {
        match step {
            TransactionStep::Enroll {
                timeout,
                current,
                now,
            } => self.judge_enrolling(id, *timeout, *current, *now),
            TransactionStep::Join {
                by,
                partitions,
                consumers,
                now,
            } => self.judge_joining(id, *by, partitions, consumers, *now),
            TransactionStep::Stage {
                by,
                consumer,
                offsets,
            } => self.judge_staging(id, *by, consumer, offsets),
            TransactionStep::End { by, outcome, now } => self.judge_end(id, *by, *outcome, *now),
            TransactionStep::Expire { now } => self.judge_expiry(id, *now),
        }
    }

    /// Bytes that a step takes in the journal at most, given what has been accepted before. A step
    /// that grows a transaction counts what ending it will take too, so that the end fits behind it.
    pub(crate) fn weight_of_step(&self, id: &TransactionalId, step: &TransactionStep) -> usize {
        let name = id.as_str().len() + CHECKPOINT;
        let forgotten = MAX_ID + CHECKPOINT;
        let ending = || {
            let open = self.transactions.get(id).and_then(Writing::open);
            open.map_or(0, |open| {
                let staged = open.staged.iter();
                let staged = staged.map(|((consumer, _), (_, metadata))| {
                    CHECKPOINT + consumer.as_str().len() + metadata.len()
                });
                open.partitions.len() * MARKER + staged.sum::<usize>()
            })
        };
        let own = match step {
            TransactionStep::Enroll { .. }
            | TransactionStep::End { .. }
            | TransactionStep::Expire { .. } => name + forgotten + ending(),
            TransactionStep::Join {
                partitions,
                consumers,
                ..
            } => {
                let names = consumers.iter().map(|it| it.as_str().len() + 8);
                partitions.len() * (MARKER + 20) + names.sum::<usize>()
            }
            TransactionStep::Stage {
                consumer, offsets, ..
            } => {
                let one = |it: &StagedOffset| {
                    2 * (CHECKPOINT + consumer.as_str().len() + it.metadata.len()) + name
                };
                offsets.iter().map(one).sum()
            }
        };
        name + own
    }

    fn judge_enrolling(
        &self,
        id: &TransactionalId,
        timeout: Duration,
        current: Option<ProducerIdentity>,
        now: Timestamp,
    ) -> Result<Judged<Transacted>, Error> {
        if id.as_str().len() > MAX_ID {
            let reason = format!("its transactional id is longer than {MAX_ID} bytes");
            return Err(invalid(-1, reason));
        }
        let mut changes = Vec::new();
        let mut markers = Vec::new();
        let (producer, before) = match self.transactions.get(id) {
            // Whoever it was has been forgotten.
            None => {
                if self.transactions.by_id.len() >= REMEMBERED
                    && let Some(idlest) = self.transactions.idlest()
                {
                    changes.push(Change::ProducerForgotten(idlest.clone()));
                }
                (self.new_producer(&mut changes), None)
            }
            Some(writing) => {
                let enrolled = &writing.enrolled;
                if let Some(by) = current {
                    // The answer to the same request may have been lost.
                    if enrolled.before == Some(by) && writing.open().is_none() {
                        return Ok(unchanged(enrolled.producer));
                    }
                    if by != enrolled.producer {
                        let id = id.clone();
                        return Err(Error::StaleProducer { id, by });
                    }
                }
                let mut producer = enrolled.producer;
                match next_epoch(producer) {
                    Some(next) => producer = next,
                    None => producer = self.new_producer(&mut changes),
                }
                if let Some(open) = writing.open() {
                    let fence = next_epoch(enrolled.producer).unwrap_or(enrolled.producer);
                    let ending = self.ending(id, open, fence, Outcome::Abort, now);
                    changes.extend(ending.changes);
                    markers = ending.markers;
                }
                (producer, current)
            }
        };
        changes.push(Change::Enrolled(Enrolled {
            id: id.clone(),
            producer,
            before,
            timeout,
            at: now,
        }));
        Ok(Judged {
            changes,
            answer: Transacted { producer, markers },
        })
    }

    fn judge_joining(
        &self,
        id: &TransactionalId,
        by: ProducerIdentity,
        partitions: &[TopicPartition],
        consumers: &[ConsumerId],
        now: Timestamp,
    ) -> Result<Judged<Transacted>, Error> {
        let writing = self.writing(id, by)?;
        let mut keys = Vec::with_capacity(partitions.len());
        for place in partitions {
            let key = self.key(place)?;
            let topic = self.topic(&place.topic);
            if topic.is_some_and(|topic| topic.config.lifetime != Lifetime::Events) {
                return Err(invalid(by.id, format!("{place} takes no transactions")));
            }
            keys.push(key);
        }
        let known = writing.open().is_some_and(|open| {
            keys.iter().all(|key| open.partitions.contains(key))
                && consumers.iter().all(|it| open.consumers.contains(it))
        });
        if known {
            return Ok(unchanged(by));
        }
        Ok(Judged {
            changes: vec![Change::TransactionJoined {
                id: id.clone(),
                since: now,
                partitions: keys,
                consumers: consumers.to_vec(),
            }],
            answer: Transacted {
                producer: by,
                markers: Vec::new(),
            },
        })
    }

    fn judge_staging(
        &self,
        id: &TransactionalId,
        by: ProducerIdentity,
        consumer: &ConsumerId,
        offsets: &[StagedOffset],
    ) -> Result<Judged<Transacted>, Error> {
        let writing = self.writing(id, by)?;
        let joined = writing.open();
        if !joined.is_some_and(|open| open.consumers.contains(consumer)) {
            let reason = format!("{consumer} has not joined it");
            return Err(invalid(by.id, reason));
        }
        if self.home(consumer) == Some(Lifetime::LongLived) {
            let reason = format!("the checkpoints of {consumer} live in the other journal");
            return Err(invalid(by.id, reason));
        }
        let mut changes = Vec::with_capacity(offsets.len());
        for offset in offsets {
            let staged = Staged {
                consumer: consumer.clone(),
                key: self.key(&offset.partition)?,
                next: offset.next,
                metadata: offset.metadata.clone(),
            };
            let id = id.clone();
            changes.push(Change::Staged { id, staged });
        }
        Ok(Judged {
            changes,
            answer: Transacted {
                producer: by,
                markers: Vec::new(),
            },
        })
    }

    fn judge_end(
        &self,
        id: &TransactionalId,
        by: ProducerIdentity,
        outcome: Outcome,
        now: Timestamp,
    ) -> Result<Judged<Transacted>, Error> {
        let writing = self.writing(id, by)?;
        match &writing.stage {
            Stage::Open(open) => {
                let ending = self.ending(id, open, by, outcome, now);
                Ok(Judged {
                    changes: ending.changes,
                    answer: Transacted {
                        producer: by,
                        markers: ending.markers,
                    },
                })
            }
            // Its answer may have been lost.
            Stage::Ended(before) if *before == outcome => Ok(unchanged(by)),
            Stage::Ended(_) => Err(invalid(by.id, "it has ended in the other way".to_owned())),
            Stage::Fresh => Err(invalid(by.id, "none has begun".to_owned())),
        }
    }

    fn judge_expiry(
        &self,
        id: &TransactionalId,
        now: Timestamp,
    ) -> Result<Judged<Transacted>, Error> {
        let writing = self.transactions.get(id);
        let writing = writing.ok_or(Error::UnknownProducer { producer_id: -1 })?;
        let enrolled = &writing.enrolled;
        let overdue = writing.deadline().is_some_and(|deadline| deadline <= now);
        let Some(open) = writing.open().filter(|_| overdue) else {
            return Ok(unchanged(enrolled.producer));
        };
        let fence = next_epoch(enrolled.producer).unwrap_or(enrolled.producer);
        let mut ending = self.ending(id, open, fence, Outcome::Abort, now);
        let producer = match next_epoch(enrolled.producer) {
            Some(next) => next,
            None => self.new_producer(&mut ending.changes),
        };
        ending.changes.push(Change::Enrolled(Enrolled {
            producer,
            before: None,
            ..enrolled.clone()
        }));
        Ok(Judged {
            changes: ending.changes,
            answer: Transacted {
                producer,
                markers: ending.markers,
            },
        })
    }

    /// What ends an open transaction: control batches where it has written, checkpoints if it commits.
    fn ending(
        &self,
        id: &TransactionalId,
        open: &Open,
        by: ProducerIdentity,
        outcome: Outcome,
        now: Timestamp,
    ) -> Ending {
        let mut changes = Vec::new();
        let mut markers = Vec::new();
        for key in &open.partitions {
            let Some(partition) = self.partitions.get(key) else {
                continue;
            };
            if !partition.open.contains_key(&by.id) {
                continue;
            }
            let batch = RecordBatch::marker(by, outcome, now);
            let extent = Extent::of(*key, partition.end, &batch, Part::End(outcome));
            markers.push((*key, partition.end, batch));
            changes.push(Change::Appended(extent));
        }
        match outcome {
            Outcome::Commit => changes.extend(self.checkpoints_of(open)),
            Outcome::Abort => {}
        }
        let id = id.clone();
        changes.push(Change::TransactionEnded { id, outcome });
        Ending { changes, markers }
    }

    fn checkpoints_of<'a>(&'a self, open: &'a Open) -> impl Iterator<Item = Change> + 'a {
        let staged = open.staged.iter();
        staged.map(|((consumer, key), (next, metadata))| Change::Checkpointed {
            consumer: consumer.clone(),
            key: *key,
            checkpoint: Checkpoint {
                next: *next,
                finished_above: Vec::new(),
                metadata: metadata.clone(),
                revision: self.revision(consumer, *key) + 1,
            },
        })
    }

    fn writing(&self, id: &TransactionalId, by: ProducerIdentity) -> Result<&Writing, Error> {
        let writing = self.transactions.get(id);
        let writing = writing.ok_or(Error::UnknownProducer { producer_id: by.id })?;
        check(&writing.enrolled, by)?;
        Ok(writing)
    }

    /// A new id for a producer; every change so far must be applied after it.
    fn new_producer(&self, changes: &mut Vec<Change>) -> ProducerIdentity {
        let id = self.next_producer_id;
        changes.push(Change::ProducerIds { next: id + 1 });
        ProducerIdentity { id, epoch: 0 }
    }

    /// Whether a batch may be written, as far as transactions go.
    pub(super) fn judge_part(
        &self,
        batch: &RecordBatch,
        key: PartitionKey,
        place: &TopicPartition,
    ) -> Result<(), Error> {
        let header = batch.header();
        let Some(producer) = header.producer else {
            return match header.is_transactional() {
                true => Err(Error::InvalidBatch {
                    reason: "it is transactional and names no producer".to_owned(),
                }),
                false => Ok(()),
            };
        };
        match (
            self.transactions.of_producer(producer.id),
            header.is_transactional(),
        ) {
            (None, false) => Ok(()),
            (None, true) => Err(Error::UnknownProducer {
                producer_id: producer.id,
            }),
            (Some(_), false) => {
                let reason = "its producer writes in transactions only".to_owned();
                Err(invalid(producer.id, reason))
            }
            (Some(writing), true) => {
                let joined = writing.open();
                if joined.is_some_and(|open| open.partitions.contains(&key)) {
                    Ok(())
                } else {
                    let reason = format!("{place} has not joined it");
                    Err(invalid(producer.id, reason))
                }
            }
        }
    }

    /// Whether the producer of a batch has been fenced by its transactional id.
    pub(super) fn judge_producer(
        &self,
        producer: ProducerIdentity,
        place: &TopicPartition,
    ) -> Result<(), Error> {
        match self.transactions.of_producer(producer.id) {
            Some(writing) if writing.enrolled.producer != producer => Err(Error::ProducerFenced {
                partition: place.clone(),
                producer_id: producer.id,
                epoch: producer.epoch,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

fn unchanged(producer: ProducerIdentity) -> Judged<Transacted> {
    Judged {
        changes: Vec::new(),
        answer: Transacted {
            producer,
            markers: Vec::new(),
        },
    }
}

fn check(enrolled: &Enrolled, by: ProducerIdentity) -> Result<(), Error> {
    if enrolled.producer.id != by.id {
        return Err(Error::UnknownProducer { producer_id: by.id });
    }
    if enrolled.producer.epoch != by.epoch {
        return Err(Error::StaleProducer {
            id: enrolled.id.clone(),
            by,
        });
    }
    Ok(())
}

/// The same producer in its next life; `None` when its epochs are used up. One is left over to fence
/// the last life with.
fn next_epoch(producer: ProducerIdentity) -> Option<ProducerIdentity> {
    let epoch = producer.epoch.checked_add(1)?;
    (epoch < i16::MAX).then_some(ProducerIdentity { epoch, ..producer })
}

fn invalid(producer_id: i64, reason: String) -> Error {
    Error::InvalidTransaction {
        producer_id,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enroll(ledger: &mut Ledger, id: &str, now: i64) -> ProducerIdentity {
        let step = TransactionStep::Enroll {
            timeout: Duration::from_secs(1),
            current: None,
            now: Timestamp::from_millis(now),
        };
        let judged = ledger.judge_step(&TransactionalId::new(id), &step).unwrap();
        for change in &judged.changes {
            ledger.apply(Lifetime::Events, change);
        }
        judged.answer.producer
    }

    #[test]
    fn a_producer_whose_epochs_are_used_up_goes_on_under_a_new_id() {
        let mut ledger = Ledger::default();
        let mut before = enroll(&mut ledger, "t", 0);
        let mut ids = std::collections::BTreeSet::from([before.id]);
        for now in 1..40_000 {
            let next = enroll(&mut ledger, "t", now);
            if next.id == before.id {
                assert_eq!(next.epoch, before.epoch + 1);
            } else {
                assert_eq!((before.epoch, next.epoch), (i16::MAX - 1, 0));
                assert!(ids.insert(next.id), "{} was given before", next.id);
                assert!(ledger.transactions.of_producer(before.id).is_none());
            }
            before = next;
        }
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn the_transactional_id_that_has_been_idle_longest_is_forgotten() {
        let mut ledger = Ledger::default();
        let many = i64::try_from(REMEMBERED).unwrap();
        for now in 0..many {
            enroll(&mut ledger, &now.to_string(), now);
        }
        let open = TransactionStep::Join {
            by: ProducerIdentity { id: 0, epoch: 0 },
            partitions: Vec::new(),
            consumers: Vec::new(),
            now: Timestamp::from_millis(many),
        };
        let judged = ledger.judge_step(&TransactionalId::new("0"), &open);
        for change in judged.unwrap().changes {
            ledger.apply(Lifetime::Events, &change);
        }
        enroll(&mut ledger, "one more", many);
        let known = |id: &str| ledger.transactions.get(&TransactionalId::new(id)).is_some();
        assert_eq!(ledger.transactions.by_id.len(), REMEMBERED);
        assert!(known("0"), "its transaction is open");
        assert!(!known("1"), "it has been idle longest");
        assert!(known("2") && known("one more"));
    }
}
