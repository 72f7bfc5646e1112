//! One Kafka transaction: records, then offsets, then the commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event::Header;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Clients;
use super::draft::{Draft, Of, Output};
use super::member::Standing;
use crate::{Error, Share};

/// The transactional producer.
pub(super) struct Scribe {
    producer: BaseProducer<Deliveries>,
    shards: Arc<str>,
    timeout: Duration,
}

/// How a transaction ended.
pub(super) enum Outcome {
    /// Each record's offset, in order.
    Committed(Vec<i64>),
    /// Nothing was written, for these drafts' sake.
    Refused(BTreeMap<usize, Error>),
    /// Nothing was written: the group has gone on to another generation.
    Stale,
    /// Nothing was written; it may be tried again.
    Later(KafkaError),
    /// The producer is of no use any more. With offsets when the commit may have happened.
    Broken(KafkaError, Option<Vec<i64>>),
}

/// What has become of the records of the running transaction.
#[derive(Default)]
struct Deliveries(Mutex<Running>);

#[derive(Default)]
struct Running {
    /// Which transaction: a report of an earlier one may still arrive.
    number: usize,
    results: Vec<Option<Result<i64, KafkaError>>>,
}

/// Records of one transaction are below this.
const NUMBERED: usize = 1 << 32;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, delivery: &DeliveryResult<'_>, at: usize) {
        let result = match delivery {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        let mut running = self.0.lock();
        if at / NUMBERED == running.number
            && let Some(slot) = running.results.get_mut(at % NUMBERED)
        {
            *slot = Some(result);
        }
    }
}

impl Scribe {
    /// A producer that is ready; whatever an earlier one of the same id left open has ended.
    pub(super) fn open(
        clients: &Clients,
        shards: Arc<str>,
        timeout: Duration,
    ) -> Result<Self, KafkaError> {
        let producer: BaseProducer<Deliveries> = clients
            .producer()
            .create_with_context(Deliveries::default())?;
        producer.init_transactions(timeout.max(Duration::from_secs(30)))?;
        Ok(Self {
            producer,
            shards,
            timeout,
        })
    }

    pub(super) fn write(
        &self,
        drafts: &[Draft],
        standing: &Standing,
        stop: &CancellationToken,
    ) -> Outcome {
        let needs = drafts
            .iter()
            .fold(Share::none(), |needs, draft| needs.and(draft.needs));
        let generation = match (&standing.generation, needs == Share::none()) {
            (_, true) => None,
            (Some(generation), false) => Some(generation),
            (None, false) => return Outcome::Stale,
        };
        if let Err(error) = self.producer.begin_transaction() {
            return Outcome::Broken(error, None);
        }
        let offsets = match self.produce(drafts) {
            Ok(offsets) => offsets,
            Err(outcome) => return self.abort(outcome, stop),
        };
        // Last: whoever takes a shard over afterwards stands behind every record of this transaction.
        if let Some(generation) = generation {
            let mut list = TopicPartitionList::new();
            for shard in needs.shards() {
                let partition = i32::try_from(shard.index()).unwrap_or(i32::MAX);
                let added = list.add_partition_offset(&self.shards, partition, Offset::Offset(0));
                added.expect("zero is an offset");
            }
            let until = Instant::now() + self.timeout;
            let send = || {
                self.producer
                    .send_offsets_to_transaction(&list, generation, self.timeout)
            };
            let sent = retried(send, || Instant::now() < until && !stop.is_cancelled());
            if let Err(error) = sent {
                let outcome = if is_stale(&error) {
                    Outcome::Stale
                } else {
                    Outcome::Later(error)
                };
                return self.abort(outcome, stop);
            }
        }
        let commit = || self.producer.commit_transaction(self.timeout);
        match retried(commit, || !stop.is_cancelled()) {
            Ok(()) => Outcome::Committed(offsets),
            // Whatever it says, the commit may have happened.
            Err(error) => Outcome::Broken(error, Some(offsets)),
        }
    }

    /// Writes every record and waits until each is acknowledged.
    fn produce(&self, drafts: &[Draft]) -> Result<Vec<i64>, Outcome> {
        let deliveries = self.producer.context();
        let count = drafts.iter().map(|draft| draft.outputs.len()).sum();
        let mut at = {
            let mut running = deliveries.0.lock();
            running.number += 1;
            running.results = vec![None; count];
            running.number * NUMBERED
        };
        let mut refused = BTreeMap::new();
        for (of, draft) in drafts.iter().enumerate() {
            for output in &draft.outputs {
                if let Err(error) = self.send(output, at) {
                    match self.refusal(&error, output) {
                        Some(reason) => drop(refused.insert(of, reason)),
                        None => return Err(Outcome::Later(error)),
                    }
                }
                at += 1;
            }
        }
        if !refused.is_empty() {
            return Err(Outcome::Refused(refused));
        }
        self.drain().map_err(Outcome::Later)?;
        let results = std::mem::take(&mut deliveries.0.lock().results);
        let mut results = results.into_iter();
        let mut offsets = Vec::with_capacity(count);
        let mut later = None;
        for (of, draft) in drafts.iter().enumerate() {
            for output in &draft.outputs {
                match results.next().flatten() {
                    Some(Ok(offset)) => offsets.push(offset),
                    Some(Err(error)) => match self.refusal(&error, output) {
                        Some(reason) => drop(refused.insert(of, reason)),
                        None => later = Some(error),
                    },
                    None => later = Some(KafkaError::Flush(RDKafkaErrorCode::MessageTimedOut)),
                }
            }
        }
        if !refused.is_empty() {
            return Err(Outcome::Refused(refused));
        }
        later.map_or(Ok(offsets), |error| Err(Outcome::Later(error)))
    }

