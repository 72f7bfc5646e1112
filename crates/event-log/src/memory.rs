//! A log without a disk, for tests and simulation.
//!
//! It keeps the whole contract but durability: dropping it is losing it. Requests take effect, in
//! the order of the calls, before their futures first return.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use clock::Timestamp;
use event::{SourceId, SourcePosition};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ledger::{Change, Judged, Ledger, PartitionKey, Transacted};
use crate::{
    Appended, BrokerLog, Checkpoint, Chunk, ConsumerId, Epoch, Error, EventLog, Isolation,
    Lifetime, Offset, OwnerId, PartitionProducer, Permit, ProducerIdentity, RecordBatch, Settled,
    Settlement, Share, StoredChunk, Topic, TopicConfig, TopicName, TopicPartition, TopicSettings,
    Transaction, TransactionStep, TransactionalId,
};

/// A log in memory.
#[derive(Debug)]
pub struct MemoryLog {
    state: Mutex<State>,
    topics_changed: watch::Sender<u64>,
    transaction_deadline: watch::Sender<Option<Timestamp>>,
    share: watch::Sender<Share>,
}

#[derive(Debug, Default)]
struct State {
    ledger: Ledger,
    partitions: HashMap<PartitionKey, Records>,
}

/// The batches of one partition, dense from the first kept.
#[derive(Debug, Default)]
struct Records {
    batches: Vec<RecordBatch>,
    /// The end, while there are no batches.
    emptied_to: Offset,
    /// The last stable offset.
    tail: watch::Sender<Offset>,
    /// The high watermark.
    stored_tail: watch::Sender<Offset>,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            transaction_deadline: watch::Sender::default(),
            state: Mutex::default(),
            topics_changed: watch::Sender::default(),
            share: watch::Sender::new(Share::all()),
        })
    }

    /// From now on the node holds `share`, as if others had taken or left the rest.
    pub fn hold(&self, share: Share) {
        // Under the lock: what is refused is refused from here on.
        let _state = self.state.lock();
        self.share.send_replace(share);
    }
}

impl State {
    fn apply<T>(&mut self, home: Lifetime, judged: Judged<T>) -> T {
        for change in &judged.changes {
            self.ledger.apply(home, change);
        }
        judged.answer
    }

    fn settle(&mut self, settlement: Settlement) -> Result<Settled, Error> {
        self.ledger.judge_content(&settlement)?;
        let home = self.ledger.home_of(&settlement)?;
        let judged = self.ledger.judge_settlement(&settlement)?;
        let settled = self.apply(home, judged);
        for (append, appended) in settlement.appends.into_iter().zip(&settled.appended) {
            let Appended::At(base) = appended else {
                continue;
            };
            let key = self.ledger.key(&append.to)?;
            let records = self.partitions.entry(key).or_default();
            records.batches.push(append.batch.at(*base));
            self.grown(key);
        }
        Ok(settled)
    }

    fn home_of(&self, name: &TopicName) -> Lifetime {
        let topic = self.ledger.topic(name);
        topic.map_or(Lifetime::Events, |topic| topic.config.lifetime)
    }

    /// Makes room for the records of a topic's partitions.
    fn prepare(&mut self, topic: &Topic) {
        for key in self.ledger.partitions_in(topic.id) {
            self.partitions.entry(key).or_default();
        }
    }

    fn bounds(&self, place: &TopicPartition) -> Result<Range<Offset>, Error> {
        let start = self.ledger.start(self.ledger.key(place)?);
        Ok(start..self.records(place)?.end())
    }

    /// Tells readers that a partition has grown.
    fn grown(&self, key: PartitionKey) {
        if let Some(records) = self.partitions.get(&key) {
            records.stored_tail.send_replace(records.end());
            let stable = self.ledger.last_stable(key);
            let moved = |tail: &mut Offset| std::mem::replace(tail, stable) != stable;
            records.tail.send_if_modified(moved);
        }
    }

    fn transact(
        &mut self,
        id: &TransactionalId,
        step: &TransactionStep,
    ) -> Result<ProducerIdentity, Error> {
        let judged = self.ledger.judge_step(id, step)?;
        let Transacted { producer, markers } = self.apply(Lifetime::Events, judged);
        for (key, base, batch) in markers {
            let records = self.partitions.entry(key).or_default();
            records.batches.push(batch.at(base));
            self.grown(key);
        }
        Ok(producer)
    }

    /// The offsets that are for readers. What they may not see yet may have been deleted already.
    fn readable(&self, place: &TopicPartition) -> Result<Range<Offset>, Error> {
        let start = self.bounds(place)?.start;
        let end = self.ledger.last_stable(self.ledger.key(place)?);
        Ok(start..end.max(start))
    }

