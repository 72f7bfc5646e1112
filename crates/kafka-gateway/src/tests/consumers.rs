//! Groups of the consumer protocol through the socket.

use event_log::{Lifetime, TopicConfig, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{self, *};

use super::client::{Client, Served, call};
use super::samples::text;

fn group() -> GroupId {
    GroupId(text("g"))
}

fn joining(member: &str) -> ConsumerGroupHeartbeatRequest {
    beat(member, 0)
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![messages::TopicName(text("t"))]))
        .with_topic_partitions(Some(Vec::new()))
}

fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None)
}

fn commit(member: &str, epoch: i32) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(0);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(messages::TopicName(text("t")))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(epoch)
        .with_topics(vec![topic])
}

async fn committed(client: &mut Client, member: &str, epoch: i32) -> i16 {
    let answer = call!(client, OffsetCommit, 9, commit(member, epoch));
    answer.topics[0].partitions[0].error_code
}

fn assigned(answer: &ConsumerGroupHeartbeatResponse) -> Vec<i32> {
    let assignment = answer.assignment.as_ref().expect("an assignment");
    let topics = assignment.topic_partitions.iter();
    topics.flat_map(|topic| topic.partitions.clone()).collect()
}

async fn served() -> (Served, Client) {
    let served = Served::new().await;
    let config = TopicConfig::new(4, Lifetime::Events);
    let name = TopicName::new("t").unwrap();
    served.log.create_topic(&name, config).await.unwrap();
    let client = served.client().await;
    (served, client)
}

#[tokio::test]
async fn two_members_share_a_topic_and_commit_by_their_epochs() {
    let (served, mut client) = served().await;
    let one = call!(client, ConsumerGroupHeartbeat, 1, joining("one"));
    assert_eq!((one.error_code, one.member_epoch), (0, 1));
    assert_eq!(assigned(&one), [0, 1, 2, 3]);
    let two = call!(client, ConsumerGroupHeartbeat, 1, joining("two"));
    assert_eq!((assigned(&two), two.member_epoch), (vec![], 2));
    let told = call!(client, ConsumerGroupHeartbeat, 1, beat("one", 1));
    let kept = assigned(&told);
    assert_eq!((kept.len(), told.member_epoch), (2, 1));
    let id = served.log.topic(&TopicName::new("t").unwrap()).unwrap().id;
    let owned = TopicPartitions::default()
        .with_topic_id(id)
        .with_partitions(kept);
    let gave_up = beat("one", 1).with_topic_partitions(Some(vec![owned]));
    let moved = call!(client, ConsumerGroupHeartbeat, 1, gave_up);
    assert_eq!((moved.error_code, moved.member_epoch), (0, 2));
    let got = call!(client, ConsumerGroupHeartbeat, 1, beat("two", 2));
    assert_eq!(assigned(&got).len(), 2);

    assert_eq!(committed(&mut client, "one", 2).await, 0);
    let stale = ResponseError::StaleMemberEpoch.code();
    assert_eq!(committed(&mut client, "one", 1).await, stale);
    let unknown = ResponseError::UnknownMemberId.code();
    assert_eq!(committed(&mut client, "nobody", 2).await, unknown);
    assert_eq!(committed(&mut client, "", -1).await, unknown);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group())
        .with_member_id(Some(text("one")))
        .with_member_epoch(1);
    let fetch = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer = call!(client, OffsetFetch, 9, fetch);
    assert_eq!(answer.groups[0].error_code, stale);

    let describe = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
    let described = call!(client, ConsumerGroupDescribe, 1, describe);
    let described = &described.groups[0];
    assert_eq!(described.error_code, 0);
    assert_eq!(described.group_state.as_str(), "Stable");
    assert_eq!(described.members.len(), 2);
    let name = &described.members[0].assignment.topic_partitions[0].topic_name;
    assert_eq!(name.as_str(), "t");
    let list = ListGroupsRequest::default().with_types_filter(vec![text("Consumer")]);
    let listed = call!(client, ListGroups, 5, list);
    assert_eq!(listed.groups[0].group_type.as_str(), "consumer");
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    let deleted = call!(client, DeleteGroups, 2, delete);
    assert_eq!(
        deleted.results[0].error_code,
        ResponseError::NonEmptyGroup.code()
    );

    for member in ["one", "two"] {
        let left = call!(client, ConsumerGroupHeartbeat, 1, beat(member, -1));
        assert_eq!((left.error_code, left.member_epoch), (0, -1));
    }
    assert_eq!(
        committed(&mut client, "", -1).await,
        0,
        "nobody is left to mind"
    );
    served.stop().await;
}

#[tokio::test]
async fn a_group_with_members_has_one_protocol() {
    let (served, mut client) = served().await;
    call!(client, ConsumerGroupHeartbeat, 1, joining("one"));
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let classic = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let refused = call!(client, JoinGroup, 3, classic.clone());
    let inconsistent = ResponseError::InconsistentGroupProtocol.code();
    assert_eq!(refused.error_code, inconsistent);
    call!(client, ConsumerGroupHeartbeat, 1, beat("one", -1));
    let joined = call!(client, JoinGroup, 3, classic);
    assert_eq!(joined.error_code, 0);
    let refused = call!(client, ConsumerGroupHeartbeat, 1, joining("one"));
    assert_eq!(refused.error_code, ResponseError::GroupIdNotFound.code());
    served.stop().await;
}

#[tokio::test]
async fn heartbeats_that_make_no_sense_are_refused_by_name() {
    let (served, mut client) = served().await;
    let invalid = ResponseError::InvalidRequest.code();
    let mut unnamed = joining("");
    let answer = call!(client, ConsumerGroupHeartbeat, 1, unnamed.clone());
    assert_eq!(answer.error_code, invalid);
    // Before version 1 the server names members.
    unnamed.subscribed_topic_regex = None;
    let answer = call!(client, ConsumerGroupHeartbeat, 0, unnamed);
    assert_eq!(answer.error_code, 0);
    assert!(!answer.member_id.unwrap().is_empty());
    let cases = [
        (beat("one", 0), invalid),
        (beat("one", -3), invalid),
        (beat("one", -2), invalid),
        (beat("one", 5), ResponseError::UnknownMemberId.code()),
        (
            joining("one").with_server_assignor(Some(text("nobodys"))),
            ResponseError::UnsupportedAssignor.code(),
        ),
        (
            joining("one").with_subscribed_topic_regex(Some(text("(("))),
            ResponseError::InvalidRegularExpression.code(),
        ),
    ];
    for (asked, code) in cases {
        let answer = call!(client, ConsumerGroupHeartbeat, 1, asked.clone());
        assert_eq!(answer.error_code, code, "{asked:?}");
        assert!(answer.error_message.is_some());
    }
    served.stop().await;
}
