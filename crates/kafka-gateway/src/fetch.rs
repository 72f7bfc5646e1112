//! Fetch: batches out of the log as they are, at once or when there are enough.
//!
//! Which partitions a request is about [`session`] knows; everything here sees them all.

mod session;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use event_log::{Aborted, Isolation, Offset, RecordBatch, StoredChunk, TopicName, TopicPartition};
use futures::future::select_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, FetchableTopicResponse, PartitionData,
};
use kafka_protocol::messages::{self, FetchRequest, FetchResponse, ProducerId};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use crate::broker::{Broker, Client, Space};
use crate::error_code::Refusal;
use crate::topics;

pub(crate) use session::{Held, Sessions};

use session::Naming;

/// From this version on topics are named by id.
const TOPIC_IDS: i16 = 13;
/// The most bytes of records in one answer, whatever is asked: what one slow reader can hold.
const MAX_ANSWER: usize = 16 << 20;

/// The longest wait, whatever is asked: records gathered meanwhile hold room that others need.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A fetch in progress.
struct Fetch {
    topics: Vec<TopicFetch>,
    isolation: Isolation,
    /// Bytes that the answer may still take.
    room: usize,
    /// Bytes of records gathered.
    gathered: usize,
    space: Space,
}

struct TopicFetch {
    name: messages::TopicName,
    id: Uuid,
    partitions: Vec<(i32, Result<PartitionFetch, Refusal>)>,
}

/// One partition, from the offset asked for.
struct PartitionFetch {
    place: TopicPartition,
    tail: watch::Receiver<Offset>,
    /// The next offset to read.
    next: Offset,
    /// Bytes that this partition may still give.
    room: usize,
    batches: Vec<RecordBatch>,
    aborted: Vec<Aborted>,
}

/// Whether a read can be followed by another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// The partition may give more when its end moves.
    Open,
    /// The answer is full, or there is no memory for more right now.
    Full,
}

/// Answers a fetch: when `min_bytes` of records are there, when a partition is in error, when
/// `max_wait_ms` (at most a minute) are over or nobody waits any more. Records are held in the room that comes back.
pub(crate) async fn fetch(
    broker: &Broker,
    mut request: FetchRequest,
    version: i16,
    client: &Client,
) -> (FetchResponse, Space) {
    let naming = if version >= TOPIC_IDS {
        Naming::ById
    } else {
        Naming::ByName
    };
    let turn = match broker.sessions.begin(&client.session, &mut request, naming) {
        Ok(turn) => turn,
        Err(refusal) => {
            let response = FetchResponse::default().with_error_code(refusal.code());
            return (response, Space::default());
        }
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(MAX_WAIT);
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    let room = usize::try_from(request.max_bytes).unwrap_or(0);
    let isolation = isolation(request.isolation_level);
    let room = room.min(MAX_ANSWER);
    let mut fetch = Fetch::of(broker, request.topics, room, version, isolation);
    loop {
        let progress = fetch.gather(broker).await;
        let done = progress == Progress::Full
            || fetch.gathered >= enough
            || fetch.is_in_error()
            || Instant::now() >= deadline
            || client.gone.is_cancelled();
        if done {
            let (mut response, space) = fetch.finish(broker, version);
            turn.end(&client.session, &mut response);
            return (response, space);
        }
        tokio::select! {
            () = fetch.tail_moved() => {}
            () = sleep_until(deadline) => {}
            () = client.gone.cancelled() => {}
        }
    }
}

impl Fetch {
    fn of(
        broker: &Broker,
        asked: Vec<FetchTopic>,
        room: usize,
        version: i16,
        isolation: Isolation,
    ) -> Self {
        let topics = asked.into_iter().map(|topic| {
            let name = if version >= TOPIC_IDS {
                let found = broker.topic_by_id(topic.topic_id);
                found.map(|topic| topic.name).ok_or_else(|| {
                    Refusal::new(ResponseError::UnknownTopicId, "no topic has that id")
                })
            } else {
                TopicName::new(topic.topic.as_str()).map_err(Refusal::from)
            };
            let partitions = topic.partitions.into_iter().map(|asked| {
                let fetch = name.clone();
                let fetch =
                    fetch.and_then(|name| PartitionFetch::of(broker, &name, &asked, isolation));
                (asked.partition, fetch)
            });
            TopicFetch {
                partitions: partitions.collect(),
                name: topic.topic,
                id: topic.topic_id,
            }
        });
        Self {
            topics: topics.collect(),
            isolation,
            room,
            gathered: 0,
            space: Space::default(),
        }
    }

    /// Reads whatever is new in every partition, as far as there is room.
    async fn gather(&mut self, broker: &Broker) -> Progress {
        for topic in &mut self.topics {
            for (_, fetch) in &mut topic.partitions {
                let Ok(partition) = fetch else { continue };
                if partition.tail.has_changed().is_err() {
                    *fetch = Err(Refusal::unknown(partition.place.topic.as_str()));
                    continue;
                }
                let end = *partition.tail.borrow_and_update();
                if partition.next >= end || partition.room == 0 {
                    continue;
                }
                if self.gathered > 0 && self.room == 0 {
                    return Progress::Full;
                }
                let room = partition.room.min(self.room);
                let held = if self.gathered == 0 {
                    Some(broker.answers.take(room).await)
                } else {
                    // Waiting for room while holding some could wait for ourselves.
                    broker.answers.try_take(room)
                };
                let Some(mut held) = held else {
                    return Progress::Full;
                };
                let read = broker.stored.read_stored(
                    &partition.place,
                    partition.next,
                    room,
                    self.isolation,
                );
                match read.await {
                    Ok(chunk) => {
                        let bytes = size(&chunk.batches);
                        // Only the first partition may exceed the limits, by one batch (KIP-74).
                        if self.gathered > 0 && bytes > room {
                            return Progress::Full;
                        }
                        held.shrink_to(bytes);
                        self.space.merge(held);
                        self.room = self.room.saturating_sub(bytes);
                        self.gathered += bytes;
                        partition.take(chunk, bytes);
                    }
                    Err(error) => *fetch = Err(error.into()),
                }
            }
        }
        Progress::Open
    }

    fn is_in_error(&self) -> bool {
        let mut partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.any(|(_, fetch)| fetch.is_err())
    }

    /// Waits until the end of some partition moves, or its topic is deleted.
    async fn tail_moved(&mut self) {
        let partitions = self
            .topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions);
        let moves: Vec<_> = partitions
            .filter_map(|(_, fetch)| fetch.as_mut().ok())
            .map(|partition| Box::pin(partition.tail.changed()))
            .collect();
        if moves.is_empty() {
            std::future::pending::<()>().await;
        }
        // Closed or moved makes no difference here: gathering looks at each.
        let _: (Result<(), watch::error::RecvError>, _, _) = select_all(moves).await;
    }

    fn finish(self, broker: &Broker, version: i16) -> (FetchResponse, Space) {
        let isolation = self.isolation;
        let responses = self.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter();
            let partitions = partitions.map(|(index, fetch)| match fetch {
                Ok(partition) => partition.finish(broker, index, isolation),
                Err(refusal) => refused(index, &refusal),
            });
            let response = FetchableTopicResponse::default().with_partitions(partitions.collect());
            if version >= TOPIC_IDS {
                response.with_topic_id(topic.id)
            } else {
                response.with_topic(topic.name)
            }
        });
        let response = FetchResponse::default().with_responses(responses.collect());
        (response, self.space)
    }
}

