//! Producing and fetching.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use clock::Timestamp;
use event::Record;
use event_log::{Lifetime, Partition, RecordBatch, Settlement, TopicConfig, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{self, *};

use super::client::{Client, Served, call};
use super::samples::text;

fn topic(name: &str) -> messages::TopicName {
    messages::TopicName(text(name))
}

fn batch(values: &[&str]) -> RecordBatch {
    let records = values.iter().enumerate().map(|(index, value)| {
        let time = Timestamp::from_millis(1_000 + i64::try_from(index).unwrap());
        Record::new((*value).to_owned(), time)
    });
    RecordBatch::of(&records.collect::<Vec<_>>()).unwrap()
}

fn produce(name: &str, index: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default()
        .with_index(index)
        .with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(topic(name))
        .with_partition_data(vec![data]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![topic])
}

fn outcome(response: &ProduceResponse) -> (i16, i64) {
    let partition = &response.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

fn fetch(name: &str, offset: i64, wait: Duration) -> FetchRequest {
    let partition = FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic(name))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap())
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

fn values(response: &FetchResponse) -> Vec<String> {
    let partition = &response.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    let mut bytes = partition.records.clone().unwrap();
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let batch = RecordBatch::take(&mut bytes).unwrap();
        for stored in batch.records().unwrap() {
            let value = stored.record.value.unwrap();
            values.push(String::from_utf8(value.to_vec()).unwrap());
        }
    }
    values
}

async fn with_topic(name: &str) -> (Served, Client) {
    let served = Served::new().await;
    let config = TopicConfig::new(1, Lifetime::Events);
    let name = TopicName::new(name).unwrap();
    served.log.create_topic(&name, config).await.unwrap();
    let client = served.client().await;
    (served, client)
}

async fn append(served: &Served, name: &str, batch: &RecordBatch) {
    let place = TopicName::new(name).unwrap().partition(Partition::new(0));
    let settlement = Settlement::of(place, batch.clone());
    served.log.commit(settlement).await.unwrap();
}

#[tokio::test]
async fn what_was_produced_is_fetched_unchanged() {
    let (served, mut client) = with_topic("t").await;
    let sent = batch(&["a", "b", "c"]);
    let first = call!(client, Produce, 9, produce("t", 0, sent.as_bytes().clone()));
    assert_eq!(outcome(&first), (0, 0));
    let second = call!(client, Produce, 9, produce("t", 0, sent.as_bytes().clone()));
    assert_eq!(outcome(&second), (0, 3));
    let fetched = call!(client, Fetch, 12, fetch("t", 0, Duration::ZERO));
    assert_eq!(values(&fetched), ["a", "b", "c", "a", "b", "c"]);
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 6);
    served.stop().await;
}

