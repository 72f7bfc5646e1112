//! Produce: batches into the log as they arrived.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use event_log::{
    Appended, Cleanup, Error, Inflation, Partition, Permit, RecordBatch, Settled, Settlement,
    SharedLog, StoredRecord, TopicName,
};
use futures::future::BoxFuture;
use kafka_protocol::ResponseError;
use kafka_protocol::messages;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};

use crate::broker::Broker;
use crate::error_code::Refusal;

/// The most records in one batch: what is decoded to check it must fit in memory. librdkafka's
/// `batch.num.messages` allows no more.
const MAX_BATCH_RECORDS: usize = 1_000_000;
/// The most records of one batch whose fault is told one by one.
const MAX_RECORDS_NAMED: usize = 10_000;
/// How far the batches of one request may inflate together: they are opened while others wait. So
/// many bytes, or so many times the request's own.
const MAX_INFLATED: u64 = 256 << 20;
const MAX_INFLATED_TIMES: u64 = 16;
/// A request whose batches inflate further is heavy, in bytes.
const HEAVY: u64 = 8 << 20;

/// The writes of one Produce request, one per partition, each with its own outcome.
pub(crate) struct Writes {
    log: SharedLog,
    acknowledgement: Acknowledgement,
    topics: Vec<TopicWrites>,
    weight: Weight,
}

/// What checking a request took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    Light,
    /// So long that others should have their turn.
    Heavy,
}

/// Whether the client listens for the outcome. Either way records are durable when it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acknowledgement {
    Wanted,
    Unwanted,
}

struct TopicWrites {
    name: messages::TopicName,
    partitions: Vec<(i32, Write)>,
}

/// One batch on its way: `Reserving` room, then `Settling`, then `Done`.
enum Write {
    Reserving(BoxFuture<'static, Permit>, Settlement),
    Settling(BoxFuture<'static, Result<Settled, Error>>),
    Done(Result<Appended, Refusal>),
}

impl Writes {
    /// Checks every batch. Nothing is written before the first [`poll`](Self::poll).
    pub(crate) fn begin(broker: &Broker, request: ProduceRequest) -> Self {
        let refused = refuse_whole(&request);
        let acknowledgement = if request.acks == 0 {
            Acknowledgement::Unwanted
        } else {
            Acknowledgement::Wanted
        };
        let may_inflate = MAX_INFLATED.max(record_bytes(&request) * MAX_INFLATED_TIMES);
        let mut inflation = Inflation::of(may_inflate);
        let topics = request.topic_data.into_iter();
        let topics = topics
            .map(|topic| TopicWrites::begin(broker, topic, refused.as_ref(), &mut inflation))
            .collect();
        Self {
            log: broker.log.clone(),
            acknowledgement,
            topics,
            weight: if may_inflate - inflation.left() > HEAVY {
                Weight::Heavy
            } else {
                Weight::Light
            },
        }
    }

    /// What checking it took.
    pub(crate) fn weight(&self) -> Weight {
        self.weight
    }

    /// Drives every write; ready when all have an outcome. Writes reach the log in order: none is
    /// settled while one before it still waits for room.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut outcome = Poll::Ready(());
        let writes = self
            .topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions);
        for (_, write) in writes {
            if write.poll(&self.log, context).is_pending() {
                outcome = Poll::Pending;
            }
            if !write.is_submitted() {
                break;
            }
        }
        outcome
    }

    /// Whether every batch has reached the log, so that later ones may follow.
    pub(crate) fn are_submitted(&self) -> bool {
        self.all().all(Write::is_submitted)
    }

    /// Whether the client wants an answer.
    pub(crate) fn are_acknowledged(&self) -> bool {
        self.acknowledgement == Acknowledgement::Wanted
    }

    /// Whether some batch was refused.
    pub(crate) fn are_refused(&self) -> bool {
        self.all().any(|write| matches!(write, Write::Done(Err(_))))
    }

    /// The answer, once [`poll`](Self::poll) was ready.
    pub(crate) fn response(&mut self) -> ProduceResponse {
        let topics = std::mem::take(&mut self.topics);
        let responses = topics.into_iter().map(|topic| {
            let partitions = topic.partitions.into_iter();
            TopicProduceResponse::default()
                .with_name(topic.name)
                .with_partition_responses(partitions.map(partition_response).collect())
        });
        ProduceResponse::default().with_responses(responses.collect())
    }

    fn all(&self) -> impl Iterator<Item = &Write> {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|(_, write)| write)
    }
}

impl TopicWrites {
    fn begin(
        broker: &Broker,
        topic: TopicProduceData,
        refused: Option<&Refusal>,
        inflation: &mut Inflation,
    ) -> Self {
        let name = topic.name;
        let partitions = topic.partition_data.into_iter().map(|data| {
            let index = data.index;
            let admitted = match refused {
                Some(refusal) => Err(refusal.clone()),
                None => admit(broker, &name, data, inflation),
            };
            (index, Write::begin(&broker.log, admitted))
        });
        Self {
            partitions: partitions.collect(),
            name: name.clone(),
        }
    }
}