    fn read(
        &self,
        place: &TopicPartition,
        from: Offset,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<StoredChunk, Error> {
        let records = self.records(place)?;
        let bounds = self.bounds(place)?;
        if from < bounds.start || from > bounds.end {
            return Err(Error::OffsetOutOfRange {
                partition: place.clone(),
                offset: from,
                first: bounds.start,
                end: bounds.end,
            });
        }
        let end = match isolation {
            Isolation::Uncommitted => bounds.end,
            Isolation::Committed => self.readable(place)?.end,
        };
        let mut chunk = StoredChunk::of(records.within(from..end, max_bytes), from);
        match isolation {
            Isolation::Uncommitted => {}
            Isolation::Committed => {
                let key = self.ledger.key(place)?;
                chunk.aborted = self.ledger.aborted_within(key, from, chunk.next);
            }
        }
        Ok(chunk)
    }

    fn records(&self, place: &TopicPartition) -> Result<&Records, Error> {
        let key = self.ledger.key(place)?;
        let records = self.partitions.get(&key);
        Ok(records.expect("a topic is created with its partitions"))
    }
}

impl State {
    fn records_mut(&mut self, place: &TopicPartition) -> Result<&mut Records, Error> {
        let key = self.ledger.key(place)?;
        let records = self.partitions.get_mut(&key);
        Ok(records.expect("a topic is created with its partitions"))
    }
}

impl Records {
    fn end(&self) -> Offset {
        let last = self.batches.last().map(RecordBatch::end_offset);
        last.unwrap_or(self.emptied_to)
    }

    fn drop_before(&mut self, start: Offset) {
        self.emptied_to = self.end();
        self.batches.retain(|batch| batch.end_offset() > start);
    }