#[tokio::test]
async fn a_topic_is_created_on_first_use_with_the_default_partitions() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let ask = |allow| {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic("new")));
        MetadataRequest::default()
            .with_topics(Some(vec![wanted]))
            .with_allow_auto_topic_creation(allow)
    };
    let refused = call!(client, Metadata, 9, ask(false));
    assert_eq!(refused.topics[0].error_code, 3);
    let created = call!(client, Metadata, 9, ask(true));
    assert_eq!(created.topics[0].error_code, 0);
    assert_eq!(created.topics[0].partitions.len(), 8);
    let port = i32::from(served.address.port());
    assert_eq!(created.brokers[0].port, port);
    served.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (served, mut client) = with_topic("t").await;
    let mut sent = Vec::new();
    for index in 0..100 {
        let body = if index % 10 == 7 {
            RequestKind::Fetch(fetch("t", 0, Duration::ZERO))
        } else {
            let value = index.to_string();
            let batch = batch(&[&value]);
            RequestKind::Produce(produce("t", 0, batch.as_bytes().clone()))
        };
        let (api, version) = match &body {
            RequestKind::Fetch(_) => (ApiKey::Fetch, 12),
            _ => (ApiKey::Produce, 9),
        };
        sent.push((client.send(api, version, &body).await, api, version));
    }
    let mut next = 0;
    for (correlation, api, version) in sent {
        let (answered, body) = client.receive(api, version).await;
        assert_eq!(answered, correlation);
        match body {
            ResponseKind::Produce(response) => {
                assert_eq!(outcome(&response), (0, next));
                next += 1;
            }
            ResponseKind::Fetch(response) => {
                let seen = i64::try_from(values(&response).len()).unwrap();
                assert_eq!(
                    seen, next,
                    "a fetch sees the writes sent before it, no later ones"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn a_waiting_fetch_is_woken_by_an_append() {
    let (served, mut client) = with_topic("t").await;
    let body = RequestKind::Fetch(fetch("t", 0, Duration::from_secs(600)));
    client.send(ApiKey::Fetch, 12, &body).await;
    // The fetch may come before or after the append: either way it must not wait for its deadline.
    tokio::task::yield_now().await;
    append(&served, "t", &batch(&["wake"])).await;
    let (_, response) = client.receive(ApiKey::Fetch, 12).await;
    let ResponseKind::Fetch(response) = response else {
        panic!("{response:?}");
    };
    assert_eq!(values(&response), ["wake"]);
    served.stop().await;
}

#[tokio::test]
async fn a_waiting_fetch_ends_when_its_topic_is_deleted() {
    let (served, mut client) = with_topic("t").await;
    let body = RequestKind::Fetch(fetch("t", 0, Duration::from_secs(600)));
    client.send(ApiKey::Fetch, 12, &body).await;
    let name = TopicName::new("t").unwrap();
    served.log.delete_topic(&name).await.unwrap();
    let (_, response) = client.receive(ApiKey::Fetch, 12).await;
    let ResponseKind::Fetch(response) = response else {
        panic!("{response:?}");
    };
    assert_eq!(response.responses[0].partitions[0].error_code, 3);
    served.stop().await;
}

#[tokio::test]
async fn a_waiting_fetch_is_answered_when_the_gateway_stops() {
    let (served, mut client) = with_topic("t").await;
    let body = RequestKind::Fetch(fetch("t", 0, Duration::from_secs(600)));
    client.send(ApiKey::Fetch, 12, &body).await;
    // An answer to a request behind the fetch could not come; one in front shows it was read.
    tokio::time::timeout(Duration::from_secs(20), served.stop())
        .await
        .expect("a long poll does not hold up the stop");
}

#[tokio::test]
async fn a_fetch_waits_for_as_many_bytes_as_it_asks_for() {
    let (served, mut client) = with_topic("t").await;
    let one = batch(&["x"]);
    let three = i32::try_from(one.as_bytes().len() * 3).unwrap();
    let asked = fetch("t", 0, Duration::from_secs(600)).with_min_bytes(three);
    client
        .send(ApiKey::Fetch, 12, &RequestKind::Fetch(asked))
        .await;
    for _ in 0..3 {
        append(&served, "t", &one).await;
    }
    let (_, response) = client.receive(ApiKey::Fetch, 12).await;
    let ResponseKind::Fetch(response) = response else {
        panic!("{response:?}");
    };
    assert_eq!(values(&response).len(), 3);
    served.stop().await;
}

#[tokio::test]
async fn a_batch_above_the_limits_is_fetched_whole_and_alone() {
    let (served, mut client) = with_topic("t").await;
    let large = batch(&[&"x".repeat(100_000)]);
    append(&served, "t", &large).await;
    append(&served, "t", &batch(&["small"])).await;
    let mut asked = fetch("t", 0, Duration::ZERO).with_max_bytes(100);
    asked.topics[0].partitions[0].partition_max_bytes = 100;
    let fetched = call!(client, Fetch, 12, asked);
    let fetched = values(&fetched);
    assert_eq!(fetched.len(), 1);
    assert_eq!(fetched[0].len(), 100_000);
    served.stop().await;
}

#[tokio::test]
async fn a_fetch_by_topic_id_finds_topics_made_after_the_first_look() {
    let (served, mut client) = with_topic("first").await;
    for name in ["first", "second"] {
        let config = TopicConfig::new(1, Lifetime::Events);
        let name = TopicName::new(name).unwrap();
        let made = served.log.ensure_topic(&name, config).await.unwrap();
        append(&served, name.as_str(), &batch(&[name.as_str()])).await;
        let mut asked = fetch("", 0, Duration::ZERO);
        asked.topics[0].topic_id = made.id;
        let fetched = call!(client, Fetch, 16, asked);
        assert_eq!(values(&fetched), [name.as_str()]);
    }
    let mut asked = fetch("", 0, Duration::ZERO);
    asked.topics[0].topic_id = uuid::Uuid::from_u128(1);
    let refused = call!(client, Fetch, 16, asked);
    let code = refused.responses[0].partitions[0].error_code;
    assert_eq!(code, ResponseError::UnknownTopicId.code());
    served.stop().await;
}

#[tokio::test]
async fn an_offset_outside_the_partition_is_refused() {
    let (served, mut client) = with_topic("t").await;
    for offset in [-1, 1, i64::MAX] {
        let refused = call!(
            client,
            Fetch,
            12,
            fetch("t", offset, Duration::from_secs(600))
        );
        assert_eq!(refused.responses[0].partitions[0].error_code, 1, "{offset}");
    }
    served.stop().await;
}

#[tokio::test]
async fn clients_cannot_write_create_or_delete_our_topics_but_read_them() {
    let (served, mut client) = with_topic("tidemill.billing").await;
    append(&served, "tidemill.billing", &batch(&["bill"])).await;
    let denied = ResponseError::TopicAuthorizationFailed.code();

    let records = batch(&["forged"]).as_bytes().clone();
    let written = call!(client, Produce, 9, produce("tidemill.billing", 0, records));
    assert_eq!(outcome(&written), (denied, -1));

    let asked = CreatableTopic::default()
        .with_name(topic("bucket.mine"))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let asked = CreateTopicsRequest::default().with_topics(vec![asked]);
    let created = call!(client, CreateTopics, 7, asked);
    assert_eq!(created.topics[0].error_code, denied);

    let asked = DeleteTopicsRequest::default().with_topic_names(vec![topic("tidemill.billing")]);
    let deleted = call!(client, DeleteTopics, 5, asked);
    assert_eq!(deleted.responses[0].error_code, denied);

    let wanted = MetadataRequestTopic::default().with_name(Some(topic("bucket.mine")));
    let asked = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let described = call!(client, Metadata, 9, asked);
    assert_eq!(
        described.topics[0].error_code, 3,
        "not created on first use"
    );

    let fetched = call!(
        client,
        Fetch,
        12,
        fetch("tidemill.billing", 0, Duration::ZERO)
    );
    assert_eq!(values(&fetched), ["bill"]);
    served.stop().await;
}

#[tokio::test]
async fn a_hidden_topic_answers_like_one_that_does_not_exist() {
    let (served, mut client) = with_topic("bucket.tidemill-registry").await;
    append(&served, "bucket.tidemill-registry", &batch(&["secret"])).await;
    let hidden = TopicName::new("bucket.tidemill-registry").unwrap();
    let id = served.log.topic(&hidden).unwrap().id;
    let unknown = ResponseError::UnknownTopicOrPartition.code();

    for name in ["bucket.tidemill-registry", "bucket.tidemill-absent"] {
        let fetched = call!(client, Fetch, 12, fetch(name, 0, Duration::ZERO));
        let partition = &fetched.responses[0].partitions[0];
        assert_eq!(partition.error_code, unknown);
        assert!(partition.records.as_ref().is_none_or(Bytes::is_empty));

        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let offsets = ListOffsetsTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition]);
        let offsets = ListOffsetsRequest::default().with_topics(vec![offsets]);
        let listed = call!(client, ListOffsets, 7, offsets);
        assert_eq!(listed.topics[0].partitions[0].error_code, unknown);

        for create in [false, true] {
            let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
            let by_name = MetadataRequest::default()
                .with_topics(Some(vec![wanted]))
                .with_allow_auto_topic_creation(create);
            let described = call!(client, Metadata, 12, by_name);
            assert_eq!(described.topics[0].error_code, unknown);
            assert!(described.topics[0].partitions.is_empty());
        }
    }
    let mut by_id = fetch("", 0, Duration::ZERO);
    by_id.topics[0].topic_id = id;
    let fetched = call!(client, Fetch, 13, by_id);
    assert_eq!(
        fetched.responses[0].partitions[0].error_code,
        ResponseError::UnknownTopicId.code()
    );
    let all = MetadataRequest::default().with_topics(None);
    let described = call!(client, Metadata, 12, all);
    assert!(described.topics.is_empty());
    served.stop().await;
}

#[tokio::test]
async fn path_like_topic_names_are_refused() {
    let served = Served::new().await;
    let mut client = served.client().await;
    for name in ["../etc", "a/b", "..", ""] {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic(name)));
        let asked = MetadataRequest::default().with_topics(Some(vec![wanted]));
        let described = call!(client, Metadata, 9, asked);
        assert_eq!(described.topics[0].error_code, 17, "{name}");
        let written = call!(client, Produce, 9, produce(name, 0, Bytes::new()));
        assert_eq!(outcome(&written), (17, -1), "{name}");
    }
    assert!(served.log.topics().is_empty());
    served.stop().await;
}