impl Write {
    fn begin(log: &SharedLog, admitted: Result<Settlement, Refusal>) -> Self {
        match admitted {
            Err(refusal) => Self::Done(Err(refusal)),
            Ok(settlement) => {
                let (log, bytes) = (log.clone(), settlement.bytes());
                Self::Reserving(
                    Box::pin(async move { log.reserve(bytes).await }),
                    settlement,
                )
            }
        }
    }

    fn is_submitted(&self) -> bool {
        match self {
            Self::Reserving(..) => false,
            Self::Settling(_) | Self::Done(_) => true,
        }
    }

    fn poll(&mut self, log: &SharedLog, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Self::Reserving(reserve, settlement) => {
                    let permit = ready!(reserve.as_mut().poll(context));
                    let (log, settlement) = (log.clone(), std::mem::take(settlement));
                    let settle = async move { log.settle(permit, settlement).await };
                    *self = Self::Settling(Box::pin(settle));
                }
                Self::Settling(settle) => {
                    let settled = ready!(settle.as_mut().poll(context));
                    *self = Self::Done(settled.map(first_place).map_err(Refusal::from));
                }
                Self::Done(_) => return Poll::Ready(()),
            }
        }
    }
}

fn first_place(settled: Settled) -> Appended {
    *settled
        .appended
        .first()
        .expect("a settlement of one batch appends one")
}

fn record_bytes(request: &ProduceRequest) -> u64 {
    let topics = request.topic_data.iter();
    let partitions = topics.flat_map(|topic| &topic.partition_data);
    let records = partitions.filter_map(|data| data.records.as_ref());
    records.map(|records| records.len() as u64).sum()
}

fn refuse_whole(request: &ProduceRequest) -> Option<Refusal> {
    if !(-1..=1).contains(&request.acks) {
        return Some(Refusal::new(
            ResponseError::InvalidRequiredAcks,
            format!("acks is {}, only -1, 0 and 1 exist", request.acks),
        ));
    }
    None
}

/// Checks one partition's part of a request.
fn admit(
    broker: &Broker,
    name: &str,
    data: PartitionProduceData,
    inflation: &mut Inflation,
) -> Result<Settlement, Refusal> {
    let topic_name = TopicName::new(name)?;
    if broker.config.protects(name) {
        return Err(Refusal::protected(name));
    }
    let topic = broker.log.topic(&topic_name);
    let topic = topic.ok_or_else(|| Refusal::unknown(name))?;
    let index = u32::try_from(data.index).ok();
    let index = index.filter(|index| *index < topic.config.partitions);
    let partition = index.map(|index| topic_name.partition(Partition::new(index)));
    let partition = partition.ok_or_else(|| Refusal::unknown(name))?;
    let cleanup = topic.config.settings.cleanup;
    let batch = check_batch(data.records.unwrap_or_default(), cleanup, inflation)?;
    Ok(Settlement::of(partition, batch))
}

/// Takes exactly one batch of records. It is opened once, here, so that whoever reads the
/// log can rely on it being readable.
fn check_batch(
    mut records: Bytes,
    cleanup: Cleanup,
    inflation: &mut Inflation,
) -> Result<RecordBatch, Refusal> {
    let invalid = |reason: &str| Refusal::new(ResponseError::InvalidRecord, reason);
    let batch = RecordBatch::take(&mut records)?;
    if !records.is_empty() {
        return Err(invalid("a partition takes one batch in a request"));
    }
    if batch.header().is_control() {
        return Err(invalid("control batches are the log's own"));
    }
    if batch.header().record_count() > MAX_BATCH_RECORDS {
        return Err(invalid("a batch holds at most 1,000,000 records"));
    }
    let records = batch.records_within(inflation)?;
    if cleanup.compacts() {
        check_keys(&records)?;
    }
    Ok(batch)
}

/// Refuses records that compaction could not tell apart, by their places in the batch: clients give
/// up those only and send the others again.
fn check_keys(records: &[StoredRecord]) -> Result<(), Refusal> {
    let indexes = 0..i32::try_from(records.len()).unwrap_or(i32::MAX);
    let keyless: Vec<i32> = indexes
        .zip(records)
        .filter(|(_, stored)| stored.record.key.is_none())
        .map(|(index, _)| index)
        .take(MAX_RECORDS_NAMED)
        .collect();
    if keyless.is_empty() {
        return Ok(());
    }
    let refusal = Refusal::new(
        ResponseError::InvalidRecord,
        "a compacted topic takes only records with keys",
    );
    Err(refusal.for_records(keyless))
}

fn partition_response((index, write): (i32, Write)) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(-1);
    match write {
        Write::Done(Ok(appended)) => response.with_base_offset(appended.base().get().cast_signed()),
        Write::Done(Err(refusal)) => response
            .with_error_code(refusal.code())
            .with_error_message(Some(refusal.message()))
            .with_record_errors(record_errors(&refusal)),
        Write::Reserving(..) | Write::Settling(_) => {
            response.with_error_code(ResponseError::RequestTimedOut.code())
        }
    }
}

fn record_errors(refusal: &Refusal) -> Vec<BatchIndexAndErrorMessage> {
    let records = refusal.records().iter();
    let errors = records.map(|index| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(*index)
            .with_batch_index_error_message(Some(refusal.message()))
    });
    errors.collect()
}
