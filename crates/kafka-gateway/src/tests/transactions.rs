//! Transactions through the socket.

use bytes::Bytes;
use clock::Timestamp;
use event::Record;
use event_log::{
    ConsumerId, Lifetime, Offset, Partition, Producer, RecordBatch, TopicConfig, TopicName,
    TopicPartition,
};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{self, *};

use super::client::{Client, Served, call};
use super::samples::text;

const COMMITTED: i8 = 1;
const UNCOMMITTED: i8 = 0;

fn topic(name: &str) -> messages::TopicName {
    messages::TopicName(text(name))
}

fn place(name: &str) -> TopicPartition {
    TopicName::new(name).unwrap().partition(Partition::new(0))
}

/// A producer with its connection.
struct Writer {
    client: Client,
    id: TransactionalId,
    producer: ProducerId,
    epoch: i16,
    sequence: i32,
}

fn enrolling(id: &str, timeout_ms: i32) -> InitProducerIdRequest {
    InitProducerIdRequest::default()
        .with_transactional_id(Some(TransactionalId(text(id))))
        .with_transaction_timeout_ms(timeout_ms)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

impl Writer {
    async fn enroll(served: &Served, id: &str, timeout_ms: i32) -> Self {
        let mut client = served.client().await;
        let given = call!(client, InitProducerId, 4, enrolling(id, timeout_ms));
        assert_eq!(given.error_code, 0);
        Self {
            client,
            id: TransactionalId(text(id)),
            producer: given.producer_id,
            epoch: given.producer_epoch,
            sequence: 0,
        }
    }

    async fn add(&mut self, names: &[&str], version: i16) -> Vec<i16> {
        let topics = names.iter().map(|name| {
            AddPartitionsToTxnTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![0])
        });
        let asked = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id.clone())
            .with_v3_and_below_producer_id(self.producer)
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(topics.collect());
        let added = call!(self.client, AddPartitionsToTxn, version, asked);
        let topics = added.results_by_topic_v3_and_below.iter();
        let codes = topics.map(|topic| topic.results_by_partition[0].partition_error_code);
        codes.collect()
    }

    async fn write(&mut self, name: &str, value: &str) -> i16 {
        let record = Record::new(value.to_owned(), Timestamp::from_millis(1_000));
        let batch = RecordBatch::of_one(record).from_producer(Producer {
            id: self.producer.0,
            epoch: self.epoch,
            base_sequence: self.sequence,
        });
        let data = PartitionProduceData::default()
            .with_records(Some(batch.in_transaction().as_bytes().clone()));
        let asked = ProduceRequest::default()
            .with_transactional_id(Some(self.id.clone()))
            .with_acks(-1)
            .with_topic_data(vec![
                TopicProduceData::default()
                    .with_name(topic(name))
                    .with_partition_data(vec![data]),
            ]);
        let written = call!(self.client, Produce, 9, asked);
        let code = written.responses[0].partition_responses[0].error_code;
        self.sequence += i32::from(code == 0);
        code
    }

    async fn add_group(&mut self) -> i16 {
        let asked = AddOffsetsToTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(self.producer)
            .with_producer_epoch(self.epoch)
            .with_group_id(GroupId(text("g")));
        call!(self.client, AddOffsetsToTxn, 3, asked).error_code
    }

    async fn stage(&mut self, name: &str, offset: i64) -> i16 {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")));
        let asked = TxnOffsetCommitRequest::default()
            .with_transactional_id(self.id.clone())
            .with_group_id(GroupId(text("g")))
            .with_producer_id(self.producer)
            .with_producer_epoch(self.epoch)
            .with_generation_id(-1)
            .with_topics(vec![
                TxnOffsetCommitRequestTopic::default()
                    .with_name(topic(name))
                    .with_partitions(vec![partition]),
            ]);
        let staged = call!(self.client, TxnOffsetCommit, 3, asked);
        staged.topics[0].partitions[0].error_code
    }

    async fn end(&mut self, committed: bool, version: i16) -> i16 {
        let asked = EndTxnRequest::default()
            .with_transactional_id(self.id.clone())
            .with_producer_id(self.producer)
            .with_producer_epoch(self.epoch)
            .with_committed(committed);
        call!(self.client, EndTxn, version, asked).error_code
    }
}

