//! The partitions that can be read: where they begin and end, and their latest records.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use event::{Header, Record};
use parking_lot::{Mutex, RwLock};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::times;
use crate::{Chunk, Error, Offset, RecordBatch, StoredRecord, TopicName, TopicPartition};

/// Payload that is kept of each partition's end.
const RING_BYTES: usize = 1 << 20;
/// How long a reader waits for the ring to have what was committed, before it fetches on its own.
const SOON: Duration = Duration::from_millis(300);
/// What a record takes in memory beyond its payload.
const OVERHEAD: usize = 128;

/// Every partition that is shown.
#[derive(Debug, Default)]
pub(super) struct Places(RwLock<HashMap<TopicPartition, Arc<Place>>>);

/// One partition of one incarnation of its topic.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: TopicPartition,
    /// Its topic's name in Kafka.
    pub(super) outside: Arc<str>,
    pub(super) topic: Uuid,
    /// Kafka's number of the broker that leads it, as far as is known; negative for none.
    leader: AtomicI32,
    first: AtomicU64,
    /// Everything below has been committed, as far as is known. Right after a commit the cluster's
    /// last stable offset may still be below, for a moment.
    pub(super) end: watch::Sender<Offset>,
    /// The cluster has said that its last stable offset is here or above.
    stable: AtomicU64,
    pub(super) ring: Mutex<Ring>,
    pushed: Notify,
}

/// The latest records as they came in.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// Whether records come in.
    pub(super) follows: bool,
    /// Every committed record from here to `to` is in it.
    from: Offset,
    to: Offset,
    records: VecDeque<StoredRecord>,
    bytes: usize,
}

impl Places {
    pub(super) fn get(&self, name: &TopicPartition) -> Option<Arc<Place>> {
        self.0.read().get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Place>> {
        self.0.read().values().cloned().collect()
    }

    /// Returns the one that it takes the place of.
    pub(super) fn add(&self, place: Arc<Place>) -> Option<Arc<Place>> {
        self.0.write().insert(place.name.clone(), place)
    }

    /// Drops those that `keep` does not want, which closes their tails.
    pub(super) fn retain(&self, keep: impl Fn(&Place) -> bool) -> Vec<Arc<Place>> {
        let mut dropped = Vec::new();
        self.0.write().retain(|_, place| {
            let keep = keep(place);
            if !keep {
                dropped.push(Arc::clone(place));
            }
            keep
        });
        dropped
    }
}

impl Place {
    /// A partition of which nothing is known yet but its name.
    pub(super) fn new(name: TopicPartition, outside: Arc<str>, topic: Uuid, leader: i32) -> Self {
        Self {
            name,
            outside,
            topic,
            leader: AtomicI32::new(leader),
            first: AtomicU64::default(),
            end: watch::Sender::default(),
            stable: AtomicU64::default(),
            ring: Mutex::default(),
            pushed: Notify::new(),
        }
    }

    pub(super) fn leader(&self) -> i32 {
        self.leader.load(Ordering::Relaxed)
    }

    pub(super) fn is_led_by(&self, leader: i32) {
        self.leader.store(leader, Ordering::Relaxed);
    }

    pub(super) fn bounds(&self) -> Range<Offset> {
        let first = Offset::new(self.first.load(Ordering::Acquire));
        first..self.end.borrow().max(first)
    }

    pub(super) fn begins_at(&self, first: Offset) {
        self.first.fetch_max(first.get(), Ordering::AcqRel);
    }

    /// The cluster says that its last stable offset is `end`.
    pub(super) fn is_stable_to(&self, end: Offset) {
        self.stable.fetch_max(end.get(), Ordering::AcqRel);
        self.reaches(end);
    }

    pub(super) fn stable(&self) -> Offset {
        Offset::new(self.stable.load(Ordering::Acquire))
    }

    /// The partition is committed up to `end` at least.
    pub(super) fn reaches(&self, end: Offset) {
        self.end.send_if_modified(|known| {
            let more = end > *known;
            *known = end.max(*known);
            more
        });
    }

    /// A committed record at the end.
    pub(super) fn push(&self, stored: StoredRecord) {
        let next = stored.offset.next();
        {
            let mut ring = self.ring.lock();
            if !ring.follows || stored.offset < ring.to {
                return;
            }
            ring.push(stored);
        }
        self.pushed.notify_waiters();
        self.is_stable_to(next);
    }

