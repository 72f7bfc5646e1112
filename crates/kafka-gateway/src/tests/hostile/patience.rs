//! Clients that take their time. The clock is paused: what they wait for costs none.

use std::time::Duration;

use event::Record;
use event_log::{Lifetime, Partition, RecordBatch, Settlement, TopicConfig, TopicName};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{self, ApiKey, FetchRequest, RequestKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::super::client::{Client, Served};
use super::super::samples::{self, Subject, text};
use crate::{GatewayConfig, Login, Security};

#[tokio::test(start_paused = true)]
async fn a_request_that_arrives_drop_by_drop_is_cut_off() {
    let served = Served::new().await;
    let mut client = served.client().await;
    client.stream.write_i32(60_000).await.unwrap();
    let head = [0, 3, 0, 9, 0, 0, 0, 1];
    client.stream.write_all(&head).await.unwrap();
    let begun = Instant::now();
    while !closes_within(&mut client, Duration::from_secs(2)).await {
        client.stream.write_u8(0).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_head_that_arrives_drop_by_drop_is_cut_off() {
    let served = Served::new().await;
    let mut client = served.client().await;
    client.stream.write_u8(0).await.unwrap();
    assert!(closes_within(&mut client, Duration::from_secs(60)).await);
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_authenticates_is_cut_off_however_busy_it_is() {
    let served = Served::with(GatewayConfig {
        security: Security {
            sasl: Some(Login::new("somebody", "secret").into()),
            ..Security::default()
        },
        ..GatewayConfig::default()
    })
    .await;
    let mut silent = served.client().await;
    assert!(closes_within(&mut silent, Duration::from_secs(60)).await);

    let mut busy = served.client().await;
    let begun = Instant::now();
    let body = samples::request(ApiKey::ApiVersions, 3, &Subject::default());
    loop {
        busy.send(ApiKey::ApiVersions, 3, &body).await;
        if busy.receive_frame().await.is_none() {
            break;
        }
        if closes_within(&mut busy, Duration::from_secs(2)).await {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_with_nothing_to_say_is_cut_off() {
    let served = Served::with(GatewayConfig {
        max_idle: Duration::from_secs(90),
        ..GatewayConfig::default()
    })
    .await;
    let mut client = served.client().await;
    assert!(!closes_within(&mut client, Duration::from_secs(80)).await);
    assert!(closes_within(&mut client, Duration::from_secs(20)).await);
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_its_answers_is_cut_off() {
    let served = full().await;
    let mut client = served.client().await;
    for _ in 0..20 {
        client.send(ApiKey::Fetch, 11, &everything()).await;
    }
    // Nobody else waits for it.
    let mut other = served.client().await;
    other.call(ApiKey::Fetch, 11, &everything()).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let waited = Instant::now();
    let _: Result<(), _> = timeout(Duration::from_secs(200), std::future::pending()).await;
    assert!(waited.elapsed() >= Duration::from_secs(200));
    let mut taken = Vec::new();
    // Ends with what lay in the socket's buffers.
    let _: Result<usize, _> = client.stream.read_to_end(&mut taken).await;
    assert!(taken.len() < 2 * RECORDS, "{} bytes", taken.len());
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_drop_by_drop_is_cut_off() {
    let served = full().await;
    let mut client = served.client().await;
    client.send(ApiKey::Fetch, 11, &everything()).await;
    let begun = Instant::now();
    let mut taken = 0;
    let mut drop = vec![0; 16 << 10];
    while begun.elapsed() < Duration::from_secs(300) {
        let _: Result<(), _> = timeout(Duration::from_secs(1), std::future::pending()).await;
        match client.stream.read(&mut drop).await {
            Ok(0) | Err(_) => break,
            Ok(read) => taken += read,
        }
    }
    // The gateway has long closed; what lies in the buffers is all there is.
    let mut rest = Vec::new();
    let _: Result<usize, _> = client.stream.read_to_end(&mut rest).await;
    assert!(taken + rest.len() < RECORDS, "{taken} + {}", rest.len());
    served.stop().await;
}

/// Bytes of records in the topic of [`full`]: more than fits the buffers of a socket.
const RECORDS: usize = 16 << 20;

/// A gateway over a log with many bytes.
async fn full() -> Served {
    let served = Served::new().await;
    let name = TopicName::new("full").unwrap();
    let config = TopicConfig::new(1, Lifetime::Events);
    served.log.create_topic(&name, config).await.unwrap();
    let record = Record::new(
        vec![7; 1 << 20],
        clock::Timestamp::from_millis(1_795_000_000_000),
    );
    let batch = RecordBatch::of_one(record);
    for _ in 0..RECORDS >> 20 {
        let place = name.partition(Partition::new(0));
        let settlement = Settlement::of(place, batch.clone());
        served.log.commit(settlement).await.unwrap();
    }
    served
}

fn everything() -> RequestKind {
    let topic = FetchTopic::default()
        .with_topic(messages::TopicName(text("full")))
        .with_partitions(vec![
            FetchPartition::default().with_partition_max_bytes(64 << 20),
        ]);
    let fetch = FetchRequest::default()
        .with_min_bytes(1)
        .with_max_bytes(64 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    RequestKind::Fetch(fetch)
}

/// Whether the gateway closes the connection within a time.
async fn closes_within(client: &mut Client, time: Duration) -> bool {
    timeout(time, client.stream.read_u8()).await.is_ok()
}
