//! The contract over the journals.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use clock::{SharedClock, Timestamp};
use event::{SourceId, SourcePosition};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::EmbeddedConfig;
use super::books::Books;
use super::cleaner::{Charge, Cleaner, Wake, WeakWake};
use super::committer::{Command, Committer, DiskIs, Reply, Room};
use super::journal::Journal;
use super::lock::FolderLock;
use super::reader::{self, Patience, Stop};
use super::storage::{Disk, Storage};
use super::{recovery, retention, sealing, wire};
use crate::ledger::Ledger;
use crate::{
    BrokerLog, Checkpoint, Chunk, ConsumerId, Epoch, Error, EventLog, Isolation, Lifetime, Offset,
    OwnerId, PartitionProducer, Permit, ProducerIdentity, Settled, Settlement, Share, StoredChunk,
    Topic, TopicConfig, TopicName, TopicPartition, TopicSettings, Transaction, TransactionStep,
    TransactionalId,
};

/// Requests that may wait for a committer. Bytes are bounded by the write budget; this bounds the
/// requests that carry none.
const QUEUED: usize = 4096;

/// A frame counts its bytes in 32 bits; this leaves room for what is not counted as a settlement.
const MAX_SETTLEMENT: usize = 1 << 30;

/// A log on the local disk. Dropping it writes what is queued and waits for that.
#[derive(Debug)]
pub struct EmbeddedLog {
    books: Arc<Books>,
    events: Writer,
    long_lived: Writer,
    cleaner: Mutex<Option<JoinHandle<()>>>,
    waker: WeakWake,
    looked: watch::Receiver<u64>,
    /// Tells the cleaner to leave what it is at.
    stop: Arc<AtomicBool>,
    budget: Arc<Semaphore>,
    write_budget_bytes: usize,
    max_settlement_bytes: usize,
    /// Everything: the folder's lock keeps others out.
    share: watch::Sender<Share>,
    _lock: FolderLock,
}

/// The way to one committer.
#[derive(Debug)]
struct Writer {
    queue: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ended: watch::Receiver<()>,
}

impl EmbeddedLog {
    /// Opens the log in `config.dir`, created when absent, and recovers it. Reads every segment.
    ///
    /// # Errors
    /// [`Error::Locked`] when another process has the folder open; [`Error::Io`] when it cannot be
    /// used; [`Error::Corrupt`] when its frames contradict each other.
    pub fn open(config: EmbeddedConfig, clock: SharedClock) -> Result<Arc<Self>, Error> {
        Self::open_on(Arc::new(Disk), config, clock)
    }

    pub(super) fn open_on(
        storage: Arc<dyn Storage>,
        config: EmbeddedConfig,
        clock: SharedClock,
    ) -> Result<Arc<Self>, Error> {
        let lock = FolderLock::take(&config.dir)?;
        let open = |home| {
            let dir = config.dir.join(Journal::name(home));
            let clock = Arc::clone(&clock);
            recovery::recover(Arc::clone(&storage), dir, home, config.segment_bytes, clock)
        };
        let mut events = open(Lifetime::Events)?;
        let mut long_lived = open(Lifetime::LongLived)?;
        let (mut ledger, mut indexes) = (events.replay.ledger, events.replay.indexes);
        ledger.join(long_lived.replay.ledger);
        indexes.extend(long_lived.replay.indexes);
        let books = Arc::new(Books::new(ledger, indexes));
        for (journal, scanned) in [
            (&events.journal, events.scanned),
            (&long_lived.journal, long_lived.scanned),
        ] {
            for sealed in scanned {
                sealing::catalogue(journal, &books, sealed);
            }
        }
        retention::apply(&mut events.journal, &books, config.retention);
        retention::apply(&mut long_lived.journal, &books, config.retention);
        let (wake, woken) = Wake::new();
        let dirs = [&events.journal.dir, &long_lived.journal.dir].map(Clone::clone);
        let start = |journal| {
            let (books, wake) = (Arc::clone(&books), wake.clone());
            Writer::start(journal, books, config.retention, wake)
        };
        let (events, long_lived) = (start(events.journal)?, start(long_lived.journal)?);
        let stop = Arc::new(AtomicBool::new(false));
        let (looks, looked) = watch::channel(0);
        let homes = [Lifetime::Events, Lifetime::LongLived]
            .into_iter()
            .zip(dirs);
        let charges = homes
            .zip([&events, &long_lived])
            .map(|((home, dir), writer)| Charge {
                home,
                dir,
                queue: writer.weak(),
                segment_bytes: config.segment_bytes,
                compacted: HashMap::new(),
                given_up: HashSet::new(),
            });
        let cleaner = Cleaner {
            books: Arc::clone(&books),
            storage,
            charges: charges.collect(),
            tombstone_grace: config.tombstone_grace,
            woken,
            stop: Arc::clone(&stop),
            looks,
        };
        // Records may have come of age while the log was closed, and set the time of the next look.
        wake.wake();
        let waker = wake.weak();
        drop(wake);
        let cleaner = spawn("log-cleaner", move || cleaner.run())?;
        Ok(Arc::new(Self {
            events,
            long_lived,
            cleaner: Mutex::new(Some(cleaner)),
            waker,
            looked,
            stop,
            books,
            budget: Arc::new(Semaphore::new(config.write_budget_bytes)),
            write_budget_bytes: config.write_budget_bytes,
            max_settlement_bytes: config.max_settlement_bytes.min(MAX_SETTLEMENT),
            share: watch::Sender::new(Share::all()),
            _lock: lock,
        }))
    }

