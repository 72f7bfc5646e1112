//! The ledger twice: as accepted, which requests are judged by, and as published, which is durable
//! and what readers see.
//!
//! Each journal has one group in flight at most. When it is durable its changes are published; when
//! the disk had no room they are forgotten, and the accepted ledger is the published one plus what
//! the other journal has in flight.
//!
//! Lock order: accepted, published, index. None is held while a file is written or synced.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use clock::Timestamp;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::catalog::{Contents, Sections};
use super::index::{Entry, Index};
use super::segment::Segment;
use crate::ledger::{Change, Judged, Ledger, PartitionKey};
use crate::{Error, Lifetime, Offset, Topic, TopicPartition};

/// What the log knows, shared by readers and committers.
#[derive(Debug)]
pub(super) struct Books {
    accepted: Mutex<Accepted>,
    published: RwLock<Published>,
    pub(super) topics_changed: watch::Sender<u64>,
    pub(super) transaction_deadline: watch::Sender<Option<Timestamp>>,
}

#[derive(Debug)]
struct Accepted {
    ledger: Ledger,
    events: Vec<Change>,
    long_lived: Vec<Change>,
}

#[derive(Debug)]
struct Published {
    ledger: Ledger,
    partitions: HashMap<PartitionKey, Arc<PartitionLog>>,
}

/// What readers of one partition need.
#[derive(Debug)]
pub(super) struct PartitionLog {
    pub(super) index: RwLock<Index>,
    /// The last stable offset.
    pub(super) tail: watch::Sender<Offset>,
    /// The high watermark.
    pub(super) stored_tail: watch::Sender<Offset>,
}

impl PartitionLog {
    fn of(index: Index, last_stable: Offset) -> Arc<Self> {
        let end = index.bounds().end;
        Arc::new(Self {
            index: RwLock::new(index),
            tail: watch::Sender::new(last_stable),
            stored_tail: watch::Sender::new(end),
        })
    }

    /// The offsets that are for readers. What they may not see yet may have gone already.
    pub(super) fn bounds(&self) -> Range<Offset> {
        let end = *self.tail.borrow();
        let start = self.index.read().bounds().start;
        start..end.max(start)
    }
}

impl Accepted {
    fn in_flight(&mut self, home: Lifetime) -> &mut Vec<Change> {
        match home {
            Lifetime::Events => &mut self.events,
            Lifetime::LongLived => &mut self.long_lived,
        }
    }
}

impl Books {
    pub(super) fn new(ledger: Ledger, mut indexes: HashMap<PartitionKey, Index>) -> Self {
        let mut partitions = HashMap::new();
        let deadline = ledger.transaction_deadline();
        for place in ledger.topics().flat_map(Topic::partitions) {
            let key = ledger.key(&place).expect("the topic is in the ledger");
            let index = indexes
                .remove(&key)
                .unwrap_or_else(|| Index::starting_at(ledger.end(key)));
            partitions.insert(key, PartitionLog::of(index, ledger.last_stable(key)));
        }
        Self {
            accepted: Mutex::new(Accepted {
                ledger: ledger.clone(),
                events: Vec::new(),
                long_lived: Vec::new(),
            }),
            published: RwLock::new(Published { ledger, partitions }),
            topics_changed: watch::Sender::new(0),
            transaction_deadline: watch::Sender::new(deadline),
        }
    }

