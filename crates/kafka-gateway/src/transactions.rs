//! Transactions of producers: the log keeps them, this gives their steps Kafka's names.
//!
//! The protocol is the classic one: a producer names partitions and groups before it writes there.
//! `transaction.version` is not advertised, so that clients do not expect the other.

mod describe;
mod timeouts;

use std::sync::Arc;

use event_log::{
    Outcome, ProducerIdentity, TopicName, TopicPartition, TransactionStep, TransactionalId,
};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    self, AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, ProducerId, RequestKind,
};

use crate::broker::{Answer, Broker, Client};
use crate::error_code::Refusal;
use crate::wire::{self, Header, WireError};
use crate::{groups, meter, topics};

pub(crate) use timeouts::run_timeouts;

/// The versions of the requests here from which on a client knows that there is a newer life of its
/// transactional id; before, it is told of its epoch.
const FENCING: i16 = 2;

/// Answers the requests of transactions; those of groups go on to them.
pub(crate) async fn answer(
    broker: &Arc<Broker>,
    header: Header,
    body: RequestKind,
    client: &Client,
) -> Result<Answer, WireError> {
    let version = header.version;
    let frame = match body {
        RequestKind::AddPartitionsToTxn(asked) => {
            wire::encode(&header, &add_partitions(broker, asked, version).await)
        }
        RequestKind::AddOffsetsToTxn(asked) => {
            wire::encode(&header, &add_offsets(broker, asked, version).await)
        }
        RequestKind::TxnOffsetCommit(asked) => {
            wire::encode(&header, &groups::stage(broker, asked).await)
        }
        RequestKind::EndTxn(asked) => wire::encode(&header, &end(broker, asked, version).await),
        RequestKind::ListTransactions(asked) => {
            wire::encode(&header, &describe::list(broker, asked))
        }
        RequestKind::DescribeTransactions(asked) => {
            wire::encode(&header, &describe::transactions(broker, asked))
        }
        RequestKind::DescribeProducers(asked) => {
            wire::encode(&header, &describe::producers(broker, asked))
        }
        other => return groups::answer(broker, header, other, client).await,
    };
    Ok(Answer::of(frame?))
}

/// Who a request says it comes from.
pub(crate) fn identity(id: ProducerId, epoch: i16) -> ProducerIdentity {
    ProducerIdentity { id: id.0, epoch }
}

/// Adds partitions: all of them, or none when one cannot be written.
async fn add_partitions(
    broker: &Broker,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let mut places = Vec::new();
    let mut outcomes = Vec::new();
    let mut refused = false;
    for topic in request.v3_and_below_topics {
        let found = writable(broker, &topic);
        refused |= found.iter().any(|(_, place)| place.is_err());
        places.extend(found.iter().filter_map(|(_, place)| place.clone().ok()));
        outcomes.push((topic.name, found));
    }
    let whole = if refused {
        Some(ResponseError::OperationNotAttempted.code())
    } else {
        let id = TransactionalId::new(request.v3_and_below_transactional_id.as_str());
        let step = TransactionStep::Join {
            by: identity(
                request.v3_and_below_producer_id,
                request.v3_and_below_producer_epoch,
            ),
            partitions: places,
            consumers: Vec::new(),
            now: broker.config.clock.now(),
        };
        let joined = broker.stored.transact(&id, step).await;
        let refusal = joined
            .err()
            .map(|error| Refusal::from(error).fenced_since(FENCING, version));
        refusal.as_ref().map(Refusal::code)
    };
    let results = outcomes.into_iter().map(|(name, found)| {
        let partitions = found.into_iter().map(|(index, place)| {
            let own = place.err().as_ref().map(Refusal::code);
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(index)
                .with_partition_error_code(own.or(whole).unwrap_or(0))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(name)
            .with_results_by_partition(partitions.collect())
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}

/// The partitions of a topic that clients may write.
fn writable(
    broker: &Broker,
    topic: &AddPartitionsToTxnTopic,
) -> Vec<(i32, Result<TopicPartition, Refusal>)> {
    let place = |index| {
        let name = TopicName::new(topic.name.as_str())?;
        if broker.config.protects(name.as_str()) {
            return Err(Refusal::protected(name.as_str()));
        }
        let place = topics::partition(broker, &name, index)?;
        broker.log.bounds(&place)?;
        Ok(place)
    };
    let indexes = topic.partitions.iter();
    indexes.map(|index| (*index, place(*index))).collect()
}

async fn add_offsets(
    broker: &Broker,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let consumer = match groups::transactional_consumer(&request.group_id) {
        Ok(consumer) => consumer,
        Err(refusal) => {
            return AddOffsetsToTxnResponse::default().with_error_code(refusal.code());
        }
    };
    let id = TransactionalId::new(request.transactional_id.as_str());
    let step = TransactionStep::Join {
        by: identity(request.producer_id, request.producer_epoch),
        partitions: Vec::new(),
        consumers: vec![consumer],
        now: broker.config.clock.now(),
    };
    let joined = broker.stored.transact(&id, step).await;
    let refusal = joined
        .err()
        .map(|error| Refusal::from(error).fenced_since(FENCING, version));
    let code = refusal.map_or(0, |refusal| refusal.code());
    AddOffsetsToTxnResponse::default().with_error_code(code)
}

async fn end(broker: &Broker, request: EndTxnRequest, version: i16) -> EndTxnResponse {
    let outcome = if request.committed {
        Outcome::Commit
    } else {
        Outcome::Abort
    };
    let id = TransactionalId::new(request.transactional_id.as_str());
    let step = TransactionStep::End {
        by: identity(request.producer_id, request.producer_epoch),
        outcome,
        now: broker.config.clock.now(),
    };
    match broker.stored.transact(&id, step).await {
        Ok(_) => {
            meter::transaction(outcome);
            EndTxnResponse::default()
        }
        Err(error) => {
            let refusal = Refusal::from(error).fenced_since(FENCING, version);
            EndTxnResponse::default().with_error_code(refusal.code())
        }
    }
}

/// A transactional id on the wire.
fn wire_id(id: &TransactionalId) -> messages::TransactionalId {
    let text = id.as_str().to_owned();
    messages::TransactionalId(kafka_protocol::protocol::StrBytes::from_string(text))
}