    /// Writes what is queued and ends the committers. Requests after this answer
    /// [`Error::Closed`]; reads go on.
    pub async fn close(&self) {
        for writer in [&self.events, &self.long_lived] {
            writer.queue.lock().take();
        }
        for writer in [&self.events, &self.long_lived] {
            // The sender is gone when the thread has ended; nothing is ever sent.
            let _ = writer.ended.clone().changed().await;
        }
    }

    /// Gives back the room of records that are no longer needed, now rather than when it is due, and
    /// returns when that is done.
    pub async fn clean_up(&self) {
        // The look that is under way may have begun before the call.
        for _ in 0..2 {
            let mut looked = self.looked.clone();
            looked.borrow_and_update();
            self.waker.wake();
            if looked.changed().await.is_err() {
                return; // The log is closed.
            }
        }
    }

    /// The oldest segment of a partition, as a reader holds it.
    #[cfg(test)]
    pub(super) fn hold_oldest(&self, place: &TopicPartition) -> Arc<super::segment::Segment> {
        let log = self.books.partition(place).expect("it exists");
        let index = log.index.read();
        let oldest = index.runs().next().expect("it has records");
        Arc::clone(&oldest.segment)
    }

    /// The way to the journal that holds a topic.
    fn writer_of(&self, name: &TopicName) -> Result<&Writer, Error> {
        let topic = self.topic(name).ok_or_else(|| Error::UnknownTopic {
            topic: name.clone(),
        })?;
        Ok(self.writer(topic.config.lifetime))
    }

    fn writer(&self, home: Lifetime) -> &Writer {
        match home {
            Lifetime::Events => &self.events,
            Lifetime::LongLived => &self.long_lived,
        }
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in [&self.events, &self.long_lived] {
            writer.queue.lock().take();
        }
        for writer in [&self.events, &self.long_lived] {
            if let Some(thread) = writer.thread.lock().take() {
                // A committer that panics has ended the process already.
                let _ = thread.join();
            }
        }
        // The committers have gone, and with them whoever could wake it.
        if let Some(cleaner) = self.cleaner.lock().take() {
            let _ = cleaner.join();
        }
    }
}