    /// Reads what has been accepted, durable or not.
    pub(super) fn accepted<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.accepted.lock().ledger)
    }

    /// Forgets what the books still hold of records below `start`.
    pub(super) fn forget_below(&self, key: PartitionKey, start: Offset) {
        let mut accepted = self.accepted.lock();
        accepted.ledger.forget_aborted(key, start);
        self.published.write().ledger.forget_aborted(key, start);
    }

    /// Reads what is durable.
    pub(super) fn published<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.published.read().ledger)
    }

    pub(super) fn partition(&self, place: &TopicPartition) -> Result<Arc<PartitionLog>, Error> {
        let published = self.published.read();
        let key = published.ledger.key(place)?;
        let partition = published.partitions.get(&key);
        Ok(Arc::clone(
            partition.expect("a topic is published with its partitions"),
        ))
    }

    /// The partitions whose records lie in the journal `home`.
    pub(super) fn partitions(&self, home: Lifetime) -> Vec<(PartitionKey, Arc<PartitionLog>)> {
        let published = self.published.read();
        let topics = published.ledger.topics();
        let topics = topics.filter(|topic| topic.config.lifetime == home);
        let keys = topics
            .flat_map(Topic::partitions)
            .filter_map(|place| published.ledger.key(&place).ok());
        keys.map(|key| (key, Arc::clone(&published.partitions[&key])))
            .collect()
    }

    /// Judges a request by everything accepted before it, and accepts it when it may happen.
    pub(super) fn accept<T>(
        &self,
        home: Lifetime,
        judge: impl FnOnce(&Ledger) -> Result<Judged<T>, Error>,
    ) -> Result<Judged<T>, Error> {
        let mut accepted = self.accepted.lock();
        let judged = judge(&accepted.ledger)?;
        for change in &judged.changes {
            accepted.ledger.apply(home, change);
        }
        let in_flight = accepted.in_flight(home);
        in_flight.extend_from_slice(&judged.changes);
        Ok(judged)
    }

    /// Publishes what `home` has in flight: its batches lie in `segment` at `places`, in order.
    pub(super) fn publish(&self, home: Lifetime, segment: &Arc<Segment>, places: &[u64]) {
        let mut grown_keys: HashMap<PartitionKey, Arc<PartitionLog>> = HashMap::new();
        let grown: Vec<(Arc<PartitionLog>, Offset)>;
        let mut topics_changed = false;
        let deadline;
        {
            let mut accepted = self.accepted.lock();
            let changes = std::mem::take(accepted.in_flight(home));
            let mut published = self.published.write();
            let mut places = places.iter();
            for change in &changes {
                published.ledger.apply(home, change);
                match change {
                    Change::TopicCreated(topic) => {
                        topics_changed = true;
                        for place in topic.partitions() {
                            let key = published.ledger.key(&place).expect("it was just created");
                            let index = Index::starting_at(Offset::ZERO);
                            let partition = PartitionLog::of(index, Offset::ZERO);
                            published.partitions.insert(key, partition);
                        }
                    }
                    Change::TopicDeleted(id) => {
                        topics_changed = true;
                        published.partitions.retain(|key, _| key.topic != *id);
                        grown_keys.retain(|key, _| key.topic != *id);
                    }
                    Change::PartitionsAdded { id, .. } => {
                        topics_changed = true;
                        let keys = published.ledger.partitions_in(*id);
                        for key in keys {
                            let new =
                                || PartitionLog::of(Index::starting_at(Offset::ZERO), Offset::ZERO);
                            published.partitions.entry(key).or_insert_with(new);
                        }
                    }
                    Change::TopicConfigured { .. } => topics_changed = true,
                    Change::RecordsDeleted { key, before } => {
                        if let Some(partition) = published.partitions.get(key) {
                            partition.index.write().drop_before(*before);
                        }
                    }
                    Change::Appended(extent) => {
                        let place = places.next().expect("every batch has its place");
                        let partition = published.partitions.get(&extent.key);
                        let partition = partition.expect("appends name existing partitions");
                        let entry = Entry::stored(
                            extent.base,
                            extent.offsets,
                            extent.len,
                            *place,
                            extent.max_timestamp,
                        );
                        partition.index.write().push(segment, entry);
                        grown_keys.insert(extent.key, Arc::clone(partition));
                    }
                    Change::Checkpointed { .. }
                    | Change::ConsumerForgotten(_)
                    | Change::CheckpointForgotten { .. }
                    | Change::Positioned { .. }
                    | Change::EpochOpened { .. }
                    | Change::ProducerIds { .. }
                    | Change::Cleaned { .. }
                    | Change::Enrolled(_)
                    | Change::TransactionJoined { .. }
                    | Change::Staged { .. }
                    | Change::TransactionEnded { .. }
                    | Change::ProducerForgotten(_)
                    | Change::Decisions { .. }
                    | Change::Partition { .. } => {}
                }
            }
            let ledger = &published.ledger;
            deadline = ledger.transaction_deadline();
            grown = grown_keys
                .into_iter()
                .map(|(key, partition)| (partition, ledger.last_stable(key)))
                .collect();
        }
        for (partition, last_stable) in grown {
            let end = partition.index.read().bounds().end;
            partition.stored_tail.send_replace(end);
            let moved = |tail: &mut Offset| std::mem::replace(tail, last_stable) != last_stable;
            partition.tail.send_if_modified(moved);
        }
        let moved = |at: &mut Option<Timestamp>| std::mem::replace(at, deadline) != deadline;
        self.transaction_deadline.send_if_modified(moved);
        if topics_changed {
            self.topics_changed.send_modify(|count| *count += 1);
        }
    }

    /// What the partitions of `home` have in a segment that was just sealed.
    pub(super) fn seal(&self, home: Lifetime, segment: u64) -> Contents {
        let partitions = self.partitions(home).into_iter();
        partitions
            .filter_map(|(key, partition)| Some((key, partition.index.write().seal(segment)?)))
            .collect()
    }

    /// Lets go of entries that the catalog of their segment holds.
    pub(super) fn store(&self, segment: u64, sections: Sections) {
        for (key, _, section) in sections {
            let partition = self.published.read().partitions.get(&key).cloned();
            if let Some(partition) = partition {
                partition.index.write().store(segment, section);
            }
        }
    }

    /// Forgets what `home` has in flight.
    pub(super) fn roll_back(&self, home: Lifetime) {
        let mut accepted = self.accepted.lock();
        accepted.in_flight(home).clear();
        accepted.ledger = self.published.read().ledger.clone();
        let (other, changes) = match home {
            Lifetime::Events => (Lifetime::LongLived, accepted.long_lived.clone()),
            Lifetime::LongLived => (Lifetime::Events, accepted.events.clone()),
        };
        for change in &changes {
            accepted.ledger.apply(other, change);
        }
    }
}
