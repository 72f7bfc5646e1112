//! Transactional ids, and how their transactions lie in partitions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use uuid::Uuid;

use super::{Change, Extent, Ledger, Part, PartitionKey};
use crate::{
    Aborted, ConsumerId, Error, Offset, Outcome, PartitionProducer, ProducerIdentity, RecordBatch,
    TopicPartition, Transaction, TransactionStage, TransactionalId,
};

/// Transactional ids that are remembered; beyond it the one that has not enrolled for longest goes.
pub(super) const REMEMBERED: usize = 10_000;

/// The transactional ids of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transactions {
    pub(super) by_id: BTreeMap<TransactionalId, Writing>,
    by_producer: HashMap<i64, TransactionalId>,
    /// Those with a transaction open.
    open: BTreeSet<TransactionalId>,
}

/// One transactional id.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) enrolled: Enrolled,
    pub(super) stage: Stage,
}

/// The latest life of a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enrolled {
    pub(crate) id: TransactionalId,
    pub(crate) producer: ProducerIdentity,
    /// The life before, when it was the same client's: it may not have heard of this one.
    pub(crate) before: Option<ProducerIdentity>,
    pub(crate) timeout: Duration,
    pub(crate) at: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) enum Stage {
    Fresh,
    Open(Open),
    Ended(Outcome),
}

/// An open transaction.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) since: Timestamp,
    pub(super) partitions: BTreeSet<PartitionKey>,
    pub(super) consumers: BTreeSet<ConsumerId>,
    pub(super) staged: BTreeMap<(ConsumerId, PartitionKey), (Offset, Bytes)>,
}

/// An offset that waits for its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Staged {
    pub(crate) consumer: ConsumerId,
    pub(crate) key: PartitionKey,
    pub(crate) next: Offset,
    pub(crate) metadata: Bytes,
}

impl Transactions {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn get(&self, id: &TransactionalId) -> Option<&Writing> {
        self.by_id.get(id)
    }

    /// The transactional id that writes as this producer.
    pub(super) fn of_producer(&self, producer: i64) -> Option<&Writing> {
        self.by_id.get(self.by_producer.get(&producer)?)
    }

    /// The open ones.
    fn open(&self) -> impl Iterator<Item = (&Writing, &Open)> {
        self.open.iter().filter_map(|id| {
            let writing = self.by_id.get(id)?;
            Some((writing, writing.open()?))
        })
    }

    /// The one that has not enrolled for longest and has nothing open.
    pub(super) fn idlest(&self) -> Option<&TransactionalId> {
        let idle = self.by_id.values().filter(|it| it.open().is_none());
        let idlest = idle.min_by_key(|it| it.enrolled.at)?;
        Some(&idlest.enrolled.id)
    }

    fn open_mut(&mut self, id: &TransactionalId, since: Timestamp) -> Option<&mut Open> {
        let writing = self.by_id.get_mut(id)?;
        self.open.insert(id.clone());
        if writing.open().is_none() {
            writing.stage = Stage::Open(Open {
                since,
                partitions: BTreeSet::new(),
                consumers: BTreeSet::new(),
                staged: BTreeMap::new(),
            });
        }
        match &mut writing.stage {
            Stage::Open(open) => Some(open),
            Stage::Fresh | Stage::Ended(_) => None,
        }
    }
}

impl Writing {
    pub(super) fn open(&self) -> Option<&Open> {
        match &self.stage {
            Stage::Open(open) => Some(open),
            Stage::Fresh | Stage::Ended(_) => None,
        }
    }

    /// When its open transaction must have ended.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        Some(self.open()?.since.plus(self.enrolled.timeout))
    }
}

impl Ledger {
    pub(super) fn enroll(&mut self, enrolled: &Enrolled) {
        let writing = Writing {
            enrolled: enrolled.clone(),
            stage: Stage::Fresh,
        };
        let id = &enrolled.id;
        let of = &mut self.transactions;
        of.open.remove(id);
        if let Some(before) = of.by_id.insert(id.clone(), writing) {
            of.by_producer.remove(&before.enrolled.producer.id);
        }
        of.by_producer.insert(enrolled.producer.id, id.clone());
    }

    pub(super) fn join_transaction(
        &mut self,
        id: &TransactionalId,
        since: Timestamp,
        partitions: &[PartitionKey],
        consumers: &[ConsumerId],
    ) {
        if let Some(open) = self.transactions.open_mut(id, since) {
            open.partitions.extend(partitions);
            open.consumers.extend(consumers.iter().cloned());
        }
    }

    pub(super) fn stage(&mut self, id: &TransactionalId, staged: &Staged) {
        let open = self.transactions.by_id.get_mut(id);
        if let Some(Stage::Open(open)) = open.map(|writing| &mut writing.stage) {
            let place = (staged.consumer.clone(), staged.key);
            let offset = (staged.next, staged.metadata.clone());
            open.staged.insert(place, offset);
        }
    }

    pub(super) fn end_transaction(&mut self, id: &TransactionalId, outcome: Outcome) {
        self.transactions.open.remove(id);
        if let Some(writing) = self.transactions.by_id.get_mut(id) {
            writing.stage = Stage::Ended(outcome);
        }
    }

    pub(super) fn forget_producer(&mut self, id: &TransactionalId) {
        self.transactions.open.remove(id);
        if let Some(writing) = self.transactions.by_id.remove(id) {
            let producer = writing.enrolled.producer.id;
            self.transactions.by_producer.remove(&producer);
        }
    }

