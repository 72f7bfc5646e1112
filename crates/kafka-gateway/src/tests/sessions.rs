//! Incremental fetch sessions.

use std::time::Duration;

use event::Record;
use event_log::{Lifetime, Partition, RecordBatch, Settlement, TopicConfig, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::{self, *};

use super::client::{Client, Served, call};
use super::samples::text;

/// A fetch of the session `(id, epoch)` that names partitions with their offsets.
fn fetch((id, epoch): (i32, i32), partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions.iter().map(|(index, offset)| {
        FetchPartition::default()
            .with_partition(*index)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(1 << 20)
    });
    let partitions: Vec<_> = partitions.collect();
    let topic = FetchTopic::default()
        .with_topic(messages::TopicName(text("t")))
        .with_partitions(partitions);
    let topics = if topic.partitions.is_empty() {
        vec![]
    } else {
        vec![topic]
    };
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_id(id)
        .with_session_epoch(epoch)
        .with_topics(topics)
}

/// Partitions of an answer, with whether they hold records.
fn partitions(response: &FetchResponse) -> Vec<(i32, bool)> {
    let topics = response.responses.iter();
    let partitions = topics.flat_map(|topic| &topic.partitions);
    partitions
        .map(|data| {
            let records = data.records.as_ref();
            (
                data.partition_index,
                records.is_some_and(|records| !records.is_empty()),
            )
        })
        .collect()
}

async fn served() -> (Served, Client) {
    let served = Served::new().await;
    let config = TopicConfig::new(3, Lifetime::Events);
    let name = TopicName::new("t").unwrap();
    served.log.create_topic(&name, config).await.unwrap();
    let client = served.client().await;
    (served, client)
}

async fn append(served: &Served, partition: u32) {
    let record = Record::new("x", clock::Timestamp::from_millis(1));
    let place = TopicName::new("t")
        .unwrap()
        .partition(Partition::new(partition));
    let settlement = Settlement::of(place, RecordBatch::of_one(record));
    served.log.commit(settlement).await.unwrap();
}

#[tokio::test]
async fn a_session_remembers_partitions_and_answers_only_what_is_new() {
    let (served, mut client) = served().await;
    append(&served, 1).await;
    let first = call!(client, Fetch, 12, fetch((0, 0), &[(0, 0), (1, 0), (2, 0)]));
    let id = first.session_id;
    assert_ne!(id, 0);
    assert_eq!(partitions(&first), [(0, false), (1, true), (2, false)]);
    // The client has read on in partition 1; nothing has happened elsewhere.
    let second = call!(client, Fetch, 12, fetch((id, 1), &[(1, 1)]));
    assert_eq!((second.error_code, second.session_id), (0, id));
    assert_eq!(partitions(&second), []);
    append(&served, 2).await;
    let third = call!(client, Fetch, 12, fetch((id, 2), &[]));
    assert_eq!(partitions(&third), [(2, true)]);
    // What was not read on from comes again.
    let fourth = call!(client, Fetch, 12, fetch((id, 3), &[]));
    assert_eq!(partitions(&fourth), [(2, true)]);
    let mut forget = fetch((id, 4), &[]);
    forget.forgotten_topics_data = vec![
        ForgottenTopic::default()
            .with_topic(messages::TopicName(text("t")))
            .with_partitions(vec![2]),
    ];
    let fifth = call!(client, Fetch, 12, forget);
    assert_eq!(partitions(&fifth), []);
    served.stop().await;
}

#[tokio::test]
async fn a_session_is_known_by_its_id_and_epoch_on_its_own_connection() {
    let (served, mut client) = served().await;
    let first = call!(client, Fetch, 12, fetch((0, 0), &[(0, 0)]));
    let id = first.session_id;
    let mut other = served.client().await;
    let not_found = ResponseError::FetchSessionIdNotFound.code();
    let elsewhere = call!(other, Fetch, 12, fetch((id, 1), &[]));
    assert_eq!(elsewhere.error_code, not_found);
    let early = call!(client, Fetch, 12, fetch((id, 2), &[]));
    assert_eq!(
        early.error_code,
        ResponseError::InvalidFetchSessionEpoch.code()
    );
    let right = call!(client, Fetch, 12, fetch((id, 1), &[]));
    assert_eq!(right.error_code, 0);
    // A client that closes its session is answered without one.
    let last = call!(client, Fetch, 12, fetch((id, -1), &[(0, 0)]));
    assert_eq!((last.error_code, last.session_id), (0, 0));
    let gone = call!(client, Fetch, 12, fetch((id, 2), &[]));
    assert_eq!(gone.error_code, not_found);
    served.stop().await;
}

#[tokio::test]
async fn a_waiting_fetch_of_a_session_is_woken_by_an_append() {
    let (served, mut client) = served().await;
    let first = call!(client, Fetch, 12, fetch((0, 0), &[(0, 0), (1, 0)]));
    let mut waiting = fetch((first.session_id, 1), &[]);
    waiting.max_wait_ms = i32::try_from(Duration::from_secs(60).as_millis()).unwrap();
    waiting.min_bytes = 1;
    let body = RequestKind::Fetch(waiting);
    client.send(ApiKey::Fetch, 12, &body).await;
    append(&served, 1).await;
    let (_, answer) = client.receive(ApiKey::Fetch, 12).await;
    let kafka_protocol::messages::ResponseKind::Fetch(answer) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(partitions(&answer), [(1, true)]);
    served.stop().await;
}

#[tokio::test]
async fn partitions_that_gave_records_wait_for_the_others() {
    let (served, mut client) = served().await;
    for partition in 0..3 {
        append(&served, partition).await;
    }
    let mut first = fetch((0, 0), &[(0, 0), (1, 0), (2, 0)]);
    // One batch fills the answer.
    first.max_bytes = 1;
    let first = call!(client, Fetch, 12, first);
    let mut order = vec![partitions(&first)];
    for epoch in 1..3 {
        let mut next = fetch((first.session_id, epoch), &[]);
        next.max_bytes = 1;
        order.push(partitions(&call!(client, Fetch, 12, next)));
    }
    let filled = |answer: &Vec<(i32, bool)>| answer.iter().find(|(_, has)| *has).map(|(p, _)| *p);
    let filled: Vec<_> = order.iter().map(filled).collect();
    assert_eq!(filled, [Some(0), Some(1), Some(2)]);
    served.stop().await;
}