impl Writer {
    fn start(
        journal: Journal,
        books: Arc<Books>,
        retention: super::Retention,
        cleaner: Wake,
    ) -> Result<Self, Error> {
        let (queue, requests) = mpsc::channel(QUEUED);
        let (alive, ended) = watch::channel(());
        let name = format!("log-{}", Journal::name(journal.lifetime));
        let committer = Committer {
            books,
            journal,
            queue: requests,
            retention,
            disk: DiskIs::Roomy,
            cleaner,
            room: Room::AsBefore,
        };
        let thread = spawn(&name, move || {
            committer.run();
            drop(alive);
        })?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            ended,
        })
    }

    fn weak(&self) -> mpsc::WeakSender<Command> {
        let queue = self.queue.lock();
        queue.as_ref().expect("the log was just opened").downgrade()
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let queue = self.queue.lock().clone().ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        let sent = queue.send(command(reply)).await;
        drop(queue);
        sent.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

/// Reads from the page cache, or else on a thread that may wait for the disk.
async fn patiently<T: Send + 'static>(
    read: impl Fn(Patience) -> Result<T, Stop> + Send + 'static,
) -> Result<T, Error> {
    match read(Patience::Cached) {
        Ok(found) => return Ok(found),
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Cold) => {}
    }
    let waiting = tokio::task::spawn_blocking(move || read(Patience::Blocking));
    match waiting.await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(Stop::Failed(error))) => Err(error),
        Ok(Err(Stop::Cold)) => unreachable!("a read that may wait does not end for that"),
        Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
        Err(_) => Err(Error::Closed), // The runtime shuts down.
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    thread.map_err(|source| Error::Io {
        act: format!("start the thread {name}"),
        source,
    })
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn create_topic(&self, name: &TopicName, config: TopicConfig) -> Result<Topic, Error> {
        // A name that the other journal is about to give back is not free before it is.
        if self.topic(name).is_some() {
            return Err(Error::TopicExists {
                topic: name.clone(),
            });
        }
        let writer = self.writer(config.lifetime);
        writer
            .ask(|reply| Command::CreateTopic(name.clone(), config, reply))
            .await
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        self.writer_of(name)?
            .ask(|reply| Command::DeleteTopic(name.clone(), reply))
            .await
    }

    async fn add_partitions(&self, name: &TopicName, count: u32) -> Result<Topic, Error> {
        self.writer_of(name)?
            .ask(|reply| Command::GrowTopic(name.clone(), count, reply))
            .await
    }

    async fn configure_topic(
        &self,
        name: &TopicName,
        settings: TopicSettings,
    ) -> Result<Topic, Error> {
        self.writer_of(name)?
            .ask(|reply| Command::ConfigureTopic(name.clone(), settings, reply))
            .await
    }

    async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Offset,
    ) -> Result<Offset, Error> {
        self.writer_of(&partition.topic)?
            .ask(|reply| Command::DeleteRecords(partition.clone(), before, reply))
            .await?;
        Ok(self.bounds(partition)?.start)
    }

    fn topic(&self, name: &TopicName) -> Option<Topic> {
        self.books.published(|ledger| ledger.topic(name).cloned())
    }

    fn topics(&self) -> Vec<Topic> {
        self.books
            .published(|ledger| ledger.topics().cloned().collect())
    }

    fn topics_changed(&self) -> watch::Receiver<u64> {
        self.books.topics_changed.subscribe()
    }

    fn share(&self) -> watch::Receiver<Share> {
        self.share.subscribe()
    }

    async fn reserve(&self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.write_budget_bytes);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let acquired = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        Permit::holding(acquired.expect("the budget is never closed"))
    }

    async fn settle(&self, permit: Permit, settlement: Settlement) -> Result<Settled, Error> {
        let bytes = settlement.bytes() + wire::weight(&settlement);
        if bytes > self.max_settlement_bytes {
            return Err(Error::TooLarge {
                bytes,
                limit: self.max_settlement_bytes,
            });
        }
        let home = self.books.published(|ledger| {
            ledger.judge_content(&settlement)?;
            ledger.home_of(&settlement)
        })?;
        let writer = self.writer(home);
        writer
            .ask(|reply| Command::Settle(settlement, permit, reply))
            .await
    }

    async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, Error> {
        let bounds = self.bounds(partition)?;
        if from > bounds.end {
            return Err(Error::OffsetOutOfRange {
                partition: partition.clone(),
                offset: from,
                first: bounds.start,
                end: bounds.end,
            });
        }
        let stored = self.read_stored(partition, from, max_bytes, Isolation::Committed);
        Ok(stored.await?.committed())
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error> {
        Ok(self.books.partition(partition)?.bounds())
    }

    fn tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error> {
        Ok(self.books.partition(partition)?.tail.subscribe())
    }

    async fn offset_at(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        let log = self.books.partition(partition)?;
        let (place, end) = (partition.clone(), log.bounds().end);
        patiently(move |patience| reader::offset_at(&log, &place, time, end, patience)).await
    }

    fn checkpoint(&self, consumer: &ConsumerId, partition: &TopicPartition) -> Option<Checkpoint> {
        self.books
            .published(|ledger| ledger.checkpoint(consumer, partition))
    }

    fn checkpoints(&self, consumer: &ConsumerId) -> Vec<(TopicPartition, Checkpoint)> {
        self.books.published(|ledger| ledger.checkpoints(consumer))
    }

    fn consumers(&self) -> Vec<ConsumerId> {
        self.books
            .published(|ledger| ledger.consumers().cloned().collect())
    }

    async fn forget_consumer(&self, consumer: &ConsumerId) -> Result<(), Error> {
        let Some(home) = self.books.published(|ledger| ledger.home(consumer)) else {
            return Ok(());
        };
        let writer = self.writer(home);
        writer
            .ask(|reply| Command::ForgetConsumer(consumer.clone(), reply))
            .await
    }

    fn position(&self, source: &SourceId) -> Option<SourcePosition> {
        self.books.published(|ledger| ledger.position(source))
    }

    async fn open_epoch(&self, owner: &OwnerId) -> Result<Epoch, Error> {
        let epoch = self
            .events
            .ask(|reply| Command::OpenEpoch(owner.clone(), reply))
            .await?;
        // Whatever the other journal judged by the older epoch is finished before this returns.
        self.long_lived.ask(Command::Barrier).await?;
        Ok(epoch)
    }
}