    /// Notes which part a batch of a producer plays. Where a damaged frame has taken the step before
    /// it, the transaction is opened here, so that its time runs out; a producer of whom nothing is
    /// left cannot hold readers back.
    pub(super) fn note_part(&mut self, producer: i64, extent: &Extent) {
        match extent.part {
            Part::None => {}
            Part::Inside => {
                let Some(id) = self.transactions.by_producer.get(&producer).cloned() else {
                    return;
                };
                let open = self.transactions.open_mut(&id, extent.max_timestamp);
                if let Some(open) = open {
                    open.partitions.insert(extent.key);
                }
                let partition = self.partitions.entry(extent.key).or_default();
                partition.open.entry(producer).or_insert(extent.base);
            }
            Part::End(outcome) => {
                let partition = self.partitions.entry(extent.key).or_default();
                let first = partition.open.remove(&producer);
                match (outcome, first) {
                    (Outcome::Abort, Some(first)) => partition.aborted.push(Aborted {
                        producer_id: producer,
                        first,
                        marker: extent.base,
                    }),
                    (Outcome::Commit, _) | (Outcome::Abort, None) => {}
                }
            }
        }
    }

    /// A deleted topic is in no transaction.
    pub(super) fn leave_transactions(&mut self, topic: Uuid) {
        for writing in self.transactions.by_id.values_mut() {
            if let Stage::Open(open) = &mut writing.stage {
                open.partitions.retain(|key| key.topic != topic);
                open.staged.retain(|(_, key), _| key.topic != topic);
            }
        }
    }

    /// Forgets aborted transactions that lie wholly below `start`.
    pub(crate) fn forget_aborted(&mut self, key: PartitionKey, start: Offset) {
        if let Some(partition) = self.partitions.get_mut(&key) {
            partition.aborted.retain(|it| it.marker >= start);
        }
    }

    /// The aborted transactions of which a part lies in `from..to`.
    pub(crate) fn aborted_within(
        &self,
        key: PartitionKey,
        from: Offset,
        to: Offset,
    ) -> Vec<Aborted> {
        let Some(partition) = self.partitions.get(&key) else {
            return Vec::new();
        };
        let all = &partition.aborted;
        let start = all.partition_point(|it| it.marker < from);
        let rest = all[start..].iter();
        rest.filter(|it| it.first < to).copied().collect()
    }

    /// The changes that rebuild all of this from nothing.
    pub(super) fn transactions_snapshot(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (id, writing) in &self.transactions.by_id {
            changes.push(Change::Enrolled(writing.enrolled.clone()));
            match &writing.stage {
                Stage::Fresh => {}
                Stage::Ended(outcome) => changes.push(Change::TransactionEnded {
                    id: id.clone(),
                    outcome: *outcome,
                }),
                Stage::Open(open) => {
                    changes.push(Change::TransactionJoined {
                        id: id.clone(),
                        since: open.since,
                        partitions: open.partitions.iter().copied().collect(),
                        consumers: open.consumers.iter().cloned().collect(),
                    });
                    for ((consumer, key), (next, metadata)) in &open.staged {
                        let staged = Staged {
                            consumer: consumer.clone(),
                            key: *key,
                            next: *next,
                            metadata: metadata.clone(),
                        };
                        changes.push(Change::Staged {
                            id: id.clone(),
                            staged,
                        });
                    }
                }
            }
        }
        changes
    }

    /// Every transactional id, by name.
    pub(crate) fn transactions(&self) -> Vec<Transaction> {
        let described = |writing: &Writing| Transaction {
            id: writing.enrolled.id.clone(),
            producer: writing.enrolled.producer,
            timeout: writing.enrolled.timeout,
            stage: match &writing.stage {
                Stage::Fresh => TransactionStage::Fresh,
                Stage::Ended(outcome) => TransactionStage::Ended(*outcome),
                Stage::Open(open) => {
                    let places = open.partitions.iter().filter_map(|key| self.place(*key));
                    let mut partitions: Vec<_> = places.collect();
                    partitions.sort();
                    TransactionStage::Open {
                        since: open.since,
                        partitions,
                    }
                }
            },
        };
        self.transactions.by_id.values().map(described).collect()
    }

    /// When the open transaction with the least time left must have ended.
    pub(crate) fn transaction_deadline(&self) -> Option<Timestamp> {
        let deadlines = self.transactions.open();
        deadlines.filter_map(|(it, _)| it.deadline()).min()
    }

    pub(crate) fn is_staged(&self, consumer: &ConsumerId, place: &TopicPartition) -> bool {
        let Ok(key) = self.key(place) else {
            return false;
        };
        let wanted = (consumer.clone(), key);
        let mut open = self.transactions.open();
        open.any(|(_, open)| open.staged.contains_key(&wanted))
    }

    pub(crate) fn producers(
        &self,
        place: &TopicPartition,
    ) -> Result<Vec<PartitionProducer>, Error> {
        let key = self.key(place)?;
        let Some(partition) = self.partitions.get(&key) else {
            return Ok(Vec::new());
        };
        let known = partition.sequences.iter().map(|(id, sent)| {
            let epoch = sent.epoch;
            PartitionProducer {
                producer: ProducerIdentity { id, epoch },
                last_sequence: sent.batches.back().map(|batch| batch.1),
                open_since: partition.open.get(&id).copied(),
            }
        });
        let mut known: Vec<_> = known.collect();
        known.sort_by_key(|it| it.producer);
        Ok(known)
    }
}

impl Aborted {
    /// Whether the batch belongs to it.
    pub(crate) fn covers(&self, batch: &RecordBatch) -> bool {
        let header = batch.header();
        let writer = header.producer.map(|producer| producer.id);
        header.is_transactional()
            && writer == Some(self.producer_id)
            && (self.first..=self.marker).contains(&batch.base_offset())
    }
}
