//! What is read, and when.

use super::*;

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