async fn with_topics(names: &[&str]) -> Served {
    let served = Served::new().await;
    for name in names {
        let config = TopicConfig::new(1, Lifetime::Events);
        let name = TopicName::new(name).unwrap();
        served.log.create_topic(&name, config).await.unwrap();
    }
    served
}

/// What a fetch found: batches, aborted transactions, last stable offset and high watermark.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    batches: usize,
    aborted: Option<Vec<(i64, i64)>>,
    ends: (i64, i64),
}

async fn fetch(client: &mut Client, name: &str, offset: i64, isolation: i8) -> Found {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let asked = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_isolation_level(isolation)
        .with_topics(vec![
            FetchTopic::default()
                .with_topic(topic(name))
                .with_partitions(vec![partition]),
        ]);
    let fetched = call!(client, Fetch, 12, asked);
    let partition = &fetched.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let mut bytes: Bytes = partition.records.clone().unwrap();
    let mut batches = 0;
    while !bytes.is_empty() {
        RecordBatch::take(&mut bytes).unwrap();
        batches += 1;
    }
    let aborted = partition.aborted_transactions.as_ref().map(|aborted| {
        let aborted = aborted.iter();
        aborted
            .map(|it| (it.producer_id.0, it.first_offset))
            .collect()
    });
    Found {
        batches,
        aborted,
        ends: (partition.last_stable_offset, partition.high_watermark),
    }
}

async fn latest(client: &mut Client, name: &str, isolation: i8) -> i64 {
    let partition = ListOffsetsPartition::default()
        .with_timestamp(-1)
        .with_current_leader_epoch(-1);
    let asked = ListOffsetsRequest::default()
        .with_isolation_level(isolation)
        .with_topics(vec![
            ListOffsetsTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![partition]),
        ]);
    let listed = call!(client, ListOffsets, 5, asked);
    listed.topics[0].partitions[0].offset
}

async fn committed_offset(client: &mut Client, name: &str, stable: bool) -> (i64, i16) {
    let asked = OffsetFetchRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_require_stable(stable)
        .with_topics(Some(vec![
            OffsetFetchRequestTopic::default()
                .with_name(topic(name))
                .with_partition_indexes(vec![0]),
        ]));
    let fetched = call!(client, OffsetFetch, 7, asked);
    let partition = &fetched.topics[0].partitions[0];
    (partition.committed_offset, partition.error_code)
}

#[tokio::test]
async fn a_fetch_gives_what_its_isolation_allows() {
    let served = with_topics(&["t"]).await;
    let mut reader = served.client().await;
    let mut one = Writer::enroll(&served, "one", 60_000).await;
    let mut two = Writer::enroll(&served, "two", 60_000).await;
    for writer in [&mut one, &mut two] {
        assert_eq!(writer.add(&["t"], 3).await, [0]);
        assert_eq!(writer.write("t", "x").await, 0);
    }
    let found = |batches, aborted, ends| Found {
        batches,
        aborted,
        ends,
    };
    let open = fetch(&mut reader, "t", 0, COMMITTED).await;
    assert_eq!(open, found(0, Some(vec![]), (0, 2)));
    let open = fetch(&mut reader, "t", 0, UNCOMMITTED).await;
    assert_eq!(open, found(2, None, (0, 2)));
    assert_eq!(latest(&mut reader, "t", COMMITTED).await, 0);
    assert_eq!(latest(&mut reader, "t", UNCOMMITTED).await, 2);

    assert_eq!(one.end(false, 3).await, 0);
    let aborted = fetch(&mut reader, "t", 0, COMMITTED).await;
    let its = Some(vec![(one.producer.0, 0)]);
    assert_eq!(aborted, found(1, its.clone(), (1, 3)));
    assert_eq!(two.end(true, 3).await, 0);
    let ended = fetch(&mut reader, "t", 0, COMMITTED).await;
    assert_eq!(ended, found(4, its, (4, 4)));
    let rest = fetch(&mut reader, "t", 3, COMMITTED).await;
    assert_eq!(rest, found(1, Some(vec![]), (4, 4)));
    assert_eq!(latest(&mut reader, "t", COMMITTED).await, 4);
    served.stop().await;
}