#[tokio::test]
async fn batches_that_lie_are_refused_and_nothing_is_written() {
    let (served, mut client) = with_topic("t").await;
    let good = batch(&["a", "b"]);
    let mut flipped = BytesMut::from(&good.as_bytes()[..]);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let mut twice = BytesMut::from(&good.as_bytes()[..]);
    twice.extend_from_slice(good.as_bytes());
    // The records' own lengths are wrong under a checksum that is right.
    let mut garbled = BytesMut::from(&good.as_bytes()[..]);
    garbled[61] ^= 0x7f;
    checksum(&mut garbled);
    let mut transactional = BytesMut::from(&good.as_bytes()[..]);
    transactional[22] |= 0x10;
    checksum(&mut transactional);
    let invalid = ResponseError::InvalidRecord.code();
    for (records, code) in [
        (flipped, invalid),
        (twice, invalid),
        (garbled, invalid),
        (transactional, invalid),
        (BytesMut::new(), invalid),
    ] {
        let refused = call!(client, Produce, 9, produce("t", 0, records.freeze()));
        assert_eq!(outcome(&refused), (code, -1));
    }
    let fetched = call!(client, Fetch, 12, fetch("t", 0, Duration::ZERO));
    assert!(values(&fetched).is_empty());
    served.stop().await;
}