    fn within(&self, offsets: Range<Offset>, max_bytes: usize) -> Vec<RecordBatch> {
        let from = self
            .batches
            .partition_point(|batch| batch.end_offset() <= offsets.start);
        let mut bytes = 0;
        let fits = |batch: &&RecordBatch| {
            let first = bytes == 0;
            bytes += batch.as_bytes().len();
            first || bytes <= max_bytes
        };
        self.batches[from..]
            .iter()
            .take_while(|batch| batch.base_offset() < offsets.end)
            .take_while(fits)
            .cloned()
            .collect()
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn create_topic(&self, name: &TopicName, config: TopicConfig) -> Result<Topic, Error> {
        let topic = {
            let mut state = self.state.lock();
            let judged = state.ledger.judge_creation(name, config)?;
            let topic = state.apply(config.lifetime, judged);
            state.prepare(&topic);
            topic
        };
        self.topics_changed.send_modify(|count| *count += 1);
        Ok(topic)
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        {
            let mut state = self.state.lock();
            let home = state.home_of(name);
            let judged = state.ledger.judge_deletion(name, home)?;
            for change in &judged.changes {
                if let Change::TopicDeleted(id) = change {
                    state.partitions.retain(|key, _| key.topic != *id);
                }
            }
            state.apply(home, judged);
        }
        self.topics_changed.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn add_partitions(&self, name: &TopicName, count: u32) -> Result<Topic, Error> {
        let topic = {
            let mut state = self.state.lock();
            let home = state.home_of(name);
            let judged = state.ledger.judge_growth(name, count, home)?;
            let topic = state.apply(home, judged);
            state.prepare(&topic);
            topic
        };
        self.topics_changed.send_modify(|count| *count += 1);
        Ok(topic)
    }

    async fn configure_topic(
        &self,
        name: &TopicName,
        settings: TopicSettings,
    ) -> Result<Topic, Error> {
        let topic = {
            let mut state = self.state.lock();
            let home = state.home_of(name);
            let judged = state.ledger.judge_configuration(name, settings, home)?;
            state.apply(home, judged)
        };
        self.topics_changed.send_modify(|count| *count += 1);
        Ok(topic)
    }

    async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Offset,
    ) -> Result<Offset, Error> {
        let mut state = self.state.lock();
        let home = state.home_of(&partition.topic);
        let judged = state.ledger.judge_trimming(partition, before, home)?;
        state.apply(home, judged);
        let start = state.bounds(partition)?.start;
        state.records_mut(partition)?.drop_before(start);
        Ok(start)
    }

    fn topic(&self, name: &TopicName) -> Option<Topic> {
        self.state.lock().ledger.topic(name).cloned()
    }

    fn topics(&self) -> Vec<Topic> {
        self.state.lock().ledger.topics().cloned().collect()
    }

    fn topics_changed(&self) -> watch::Receiver<u64> {
        self.topics_changed.subscribe()
    }

    fn share(&self) -> watch::Receiver<Share> {
        self.share.subscribe()
    }

    async fn reserve(&self, _bytes: usize) -> Permit {
        Permit::unbounded()
    }

    async fn settle(&self, _permit: Permit, settlement: Settlement) -> Result<Settled, Error> {
        let mut state = self.state.lock();
        self.share.borrow().covers(&settlement)?;
        state.settle(settlement)
    }

    async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, Error> {
        let state = self.state.lock();
        let bounds = state.readable(partition)?;
        if from > bounds.end {
            return Err(Error::OffsetOutOfRange {
                partition: partition.clone(),
                offset: from,
                first: bounds.start,
                end: bounds.end,
            });
        }
        let stored = state.read(partition, from, max_bytes, Isolation::Committed)?;
        Ok(stored.committed())
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error> {
        self.state.lock().readable(partition)
    }

    fn tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error> {
        Ok(self.state.lock().records(partition)?.tail.subscribe())
    }

    async fn offset_at(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        let state = self.state.lock();
        let bounds = state.readable(partition)?;
        let batches = state.records(partition)?.batches.iter();
        let mut late = batches
            .take_while(|batch| batch.base_offset() < bounds.end)
            .filter(|batch| batch.max_timestamp() >= time);
        Ok(late.find_map(|batch| batch.first_since(time, bounds.start)))
    }

    fn checkpoint(&self, consumer: &ConsumerId, partition: &TopicPartition) -> Option<Checkpoint> {
        self.state.lock().ledger.checkpoint(consumer, partition)
    }

    fn checkpoints(&self, consumer: &ConsumerId) -> Vec<(TopicPartition, Checkpoint)> {
        self.state.lock().ledger.checkpoints(consumer)
    }

    fn consumers(&self) -> Vec<ConsumerId> {
        self.state.lock().ledger.consumers().cloned().collect()
    }

    async fn forget_consumer(&self, consumer: &ConsumerId) -> Result<(), Error> {
        let mut state = self.state.lock();
        if let Some(home) = state.ledger.home(consumer) {
            let judged = state.ledger.judge_forgetting(consumer, home);
            state.apply(home, judged);
        }
        Ok(())
    }

    fn position(&self, source: &SourceId) -> Option<SourcePosition> {
        self.state.lock().ledger.position(source)
    }

    async fn open_epoch(&self, owner: &OwnerId) -> Result<Epoch, Error> {
        let mut state = self.state.lock();
        let judged = state.ledger.judge_epoch(owner);
        Ok(state.apply(Lifetime::Events, judged))
    }
}

#[async_trait]
impl BrokerLog for MemoryLog {
    async fn producer_id(&self) -> Result<i64, Error> {
        let mut state = self.state.lock();
        let judged = state.ledger.judge_producer_id();
        Ok(state.apply(Lifetime::Events, judged))
    }

    async fn read_stored(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<StoredChunk, Error> {
        let state = self.state.lock();
        state.read(partition, from, max_bytes, isolation)
    }

    fn stored_bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error> {
        self.state.lock().bounds(partition)
    }

    fn stored_tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error> {
        let state = self.state.lock();
        Ok(state.records(partition)?.stored_tail.subscribe())
    }

    async fn transact(
        &self,
        id: &TransactionalId,
        step: TransactionStep,
    ) -> Result<ProducerIdentity, Error> {
        let mut state = self.state.lock();
        let producer = state.transact(id, &step)?;
        let deadline = state.ledger.transaction_deadline();
        let moved = |at: &mut Option<Timestamp>| std::mem::replace(at, deadline) != deadline;
        self.transaction_deadline.send_if_modified(moved);
        Ok(producer)
    }

    fn transactions(&self) -> Vec<Transaction> {
        self.state.lock().ledger.transactions()
    }

    fn transaction_deadline(&self) -> watch::Receiver<Option<Timestamp>> {
        self.transaction_deadline.subscribe()
    }

    fn is_staged(&self, consumer: &ConsumerId, partition: &TopicPartition) -> bool {
        self.state.lock().ledger.is_staged(consumer, partition)
    }

    async fn forget_checkpoints(
        &self,
        consumer: &ConsumerId,
        revisions: Vec<(TopicPartition, u64)>,
    ) -> Result<Vec<TopicPartition>, Error> {
        let mut state = self.state.lock();
        let Some(home) = state.ledger.home(consumer) else {
            return Ok(Vec::new());
        };
        let ledger = &state.ledger;
        let judged = ledger.judge_forgetting_some(consumer, &revisions, home);
        Ok(state.apply(home, judged))
    }

    fn stored_bytes(&self, partition: &TopicPartition) -> Result<u64, Error> {
        let state = self.state.lock();
        let batches = state.records(partition)?.batches.iter();
        Ok(batches.map(|batch| batch.as_bytes().len() as u64).sum())
    }

    fn producers(&self, partition: &TopicPartition) -> Result<Vec<PartitionProducer>, Error> {
        self.state.lock().ledger.producers(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryLog;
    use crate::conformance::Lasting;

    crate::conformance_tests!(Lasting::new(MemoryLog::new()));
    crate::broker_conformance_tests!(Lasting::new(MemoryLog::new()));
}