    /// Waits until every record has been reported. The library's own `flush` looks ten times a second.
    fn drain(&self) -> Result<(), KafkaError> {
        let until = Instant::now() + self.timeout;
        while self.producer.in_flight_count() > 0 {
            if Instant::now() > until {
                return Err(KafkaError::Flush(RDKafkaErrorCode::MessageTimedOut));
            }
            self.producer.poll(Duration::from_millis(1));
        }
        Ok(())
    }

    fn send(&self, output: &Output, at: usize) -> Result<(), KafkaError> {
        let mut record = BaseRecord::with_opaque_to(&output.topic, at).partition(output.partition);
        record.key = output.key.as_deref();
        record.payload = output.value.as_deref();
        record.timestamp = output.timestamp;
        record.headers = headers(&output.headers);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    self.producer.poll(Duration::from_millis(10));
                    record = again;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Why a record can never be written; `None` when it may be another time.
    fn refusal(&self, error: &KafkaError, output: &Output) -> Option<Error> {
        let Of::Place(place) = &output.of else {
            return None;
        };
        let reason = match error.rdkafka_error_code()? {
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition => {
                return match self.partitions(&output.topic) {
                    // The producer had not heard of it, and has now.
                    Some(count) if output.partition < count => None,
                    Some(0) | None => Some(Error::UnknownTopic {
                        topic: place.topic.clone(),
                    }),
                    Some(_) => Some(Error::UnknownPartition {
                        partition: place.clone(),
                    }),
                };
            }
            RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => {
                "a record is larger than the cluster takes (max.message.bytes)"
            }
            RDKafkaErrorCode::InvalidTimestamp => {
                "the cluster does not take a record's time (message.timestamp.after.max.ms)"
            }
            RDKafkaErrorCode::InvalidRecord => "the cluster refuses a record",
            RDKafkaErrorCode::TopicAuthorizationFailed => "the cluster does not let us write there",
            RDKafkaErrorCode::PolicyViolation => "a policy of the cluster refuses it",
            _ => return None,
        };
        Some(Error::InvalidSettlement {
            reason: format!("{place}: {reason}"),
        })
    }

    /// How many partitions a topic has now.
    fn partitions(&self, topic: &str) -> Option<i32> {
        let metadata = self
            .producer
            .client()
            .fetch_metadata(Some(topic), self.timeout);
        let metadata = metadata.ok()?;
        let topic = metadata.topics().first()?;
        i32::try_from(topic.partitions().len()).ok()
    }

    /// Takes reports of records from the client while `call` waits in it. An abort waits until each
    /// record has been reported, and without somebody who takes the reports it waits for ever.
    fn while_reported<T>(&self, call: impl FnOnce() -> T) -> T {
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    self.producer.poll(Duration::from_millis(10));
                }
            });
            let result = call();
            ended.store(true, Ordering::Relaxed);
            result
        })
    }

    fn abort(&self, outcome: Outcome, stop: &CancellationToken) -> Outcome {
        let abort = || self.producer.abort_transaction(self.timeout);
        let aborted = self.while_reported(|| retried(abort, || !stop.is_cancelled()));
        match aborted {
            Ok(()) => outcome,
            Err(error) => Outcome::Broken(error, None),
        }
    }
}

/// Calls again while the client library says that it may help and `go_on` agrees.
fn retried(
    call: impl Fn() -> Result<(), KafkaError>,
    go_on: impl Fn() -> bool,
) -> Result<(), KafkaError> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && go_on() => {
                tracing::debug!(%error, "a step of a transaction is tried again");
            }
            other => return other,
        }
    }
}

fn is_stale(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::RebalanceInProgress
                | RDKafkaErrorCode::FencedInstanceId
        )
    )
}

fn headers(headers: &[Header]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let all = OwnedHeaders::new_with_capacity(headers.len());
    Some(headers.iter().fold(all, |all, header| {
        all.insert(KafkaHeader {
            key: &header.key,
            value: header.value.as_deref(),
        })
    }))
}