#[async_trait]
impl BrokerLog for EmbeddedLog {
    async fn producer_id(&self) -> Result<i64, Error> {
        self.events.ask(Command::ProducerId).await
    }

    async fn read_stored(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
        isolation: Isolation,
    ) -> Result<StoredChunk, Error> {
        let log = self.books.partition(partition)?;
        let end = match isolation {
            Isolation::Uncommitted => log.index.read().bounds().end,
            Isolation::Committed => log.bounds().end,
        };
        let place = partition.clone();
        let read = move |patience| reader::read(&log, &place, from, max_bytes, end, patience);
        let mut chunk = patiently(read).await?;
        match isolation {
            Isolation::Uncommitted => {}
            Isolation::Committed => {
                chunk.aborted = self.books.published(|ledger| {
                    let key = ledger.key(partition)?;
                    Ok::<_, Error>(ledger.aborted_within(key, from, chunk.next))
                })?;
            }
        }
        Ok(chunk)
    }

    fn stored_bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error> {
        let log = self.books.partition(partition)?;
        Ok(log.index.read().bounds())
    }

    fn stored_tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error> {
        Ok(self.books.partition(partition)?.stored_tail.subscribe())
    }

    async fn transact(
        &self,
        id: &TransactionalId,
        step: TransactionStep,
    ) -> Result<ProducerIdentity, Error> {
        self.events
            .ask(|reply| Command::Transact(id.clone(), step, reply))
            .await
    }

    fn transactions(&self) -> Vec<Transaction> {
        self.books.published(Ledger::transactions)
    }

    fn transaction_deadline(&self) -> watch::Receiver<Option<Timestamp>> {
        self.books.transaction_deadline.subscribe()
    }

    fn is_staged(&self, consumer: &ConsumerId, partition: &TopicPartition) -> bool {
        self.books
            .published(|ledger| ledger.is_staged(consumer, partition))
    }

    async fn forget_checkpoints(
        &self,
        consumer: &ConsumerId,
        revisions: Vec<(TopicPartition, u64)>,
    ) -> Result<Vec<TopicPartition>, Error> {
        let Some(home) = self.books.published(|ledger| ledger.home(consumer)) else {
            return Ok(Vec::new());
        };
        let writer = self.writer(home);
        writer
            .ask(|reply| Command::ForgetCheckpoints(consumer.clone(), revisions, reply))
            .await
    }

    fn stored_bytes(&self, partition: &TopicPartition) -> Result<u64, Error> {
        Ok(self.books.partition(partition)?.index.read().bytes())
    }

    fn producers(&self, partition: &TopicPartition) -> Result<Vec<PartitionProducer>, Error> {
        self.books.published(|ledger| ledger.producers(partition))
    }
}
