//! ListTransactions, DescribeTransactions and DescribeProducers: what operators look for when a
//! transaction hangs.

use std::collections::HashMap;
use std::time::Duration;

use event_log::{Outcome, TopicName, Transaction, TransactionStage};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::list_transactions_response;
use kafka_protocol::messages::{
    self, DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId,
};
use kafka_protocol::protocol::StrBytes;

use super::wire_id;
use crate::asked;
use crate::broker::Broker;
use crate::error_code::Refusal;
use crate::topics;

const EMPTY: &str = "Empty";
const ONGOING: &str = "Ongoing";
const COMMITTED: &str = "CompleteCommit";
const ABORTED: &str = "CompleteAbort";
/// States that a Kafka broker has and we pass through in one write.
const PASSED_THROUGH: [&str; 4] = ["PrepareCommit", "PrepareAbort", "PrepareEpochFence", "Dead"];
/// The longest pattern that is compiled, in bytes.
const MAX_PATTERN: usize = 1_024;

pub(super) fn list(broker: &Broker, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let pattern = request.transactional_id_pattern.as_ref();
    let pattern = pattern.filter(|pattern| !pattern.is_empty()).map(|text| {
        let whole = format!("^(?:{})$", text.as_str());
        (text.len() <= MAX_PATTERN).then(|| regex::Regex::new(&whole).ok())
    });
    let pattern = match pattern {
        None => None,
        Some(Some(Some(pattern))) => Some(pattern),
        Some(Some(None) | None) => {
            let refusal = Refusal::new(
                ResponseError::InvalidRegularExpression,
                "the pattern of transactional ids cannot be compiled",
            );
            return ListTransactionsResponse::default().with_error_code(refusal.code());
        }
    };
    let known = [EMPTY, ONGOING, COMMITTED, ABORTED];
    let (states, unknown): (Vec<_>, Vec<_>) = request.state_filters.into_iter().partition(|it| {
        let state = it.as_str();
        known.contains(&state) || PASSED_THROUGH.contains(&state)
    });
    let filtered_by_state = !states.is_empty() || !unknown.is_empty();
    let now = broker.config.clock.now();
    let lasts = |it: &Transaction| match &it.stage {
        TransactionStage::Open { since, .. } => now.since(*since),
        TransactionStage::Fresh | TransactionStage::Ended(_) => Duration::ZERO,
    };
    let least = u64::try_from(request.duration_filter).ok();
    let least = least.map(Duration::from_millis);
    let wanted = |it: &Transaction| {
        let state = state(it);
        (!filtered_by_state || states.iter().any(|wanted| wanted.as_str() == state))
            && (request.producer_id_filters.is_empty()
                || request
                    .producer_id_filters
                    .contains(&ProducerId(it.producer.id)))
            && least.is_none_or(|least| lasts(it) > least)
            && pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(it.id.as_str()))
    };
    let listed = broker.stored.transactions().into_iter().filter(wanted);
    let listed = listed.map(|it| {
        list_transactions_response::TransactionState::default()
            .with_transactional_id(wire_id(&it.id))
            .with_producer_id(ProducerId(it.producer.id))
            .with_transaction_state(StrBytes::from_static_str(state(&it)))
    });
    ListTransactionsResponse::default()
        .with_transaction_states(listed.collect())
        .with_unknown_state_filters(unknown)
}

pub(super) fn transactions(
    broker: &Broker,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let known = broker.stored.transactions();
    let known = known.iter().map(|it| (it.id.as_str(), it));
    let known: HashMap<&str, &Transaction> = known.collect();
    let ids = asked::once(request.transactional_ids);
    let described = ids.into_iter().map(|id| match known.get(id.as_str()) {
        Some(transaction) => describe(transaction),
        None => {
            let refusal = Refusal::new(
                ResponseError::TransactionalIdNotFound,
                "no producer has that transactional id",
            );
            TransactionState::default()
                .with_transactional_id(id)
                .with_error_code(refusal.code())
        }
    });
    DescribeTransactionsResponse::default().with_transaction_states(described.collect())
}

fn describe(transaction: &Transaction) -> TransactionState {
    let (since, partitions) = match &transaction.stage {
        TransactionStage::Open { since, partitions } => (since.as_millis(), partitions.as_slice()),
        TransactionStage::Fresh | TransactionStage::Ended(_) => (-1, &[][..]),
    };
    let topics = partitions.chunk_by(|a, b| a.topic == b.topic).map(|same| {
        let name = StrBytes::from_string(same[0].topic.as_str().to_owned());
        let indexes = same.iter().map(|place| place.partition.index());
        let indexes = indexes.map(|index| i32::try_from(index).unwrap_or(i32::MAX));
        TopicData::default()
            .with_topic(messages::TopicName(name))
            .with_partitions(indexes.collect())
    });
    let timeout = i32::try_from(transaction.timeout.as_millis());
    TransactionState::default()
        .with_transactional_id(wire_id(&transaction.id))
        .with_transaction_state(StrBytes::from_static_str(state(transaction)))
        .with_transaction_timeout_ms(timeout.unwrap_or(i32::MAX))
        .with_transaction_start_time_ms(since)
        .with_producer_id(ProducerId(transaction.producer.id))
        .with_producer_epoch(transaction.producer.epoch)
        .with_topics(topics.collect())
}

fn state(transaction: &Transaction) -> &'static str {
    match transaction.stage {
        TransactionStage::Fresh => EMPTY,
        TransactionStage::Open { .. } => ONGOING,
        TransactionStage::Ended(Outcome::Commit) => COMMITTED,
        TransactionStage::Ended(Outcome::Abort) => ABORTED,
    }
}

pub(super) fn producers(
    broker: &Broker,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = asked::once_by(request.topics, |topic| topic.name.clone());
    let topics = topics.into_iter().map(|topic| {
        let indexes = asked::once(topic.partition_indexes.clone()).into_iter();
        let partitions = indexes.map(|index| producers_of(broker, &topic, index));
        TopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn producers_of(broker: &Broker, topic: &TopicRequest, index: i32) -> PartitionResponse {
    let found = || {
        let name = TopicName::new(topic.name.as_str())?;
        let place = topics::partition(broker, &name, index)?;
        Ok::<_, Refusal>(broker.stored.producers(&place)?)
    };
    let response = PartitionResponse::default().with_partition_index(index);
    match found() {
        Ok(producers) => {
            let producers = producers.into_iter().map(|it| {
                let open = it.open_since.map(|offset| offset.get().cast_signed());
                ProducerState::default()
                    .with_producer_id(ProducerId(it.producer.id))
                    .with_producer_epoch(it.producer.epoch.into())
                    .with_last_sequence(it.last_sequence.unwrap_or(-1))
                    .with_last_timestamp(-1)
                    .with_coordinator_epoch(if open.is_some() { 0 } else { -1 })
                    .with_current_txn_start_offset(open.unwrap_or(-1))
            });
            response.with_active_producers(producers.collect())
        }
        Err(refusal) => response
            .with_error_code(refusal.code())
            .with_error_message(Some(refusal.message())),
    }
}
