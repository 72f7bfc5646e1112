//! Readers of what lies further back: a few clients, each on one partition at a time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as At, TopicPartitionList};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::client::{ANSWER, Clients, failed};
use super::places::{Place, index, number, size, stored};
use crate::{Error, Offset, StoredRecord, TopicPartition};

/// Clients at most: each has a connection to every broker that it reads from.
const CLIENTS: usize = 6;
const WAIT: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct CatchUp {
    clients: Clients,
    readers: Arc<Mutex<Readers>>,
    /// As many as there may be clients. A read keeps its own to its end, whether or not anybody waits
    /// for it any more.
    slots: Arc<Semaphore>,
}

/// The clients that have been made.
#[derive(Debug, Default)]
struct Readers {
    idle: Vec<Cursor>,
    /// Those that work count, too.
    made: usize,
}

/// A client and where its next record comes from.
struct Cursor {
    consumer: BaseConsumer,
    at: Option<(TopicPartition, Offset)>,
}

impl std::fmt::Debug for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cursor at {:?}", self.at)
    }
}

/// Committed records and where to read on.
pub(super) type Records = (Vec<StoredRecord>, Offset);

impl CatchUp {
    pub(super) fn new(clients: Clients) -> Self {
        Self {
            clients,
            readers: Arc::default(),
            slots: Arc::new(Semaphore::new(CLIENTS)),
        }
    }

    /// Committed records from `from` on, up to `max_bytes` but at least one when there is any below
    /// `end`, where the partition is known to be committed up to.
    pub(super) async fn read(
        &self,
        place: &Arc<Place>,
        from: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<Records, Error> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Error::Closed)?;
        let (mut cursor, readers) = (self.take(&place.name, from)?, Arc::clone(&self.readers));
        let place = Arc::clone(place);
        let read = tokio::task::spawn_blocking(move || {
            let read = cursor.read(&place, from, end, max_bytes);
            match &read {
                Ok((_, next)) if *next < end => cursor.at = Some((place.name.clone(), *next)),
                Ok(_) | Err(_) => cursor.rest(),
            }
            readers.lock().idle.push(cursor);
            drop(slot);
            read
        });
        read.await.map_err(|_| Error::Closed)?
    }

    /// A client that stands there already, or else one that rests, a new one, or any. Whoever has a
    /// slot finds one.
    fn take(&self, place: &TopicPartition, from: Offset) -> Result<Cursor, Error> {
        let mut readers = self.readers.lock();
        let idle = &readers.idle;
        let stands = |cursor: &Cursor| {
            let at = cursor.at.as_ref();
            at.is_some_and(|(at, next)| at == place && *next == from)
        };
        let found = idle.iter().position(stands);
        let found = found.or_else(|| idle.iter().position(|cursor| cursor.at.is_none()));
        let any = || (readers.made >= CLIENTS && !idle.is_empty()).then_some(0);
        if let Some(found) = found.or_else(any) {
            // The one that has waited longest comes first.
            return Ok(readers.idle.remove(found));
        }
        let consumer = self.clients.reader(WAIT).create();
        let consumer = consumer.map_err(|error| failed("make a reader", error))?;
        readers.made += 1;
        Ok(Cursor { consumer, at: None })
    }
}

impl Cursor {
    fn read(
        &mut self,
        at: &Place,
        from: Offset,
        end: Offset,
        max_bytes: usize,
    ) -> Result<Records, Error> {
        let place = &at.name;
        let act = || format!("read {place} from {from}");
        if self
            .at
            .as_ref()
            .is_none_or(|(at, next)| at != place || *next != from)
        {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(&at.outside, index(place), At::Offset(number(from)))
                .and_then(|()| self.consumer.assign(&list))
                .map_err(|error| failed(act(), error))?;
        }
        let stable = at.stable();
        let until = Instant::now() + ANSWER;
        let (mut records, mut bytes, mut next) = (Vec::new(), 0, from);
        while next < end && (records.is_empty() || bytes < max_bytes) {
            let left = until.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                Some(Ok(message)) => {
                    let stored = stored(&message);
                    bytes += size(&stored);
                    next = stored.offset.next();
                    records.push(stored);
                }
                // Everything below the last stable offset has come. Below `end`, a transaction that was
                // committed is not marked yet: its records are about to come.
                Some(Err(KafkaError::PartitionEOF(_))) => next = next.max(stable),
                Some(Err(error)) if is_out_of_range(&error) => {
                    return Err(Error::OffsetOutOfRange {
                        partition: place.clone(),
                        offset: from,
                        first: from,
                        end,
                    });
                }
                Some(Err(error)) => {
                    tracing::debug!(%place, %error, "reading the log");
                    if left.is_zero() {
                        return Err(failed(act(), error));
                    }
                }
                None => {
                    let timed_out = RDKafkaErrorCode::OperationTimedOut;
                    return Err(failed(act(), KafkaError::MessageConsumption(timed_out)));
                }
            }
        }
        Ok((records, next))
    }

    /// Fetches nothing until it is used again.
    fn rest(&mut self) {
        self.at = None;
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "a reader does not rest");
        }
    }
}

fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)
    )
}