    /// What the ring has from `from` on. What has been committed a moment ago is waited for; `None`
    /// when the ring does not have it.
    pub(super) async fn latest_soon(&self, from: Offset, max_bytes: usize) -> Option<Chunk> {
        let until = Instant::now() + SOON;
        loop {
            let pushed = self.pushed.notified();
            tokio::pin!(pushed);
            pushed.as_mut().enable();
            if let Some(chunk) = self.latest(from, max_bytes) {
                return Some(chunk);
            }
            let comes = {
                let ring = self.ring.lock();
                ring.follows && from >= ring.to && from < *self.end.borrow()
            };
            if !comes || tokio::time::timeout_at(until, pushed).await.is_err() {
                return None;
            }
        }
    }

    /// Begins to follow the end; says from where.
    pub(super) fn follow(&self) -> Option<Offset> {
        let mut ring = self.ring.lock();
        if ring.follows {
            return None;
        }
        let end = *self.end.borrow();
        *ring = Ring {
            follows: true,
            from: end,
            to: end,
            ..Ring::default()
        };
        Some(end)
    }

    pub(super) fn follow_no_more(&self) {
        *self.ring.lock() = Ring::default();
    }

    /// What the ring has from `from` on; `None` when that is not all there is.
    fn latest(&self, from: Offset, max_bytes: usize) -> Option<Chunk> {
        let ring = self.ring.lock();
        if !ring.follows || from < ring.from || from >= ring.to {
            return None;
        }
        let at = ring.records.partition_point(|stored| stored.offset < from);
        let mut bytes = 0;
        let fits = |stored: &&StoredRecord| {
            let first = bytes == 0;
            bytes += size(stored);
            first || bytes <= max_bytes
        };
        let records: Vec<_> = ring.records.range(at..).take_while(fits).cloned().collect();
        let all = at + records.len() == ring.records.len();
        let next = match records.last() {
            Some(last) if !all => last.offset.next(),
            Some(_) | None => ring.to,
        };
        drop(ring);
        Some(chunk(&records, next))
    }
}

impl Ring {
    fn push(&mut self, stored: StoredRecord) {
        self.to = stored.offset.next();
        self.bytes += size(&stored);
        self.records.push_back(stored);
        while self.bytes > RING_BYTES && self.records.len() > 1 {
            if let Some(oldest) = self.records.pop_front() {
                self.bytes -= size(&oldest);
                self.from = oldest.offset.next();
            }
        }
    }
}

pub(super) fn size(stored: &StoredRecord) -> usize {
    stored.record.payload_len() + OVERHEAD
}

/// A record as the client library shows it.
pub(super) fn stored(message: &BorrowedMessage<'_>) -> StoredRecord {
    let bytes = |slice: &[u8]| bytes::Bytes::copy_from_slice(slice);
    let headers = message.headers().map(|headers| {
        let header = |header: rdkafka::message::Header<'_, &[u8]>| Header {
            key: header.key.to_owned(),
            value: header.value.map(bytes),
        };
        headers.iter().map(header).collect()
    });
    StoredRecord {
        offset: offset(message.offset()),
        record: times::inside(Record {
            key: message.key().map(bytes),
            value: message.payload().map(bytes),
            headers: headers.unwrap_or_default(),
            timestamp: clock::Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        }),
    }
}

/// Records as batches: one for each run of offsets without a hole.
pub(super) fn chunk(records: &[StoredRecord], next: Offset) -> Chunk {
    let runs = records.chunk_by(|a, b| a.offset.next() == b.offset);
    let batches = runs.filter_map(|run| {
        let records: Vec<Record> = run.iter().map(|stored| stored.record.clone()).collect();
        Some(RecordBatch::of(&records)?.at(run.first()?.offset))
    });
    Chunk {
        batches: batches.collect(),
        next,
    }
}

pub(super) fn offset(offset: i64) -> Offset {
    Offset::new(u64::try_from(offset).unwrap_or(0))
}

/// The client library's number for an offset.
pub(super) fn number(offset: Offset) -> i64 {
    i64::try_from(offset.get()).unwrap_or(i64::MAX)
}

/// The client library's number for a partition.
pub(super) fn index(place: &TopicPartition) -> i32 {
    i32::try_from(place.partition.index()).unwrap_or(i32::MAX)
}

pub(super) fn unknown(place: &TopicPartition, topic: Option<&TopicName>) -> Error {
    match topic {
        None => Error::UnknownTopic {
            topic: place.topic.clone(),
        },
        Some(_) => Error::UnknownPartition {
            partition: place.clone(),
        },
    }
}