/// Writes a batch's checksum anew (CRC32C over everything from the attributes on).
fn checksum(batch: &mut [u8]) {
    let mut crc = !0u32;
    for byte in &batch[21..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    batch[17..21].copy_from_slice(&(!crc).to_be_bytes());
}

#[tokio::test]
async fn a_repeated_batch_of_an_idempotent_producer_is_written_once() {
    let (served, mut client) = with_topic("t").await;
    let given = call!(
        client,
        InitProducerId,
        4,
        InitProducerIdRequest::default().with_transactional_id(None)
    );
    assert_eq!(given.error_code, 0);
    let with_sequence = |sequence: i32| {
        let mut bytes = BytesMut::from(&batch(&["once"]).as_bytes()[..]);
        bytes[43..51].copy_from_slice(&given.producer_id.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&given.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        checksum(&mut bytes);
        produce("t", 0, bytes.freeze())
    };
    for _ in 0..2 {
        let written = call!(client, Produce, 9, with_sequence(0));
        assert_eq!(outcome(&written), (0, 0));
    }
    let gap = call!(client, Produce, 9, with_sequence(5));
    let code = ResponseError::OutOfOrderSequenceNumber.code();
    assert_eq!(outcome(&gap), (code, -1));
    let fetched = call!(client, Fetch, 12, fetch("t", 0, Duration::ZERO));
    assert_eq!(values(&fetched), ["once"]);
    served.stop().await;
}

#[tokio::test]
async fn unheard_writes_are_written_even_when_the_client_leaves_at_once() {
    let (served, mut client) = with_topic("t").await;
    let mut tail = {
        let place = TopicName::new("t").unwrap().partition(Partition::new(0));
        served.log.tail(&place).unwrap()
    };
    let asked = produce("t", 0, batch(&["unheard"]).as_bytes().clone()).with_acks(0);
    client
        .send(ApiKey::Produce, 9, &RequestKind::Produce(asked))
        .await;
    drop(client);
    let written = tail.wait_for(|end| end.get() == 1);
    written.await.expect("the topic is still there");
    served.stop().await;
}

#[tokio::test]
async fn an_unheard_write_that_is_refused_closes_the_connection() {
    let (served, mut client) = with_topic("t").await;
    let asked = produce("absent", 0, batch(&["x"]).as_bytes().clone()).with_acks(0);
    client
        .send(ApiKey::Produce, 9, &RequestKind::Produce(asked))
        .await;
    assert_eq!(client.receive_frame().await, None);
    served.stop().await;
}

#[tokio::test]
async fn offsets_are_found_by_time_to_the_record() {
    let (served, mut client) = with_topic("t").await;
    append(&served, "t", &batch(&["1000", "1001", "1002"])).await;
    append(&served, "t", &batch(&["1000 again", "1001 again"])).await;
    let find = |timestamp| {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![partition]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    };
    for (timestamp, offset, time) in [
        (-1, 5, -1),
        (-2, 0, -1),
        (-3, 2, 1_002),
        (0, 0, 1_000),
        (1_001, 1, 1_001),
        (1_002, 2, 1_002),
        (1_003, -1, -1),
    ] {
        let found = call!(client, ListOffsets, 7, find(timestamp));
        let found = &found.topics[0].partitions[0];
        assert_eq!(
            (found.offset, found.timestamp),
            (offset, time),
            "{timestamp}"
        );
    }
    served.stop().await;
}