impl PartitionFetch {
    fn of(
        broker: &Broker,
        topic: &TopicName,
        asked: &FetchPartition,
        isolation: Isolation,
    ) -> Result<Self, Refusal> {
        let place = topics::partition(broker, topic, asked.partition)?;
        let bounds = broker.stored.stored_bounds(&place)?;
        topics::check_leader_epoch(asked.current_leader_epoch)?;
        let next = u64::try_from(asked.fetch_offset).map(Offset::new);
        let next = next
            .ok()
            .filter(|next| (bounds.start..=bounds.end).contains(next))
            .ok_or_else(|| {
                Refusal::new(
                    ResponseError::OffsetOutOfRange,
                    format!("offset {} of {place} is out of range", asked.fetch_offset),
                )
            })?;
        Ok(Self {
            tail: match isolation {
                Isolation::Uncommitted => broker.stored.stored_tail(&place)?,
                Isolation::Committed => broker.log.tail(&place)?,
            },
            place,
            next,
            // A limit of nothing still gives one batch.
            room: usize::try_from(asked.partition_max_bytes)
                .unwrap_or(0)
                .max(1),
            batches: Vec::new(),
            aborted: Vec::new(),
        })
    }

    fn take(&mut self, chunk: StoredChunk, bytes: usize) {
        self.next = chunk.next;
        self.room = self.room.saturating_sub(bytes);
        self.batches.extend(chunk.batches);
        for aborted in chunk.aborted {
            if !self.aborted.contains(&aborted) {
                self.aborted.push(aborted);
            }
        }
    }

    fn finish(self, broker: &Broker, index: i32, isolation: Isolation) -> PartitionData {
        let Ok(bounds) = broker.stored.stored_bounds(&self.place) else {
            return refused(index, &Refusal::unknown(self.place.topic.as_str()));
        };
        let stable = broker.log.bounds(&self.place);
        let stable = stable.map_or(bounds.end, |stable| stable.end);
        let aborted = self.aborted.iter().map(|aborted| {
            AbortedTransaction::default()
                .with_producer_id(ProducerId(aborted.producer_id))
                .with_first_offset(aborted.first.get().cast_signed())
        });
        PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(bounds.end.get().cast_signed())
            .with_last_stable_offset(stable.get().cast_signed())
            .with_aborted_transactions(match isolation {
                Isolation::Uncommitted => None,
                Isolation::Committed => Some(aborted.collect()),
            })
            .with_log_start_offset(bounds.start.get().cast_signed())
            .with_records(Some(concat(self.batches)))
    }
}

/// Kafka's number for it; whatever is not 1 is read uncommitted.
pub(crate) fn isolation(level: i8) -> Isolation {
    match level {
        1 => Isolation::Committed,
        _ => Isolation::Uncommitted,
    }
}

fn refused(index: i32, refusal: &Refusal) -> PartitionData {
    PartitionData::default()
        .with_partition_index(index)
        .with_error_code(refusal.code())
        .with_high_watermark(-1)
        .with_records(Some(Bytes::new()))
}

fn size(batches: &[RecordBatch]) -> usize {
    batches.iter().map(|batch| batch.as_bytes().len()).sum()
}

fn concat(batches: Vec<RecordBatch>) -> Bytes {
    if let [batch] = batches.as_slice() {
        return batch.as_bytes().clone();
    }
    let mut records = BytesMut::with_capacity(size(&batches));
    for batch in batches {
        records.extend_from_slice(batch.as_bytes());
    }
    records.freeze()
}