#[tokio::test]
async fn offsets_of_an_open_transaction_are_unstable() {
    let served = with_topics(&["in", "out"]).await;
    let mut reader = served.client().await;
    let mut writer = Writer::enroll(&served, "tx", 60_000).await;
    let invalid = ResponseError::InvalidTxnState.code();
    assert_eq!(writer.stage("in", 3).await, invalid, "no group was added");
    assert_eq!(writer.add_group().await, 0);
    assert_eq!(writer.stage("in", 3).await, 0);
    let unstable = ResponseError::UnstableOffsetCommit.code();
    assert_eq!(
        committed_offset(&mut reader, "in", true).await,
        (-1, unstable)
    );
    assert_eq!(committed_offset(&mut reader, "in", false).await, (-1, 0));
    assert_eq!(committed_offset(&mut reader, "out", true).await, (-1, 0));
    assert_eq!(writer.end(true, 3).await, 0);
    assert_eq!(committed_offset(&mut reader, "in", true).await, (3, 0));
    let written = served
        .log
        .checkpoint(&ConsumerId::new("group/g"), &place("in"));
    assert!(written.unwrap().metadata.ends_with(b"note"));
    served.stop().await;
}

#[tokio::test]
async fn a_fenced_producer_is_told_so_in_the_words_of_its_version() {
    let served = with_topics(&["t"]).await;
    let mut zombie = Writer::enroll(&served, "tx", 60_000).await;
    assert_eq!(zombie.add(&["t"], 3).await, [0]);
    assert_eq!(zombie.write("t", "lost").await, 0);
    let mut writer = Writer::enroll(&served, "tx", 60_000).await;
    assert_eq!(writer.producer, zombie.producer);
    let fenced = ResponseError::ProducerFenced.code();
    let epoch = ResponseError::InvalidProducerEpoch.code();
    assert_eq!(zombie.add(&["t"], 1).await, [epoch]);
    assert_eq!(zombie.add(&["t"], 2).await, [fenced]);
    assert_eq!(zombie.end(true, 1).await, epoch);
    assert_eq!(zombie.end(true, 2).await, fenced);
    assert_eq!(zombie.add_group().await, fenced);
    assert_eq!(zombie.stage("t", 1).await, epoch);
    assert_eq!(zombie.write("t", "late").await, epoch);
    let again = enrolling("tx", 60_000)
        .with_producer_id(zombie.producer)
        .with_producer_epoch(zombie.epoch);
    for (version, code) in [(3, epoch), (4, fenced)] {
        let refused = call!(zombie.client, InitProducerId, version, again.clone());
        assert_eq!(refused.error_code, code);
        assert_eq!((refused.producer_id.0, refused.producer_epoch), (-1, -1));
    }
    assert_eq!(writer.add(&["t"], 3).await, [0]);
    assert_eq!(writer.write("t", "kept").await, 0);
    assert_eq!(writer.end(true, 3).await, 0);
    writer.producer = ProducerId(77);
    let unknown = ResponseError::InvalidProducerIdMapping.code();
    assert_eq!(writer.end(true, 3).await, unknown);
    served.stop().await;
}

#[tokio::test]
async fn a_transaction_whose_time_runs_out_is_aborted() {
    let served = with_topics(&["t"]).await;
    let mut writer = Writer::enroll(&served, "tx", 1).await;
    let mut tail = served.log.tail(&place("t")).unwrap();
    // It may run out before its only record is there, and then again.
    while writer.write("t", "x").await != 0 {
        writer = Writer::enroll(&served, "tx", 1).await;
        writer.add(&["t"], 3).await;
    }
    let aborted = tail.wait_for(|end| *end >= Offset::new(2)).await;
    assert_eq!(*aborted.unwrap(), Offset::new(2));
    let fenced = ResponseError::ProducerFenced.code();
    assert_eq!(writer.end(true, 3).await, fenced);
    served.stop().await;
}

