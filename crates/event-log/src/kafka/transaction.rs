//! One Kafka transaction: records, then offsets, then the commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event::Header;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::Clients;
use super::deliveries::{Deliveries, Reporter};
use super::draft::{Draft, Of, Output};
use super::member::Standing;
use crate::{Error, Share};

/// The transactional producer.
pub(super) struct Scribe {
    producer: Arc<BaseProducer<Deliveries>>,
    reporter: Reporter,
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
        let producer = Arc::new(producer);
        Ok(Self {
            reporter: Reporter::start(Arc::clone(&producer)),
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
        // To the end: an abort, too, waits until each record has been reported.
        let _reported = self.reporter.report();
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
        let mut at = deliveries.expect(count);
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
        let mut results = deliveries.wait(self.timeout).into_iter();
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

    fn abort(&self, outcome: Outcome, stop: &CancellationToken) -> Outcome {
        let abort = || self.producer.abort_transaction(self.timeout);
        match retried(abort, || !stop.is_cancelled()) {
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
