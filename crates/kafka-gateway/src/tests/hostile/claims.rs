//! Small requests that ask for much memory.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, CreatePartitionsRequest, CreateTopicsRequest, FetchRequest, GroupId, JoinGroupRequest,
    MetadataRequest, RequestKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::super::client::{Client, Served, call};
use super::super::samples::{self, Subject, text};
use super::alone::{Growth, alone};

/// Produce requests of which little more than the head arrives.
async fn liars(served: &Served) -> Vec<Client> {
    let mut liars = Vec::new();
    for claimed in [100 << 20, 2 << 20, 16 << 20].iter().cycle().take(300) {
        let mut liar = served.client().await;
        liar.stream.write_i32(*claimed).await.unwrap();
        let head = [0, 0, 0, 9, 0, 0, 0, 1];
        liar.stream.write_all(&head).await.unwrap();
        liar.stream.write_all(&[0; 1_000]).await.unwrap();
        liars.push(liar);
    }
    liars
}

#[test]
fn frames_that_claim_much_and_send_little_take_no_memory() {
    let test = "tests::hostile::claims::frames_that_claim_much_and_send_little_take_no_memory";
    alone(test, || async {
        let served = Served::new().await;
        let mut honest = served.client().await;
        let growth = Growth::begin();
        let liars = liars(&served).await;
        create(&mut honest, "honest", 1).await;
        growth.assert_within(64 << 20, "claims of frames");
        drop(liars);
        served.stop().await;
    });
}

#[tokio::test(start_paused = true)]
async fn frames_that_claim_much_and_send_little_hold_up_nobody() {
    let served = Served::new().await;
    let mut honest = served.client().await;
    let begun = Instant::now();
    let liars = liars(&served).await;
    create(&mut honest, "honest", 1).await;
    let subject = Subject {
        topic: "honest",
        records: Bytes::from(vec![0xff; 3 << 20]),
        ..Subject::default()
    };
    // It is refused for what it holds, not for want of room.
    let body = samples::request(ApiKey::Produce, 9, &subject);
    honest.call(ApiKey::Produce, 9, &body).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "{begun:?}");
    drop(liars);
    served.stop().await;
}

#[test]
fn requests_of_many_parts_that_pile_up_behind_another_take_bounded_memory() {
    let test = "tests::hostile::claims::\
                requests_of_many_parts_that_pile_up_behind_another_take_bounded_memory";
    alone(test, || async {
        let served = Served::new().await;
        let mut honest = served.client().await;
        create(&mut honest, "honest", 1).await;
        let growth = Growth::begin();
        let many = many_groups();
        let mut hostile = Vec::new();
        for _ in 0..8 {
            let mut client = served.client().await;
            client.send(ApiKey::Fetch, 11, &long_poll("honest")).await;
            let frames = many.clone();
            let writing = tokio::spawn(async move {
                for _ in 0..60 {
                    // The gateway takes no more when it has enough; that is as good as an error.
                    if client.stream.write_all(&frames).await.is_err() {
                        break;
                    }
                }
                client
            });
            hostile.push(writing);
        }
        for _ in 0..50 {
            create(&mut honest, "honest", 1).await;
        }
        growth.assert_within(192 << 20, "requests that wait");
        for writing in hostile {
            writing.abort();
        }
        served.stop().await;
    });
}

#[test]
fn a_thing_named_a_hundred_thousand_times_is_answered_once() {
    let test = "tests::hostile::claims::a_thing_named_a_hundred_thousand_times_is_answered_once";
    alone(test, || async {
        let served = Served::new().await;
        let mut client = served.client().await;
        create(&mut client, "wide", 10_000).await;
        let growth = Growth::begin();
        let wide = MetadataRequestTopic::default().with_name(Some(name("wide")));
        let request = MetadataRequest::default().with_topics(Some(vec![wide; 49_000]));
        let answer = call!(client, Metadata, 9, request);
        assert_eq!(answer.topics.len(), 1);
        assert_eq!(answer.topics[0].partitions.len(), 10_000);
        growth.assert_within(128 << 20, "a topic named often");
        served.stop().await;
    });
}