#[tokio::test]
async fn a_timeout_beyond_fifteen_minutes_is_refused() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let invalid = ResponseError::InvalidTransactionTimeout.code();
    for (timeout, code) in [
        (0, invalid),
        (-1, invalid),
        (900_001, invalid),
        (900_000, 0),
        (1, 0),
    ] {
        let given = call!(client, InitProducerId, 4, enrolling("tx", timeout));
        assert_eq!(given.error_code, code, "{timeout} ms");
    }
    let nameless = call!(client, InitProducerId, 4, enrolling("", 1_000));
    let code = ResponseError::InvalidRequest.code();
    assert_eq!(nameless.error_code, code);
    let half = enrolling("tx", 1_000).with_producer_id(ProducerId(7));
    let half = call!(client, InitProducerId, 4, half);
    assert_eq!(half.error_code, code);
    served.stop().await;
}

#[tokio::test]
async fn one_partition_that_cannot_be_written_keeps_out_all_of_a_request() {
    let served = with_topics(&["t", "tidemill.usage"]).await;
    let mut writer = Writer::enroll(&served, "tx", 60_000).await;
    let refused = [
        ResponseError::OperationNotAttempted,
        ResponseError::UnknownTopicOrPartition,
        ResponseError::TopicAuthorizationFailed,
    ];
    let codes = refused.map(|error| error.code());
    assert_eq!(writer.add(&["t", "none", "tidemill.usage"], 3).await, codes);
    let invalid = ResponseError::InvalidTxnState.code();
    assert_eq!(writer.write("t", "x").await, invalid);
    assert_eq!(writer.end(true, 3).await, invalid, "nothing was begun");
    served.stop().await;
}

#[tokio::test]
async fn operators_see_who_holds_what_open() {
    let served = with_topics(&["t"]).await;
    let mut writer = Writer::enroll(&served, "open", 60_000).await;
    Writer::enroll(&served, "idle", 60_000).await;
    writer.add(&["t"], 3).await;
    writer.write("t", "x").await;
    let mut client = served.client().await;
    let list = |states: &[&str], pattern: Option<&str>| {
        ListTransactionsRequest::default()
            .with_state_filters(states.iter().map(|state| text(state)).collect())
            .with_duration_filter(-1)
            .with_transactional_id_pattern(pattern.map(text))
    };
    for (states, pattern, found) in [
        (&[][..], None, &["idle", "open"][..]),
        (&["Ongoing"], None, &["open"]),
        (&["Sleepy"], None, &[]),
        (&[], Some("id.*"), &["idle"]),
        (&[], Some("id"), &[]),
    ] {
        let listed = call!(client, ListTransactions, 2, list(states, pattern));
        let ids = listed.transaction_states.iter();
        let ids: Vec<_> = ids.map(|it| it.transactional_id.to_string()).collect();
        assert_eq!(ids, found);
        let unknown = listed.unknown_state_filters.len();
        assert_eq!(unknown, states.iter().filter(|it| **it == "Sleepy").count());
    }
    let bad = call!(client, ListTransactions, 2, list(&[], Some("(")));
    let code = ResponseError::InvalidRegularExpression.code();
    assert_eq!(bad.error_code, code);

    let ids = ["open", "idle", "nobody"].map(|id| TransactionalId(text(id)));
    let asked = DescribeTransactionsRequest::default().with_transactional_ids(ids.into());
    let described = call!(client, DescribeTransactions, 0, asked).transaction_states;
    let not_found = ResponseError::TransactionalIdNotFound.code();
    let codes: Vec<i16> = described.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [0, 0, not_found]);
    assert_eq!(described[0].transaction_state.as_str(), "Ongoing");
    assert!(described[0].transaction_start_time_ms > 0);
    assert_eq!(described[0].topics[0].partitions, [0]);
    assert_eq!(described[1].transaction_state.as_str(), "Empty");
    assert_eq!(described[1].transaction_timeout_ms, 60_000);

    let asked = DescribeProducersRequest::default().with_topics(vec![
        TopicRequest::default()
            .with_name(topic("t"))
            .with_partition_indexes(vec![0, 5]),
    ]);
    let described = call!(client, DescribeProducers, 0, asked).topics.remove(0);
    let producer = &described.partitions[0].active_producers[0];
    assert_eq!(producer.producer_id, writer.producer);
    assert_eq!(producer.last_sequence, 0);
    assert_eq!(producer.current_txn_start_offset, 0);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(described.partitions[1].error_code, unknown);
    served.stop().await;
}
