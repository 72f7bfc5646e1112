//! Committed offsets that go, by request and by age, and what partitions take.

use std::sync::Arc;
use std::time::Duration;

use clock::{ManualClock, Timestamp};
use event::Record;
use event_log::{
    ConsumerId, EventLog, Lifetime, MemoryLog, Partition, RecordBatch, Settlement, TopicConfig,
    TopicName,
};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::{self, *};
use tokio::time::{Instant, sleep_until};

use super::client::{Client, Served, call};
use super::groups::{commit, enter, group, with_topic};
use super::samples::text;
use crate::GatewayConfig;

const DAY: Duration = Duration::from_secs(24 * 3_600);

fn deletion(places: &[(&str, i32)]) -> OffsetDeleteRequest {
    let topics = places.iter().map(|(topic, index)| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(*index);
        OffsetDeleteRequestTopic::default()
            .with_name(messages::TopicName(text(topic)))
            .with_partitions(vec![partition])
    });
    OffsetDeleteRequest::default()
        .with_group_id(group("g"))
        .with_topics(topics.collect())
}

/// The code of the whole, or those of the partitions.
async fn deleted(client: &mut Client, places: &[(&str, i32)]) -> Vec<i16> {
    let answer = call!(client, OffsetDelete, 0, deletion(places));
    if answer.error_code != 0 {
        return vec![answer.error_code];
    }
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|it| it.error_code).collect()
}

#[tokio::test]
async fn single_offsets_of_a_group_are_deleted() {
    let (served, mut client) = with_topic().await;
    let missing = deleted(&mut client, &[("t", 0)]).await;
    assert_eq!(missing, [ResponseError::GroupIdNotFound.code()]);
    call!(client, OffsetCommit, 8, commit(7));
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let codes = deleted(&mut client, &[("absent", 0), ("t", 900), ("t", 0)]).await;
    assert_eq!(codes, [unknown, unknown, 0]);
    assert_eq!(served.log.consumers(), []);
    served.stop().await;
}

#[tokio::test]
async fn offsets_of_topics_that_members_read_are_not_deleted() {
    let (served, mut client) = with_topic().await;
    call!(client, OffsetCommit, 8, commit(7));
    // What its member says of itself is not what consumers say.
    enter(&mut client, 9).await;
    let codes = deleted(&mut client, &[("t", 0)]).await;
    assert_eq!(codes, [ResponseError::NonEmptyGroup.code()]);
    served.stop().await;

    for (reads, code) in [
        ("t", ResponseError::GroupSubscribedToTopic.code()),
        ("u", 0),
    ] {
        let (served, mut client) = with_topic().await;
        call!(client, OffsetCommit, 8, commit(7));
        let subscription = [&[0, 0, 0, 0, 0, 1, 0, 1], reads.as_bytes(), &[0xff; 4]].concat();
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(subscription.into());
        let join = JoinGroupRequest::default()
            .with_group_id(group("g"))
            .with_session_timeout_ms(30_000)
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        call!(client, JoinGroup, 3, join);
        assert_eq!(deleted(&mut client, &[("t", 0)]).await, [code]);
        served.stop().await;
    }
}

/// A day of the clock, and as much of the runtime's time, which is paused.
async fn pass(clock: &ManualClock, days: u32) {
    for _ in 0..days {
        clock.advance(DAY);
        sleep_until(Instant::now() + DAY).await;
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_of_an_unused_group_go_after_their_retention_even_across_restarts() {
    let log = MemoryLog::new();
    let name = TopicName::new("t").unwrap();
    let config = TopicConfig::new(1, Lifetime::Events);
    log.create_topic(&name, config).await.unwrap();
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(
        1_795_000_000_000,
    )));
    let config = || GatewayConfig {
        clock: clock.clone(),
        ..GatewayConfig::default()
    };
    let consumers = || log.consumers();

    let served = Served::over(log.clone(), config()).await;
    let mut client = served.client().await;
    call!(client, OffsetCommit, 8, commit(7));
    pass(&clock, 5).await;
    served.stop().await;
    let served = Served::over(log.clone(), config()).await;
    pass(&clock, 2).await;
    assert_eq!(consumers(), [ConsumerId::new("group/g")], "after 7 days");
    served.stop().await;
    let served = Served::over(log.clone(), config()).await;
    pass(&clock, 2).await;
    assert_eq!(consumers(), [], "after 9 days");
    served.stop().await;
}

#[tokio::test(start_paused = true)]
async fn offsets_stay_as_long_as_a_group_has_members_and_for_their_retention_after_it() {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(
        1_795_000_000_000,
    )));
    let served = Served::with(GatewayConfig {
        clock: clock.clone(),
        member_session: DAY * 2,
        max_idle: DAY * 2,
        ..GatewayConfig::default()
    })
    .await;
    let name = TopicName::new("t").unwrap();
    let config = TopicConfig::new(1, Lifetime::Events);
    served.log.create_topic(&name, config).await.unwrap();
    let mut client = served.client().await;
    call!(client, OffsetCommit, 8, commit(7));
    let joining = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("g"))
        .with_member_id(text("one"))
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![messages::TopicName(text("t"))]))
        .with_topic_partitions(Some(Vec::new()));
    call!(client, ConsumerGroupHeartbeat, 1, joining);
    for _ in 0..10 {
        pass(&clock, 1).await;
        let beat = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group("g"))
            .with_member_id(text("one"))
            .with_member_epoch(1)
            .with_rebalance_timeout_ms(-1)
            .with_subscribed_topic_names(None)
            .with_topic_partitions(None);
        let answer = call!(client, ConsumerGroupHeartbeat, 1, beat);
        assert_eq!(answer.error_code, 0);
    }
    assert_eq!(served.log.consumers().len(), 1, "a member for ten days");
    // It falls silent, and is dropped after two days.
    pass(&clock, 8).await;
    assert_eq!(served.log.consumers().len(), 1, "6 days after it");
    pass(&clock, 3).await;
    assert_eq!(served.log.consumers(), [], "9 days after it");
    served.stop().await;
}

#[tokio::test]
async fn the_log_says_what_partitions_take() {
    let (served, mut client) = with_topic().await;
    let record = Record::new("x", Timestamp::from_millis(1_795_000_000_000));
    let batch = RecordBatch::of_one(record);
    let place = TopicName::new("t").unwrap().partition(Partition::new(0));
    let settlement = Settlement::of(place, batch.clone());
    served.log.commit(settlement).await.unwrap();
    let asked = DescribableLogDirTopic::default()
        .with_topic(messages::TopicName(text("t")))
        .with_partitions(vec![0, 0, 900, -1]);
    let absent = DescribableLogDirTopic::default()
        .with_topic(messages::TopicName(text("absent")))
        .with_partitions(vec![0]);
    for topics in [None, Some(vec![asked, absent])] {
        let everything = topics.is_none();
        let request = DescribeLogDirsRequest::default().with_topics(topics);
        let answer = call!(client, DescribeLogDirs, 4, request);
        assert_eq!(answer.results.len(), 1);
        let topics = &answer.results[0].topics;
        assert_eq!(topics.len(), 1);
        let partition = &topics[0].partitions[0];
        let bytes = i64::try_from(batch.as_bytes().len()).unwrap();
        assert_eq!(
            (partition.partition_index, partition.partition_size),
            (0, bytes)
        );
        assert!(everything || topics[0].partitions.len() == 1);
    }
    served.stop().await;
}