#[test]
fn partitions_are_created_up_to_a_limit_in_all() {
    let test = "tests::hostile::claims::partitions_are_created_up_to_a_limit_in_all";
    alone(test, || async {
        let served = Served::new().await;
        let mut client = served.client().await;
        let topics = (0..1_000).map(|number| {
            CreatableTopic::default()
                .with_name(name(&format!("many-{number}")))
                .with_num_partitions(10_000)
                .with_replication_factor(1)
        });
        let request = CreateTopicsRequest::default().with_topics(topics.collect());
        let answer = call!(client, CreateTopics, 4, request);
        let created = answer.topics.iter().filter(|topic| topic.error_code == 0);
        assert_eq!(created.count(), 20);
        create(&mut client, "one-more", 1).await;
        let asked = MetadataRequestTopic::default().with_name(Some(name("made-on-use")));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(true);
        let answer = call!(client, Metadata, 9, request);
        assert_eq!(answer.topics[0].error_code, 44, "policy violation");
        let wider = CreatePartitionsTopic::default()
            .with_name(name("one-more"))
            .with_count(2);
        let request = CreatePartitionsRequest::default().with_topics(vec![wider]);
        let answer = call!(client, CreatePartitions, 1, request);
        assert_ne!(answer.results[0].error_code, 0);
        served.stop().await;
    });
}

#[test]
fn groups_keep_no_more_of_a_request_than_they_need() {
    let test = "tests::hostile::claims::groups_keep_no_more_of_a_request_than_they_need";
    alone(test, || async {
        let served = Served::new().await;
        let growth = Growth::begin();
        let reason = StrBytes::from_string("x".repeat(15 << 20));
        let mut waiting = Vec::new();
        for number in 0..60 {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"m"));
            let join = JoinGroupRequest::default()
                .with_group_id(GroupId(text(&format!("group-{number}"))))
                .with_session_timeout_ms(60_000)
                .with_rebalance_timeout_ms(60_000)
                .with_protocol_type(text("consumer"))
                .with_group_instance_id(Some(text("static")))
                .with_protocols(vec![protocol])
                .with_reason(Some(reason.clone()));
            let mut client = served.client().await;
            call!(client, JoinGroup, 8, join);
            waiting.push(client);
        }
        growth.assert_within(256 << 20, "what groups keep");
        drop(waiting);
        served.stop().await;
    });
}

#[tokio::test]
async fn names_that_are_paths_or_too_long_are_refused() {
    let served = Served::new().await;
    let mut client = served.client().await;
    let long = "x".repeat(250);
    let names = ["", ".", "..", "../../etc/passwd", "a/b", "a\0b", "ü", &long];
    let topics = names.map(|text| {
        CreatableTopic::default()
            .with_name(name(text))
            .with_num_partitions(1)
            .with_replication_factor(1)
    });
    let request = CreateTopicsRequest::default().with_topics(topics.to_vec());
    let answer = call!(client, CreateTopics, 4, request);
    for topic in answer.topics {
        assert_eq!(topic.error_code, 17, "{:?} is invalid", topic.name);
    }
    let asked = names.map(|text| MetadataRequestTopic::default().with_name(Some(name(text))));
    let request = MetadataRequest::default()
        .with_topics(Some(asked.to_vec()))
        .with_allow_auto_topic_creation(true);
    let answer = call!(client, Metadata, 9, request);
    for topic in answer.topics {
        assert_eq!(topic.error_code, 17, "{:?} is invalid", topic.name);
    }
    let long = GroupId(text(&"g".repeat(1_025)));
    let join = JoinGroupRequest::default()
        .with_group_id(long)
        .with_session_timeout_ms(6_000);
    let answer = call!(client, JoinGroup, 5, join);
    assert_eq!(answer.error_code, 24, "invalid group id");
    assert!(served.log.topics().is_empty());
    served.stop().await;
}

/// A DeleteGroups request with as many elements as are taken, and as little else.
fn many_groups() -> Vec<u8> {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    frame.put_i16(ApiKey::DeleteGroups as i16);
    frame.put_i16(2);
    frame.put_i32(1);
    frame.put_i16(-1);
    frame.put_u8(0);
    // 99,999 names as a varint of one more.
    frame.put_slice(&[0xa0, 0x8d, 0x06]);
    frame.put_bytes(1, 99_999);
    frame.put_u8(0);
    let len = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&len.to_be_bytes());
    frame.to_vec()
}

fn long_poll(topic: &str) -> RequestKind {
    let topic = FetchTopic::default()
        .with_topic(name(topic))
        .with_partitions(vec![
            FetchPartition::default().with_partition_max_bytes(1 << 20),
        ]);
    let fetch = FetchRequest::default()
        .with_max_wait_ms(60_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    RequestKind::Fetch(fetch)
}

/// Creates a topic, unless it is there.
async fn create(client: &mut Client, topic: &str, partitions: i32) {
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]);
    call!(client, CreateTopics, 4, request);
}

fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}
