//! Groups through the socket.

use bytes::Bytes;
use event_log::{ConsumerId, Lifetime, Offset, Partition, TopicConfig, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{self, *};

use super::client::{Client, Served, call};
use super::samples::text;

pub(super) fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn join(member: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    JoinGroupRequest::default()
        .with_group_id(group("g"))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Joins in `version`, once more where the gateway wants to name its members first.
pub(super) async fn enter(client: &mut Client, version: i16) -> JoinGroupResponse {
    let mut asked = join("");
    if version == 0 {
        asked.rebalance_timeout_ms = -1;
    }
    let first = call!(client, JoinGroup, version, asked.clone());
    if first.error_code != ResponseError::MemberIdRequired.code() {
        return first;
    }
    assert!(version >= 4);
    asked.member_id = first.member_id;
    call!(client, JoinGroup, version, asked)
}

pub(super) fn commit(offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(messages::TopicName(text("t")))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

pub(super) async fn with_topic() -> (Served, Client) {
    let served = Served::new().await;
    let config = TopicConfig::new(1, Lifetime::Events);
    let name = TopicName::new("t").unwrap();
    served.log.create_topic(&name, config).await.unwrap();
    let client = served.client().await;
    (served, client)
}

#[tokio::test]
async fn a_member_joins_syncs_and_leaves_in_every_version() {
    let served = Served::new().await;
    let mut client = served.client().await;
    for version in 0..=9 {
        let joined = enter(&mut client, version).await;
        assert_eq!(joined.error_code, 0, "v{version}");
        assert_eq!(joined.leader, joined.member_id);
        assert_eq!(joined.members.len(), 1);
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(joined.member_id.clone())
            .with_assignment(Bytes::from_static(b"everything"));
        let asked = SyncGroupRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone())
            .with_assignments(vec![assignment]);
        let synced = call!(client, SyncGroup, version.min(5), asked);
        assert_eq!(&synced.assignment[..], b"everything");
        let asked = HeartbeatRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(joined.generation_id)
            .with_member_id(joined.member_id.clone());
        let beat = call!(client, Heartbeat, version.min(4), asked);
        assert_eq!(beat.error_code, 0);
        let asked = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
        let described = call!(client, DescribeGroups, version.min(5), asked);
        assert_eq!(described.groups[0].group_state.as_str(), "Stable");
        assert_eq!(described.groups[0].members.len(), 1);
        let listed = call!(
            client,
            ListGroups,
            version.min(4),
            ListGroupsRequest::default()
        );
        assert_eq!(listed.groups.len(), 1);
        let left = if version < 3 {
            let asked = LeaveGroupRequest::default()
                .with_group_id(group("g"))
                .with_member_id(joined.member_id);
            call!(client, LeaveGroup, version, asked).error_code
        } else {
            let member = messages::leave_group_request::MemberIdentity::default()
                .with_member_id(joined.member_id);
            let asked = LeaveGroupRequest::default()
                .with_group_id(group("g"))
                .with_members(vec![member]);
            call!(client, LeaveGroup, version.min(5), asked).members[0].error_code
        };
        assert_eq!(left, 0, "v{version}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_committed_offset_is_a_checkpoint_of_the_log() {
    let (served, mut client) = with_topic().await;
    let committed = call!(client, OffsetCommit, 8, commit(7));
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    let place = TopicName::new("t").unwrap().partition(Partition::new(0));
    let checkpoint = served.log.checkpoint(&ConsumerId::new("group/g"), &place);
    let checkpoint = checkpoint.unwrap();
    assert_eq!(checkpoint.next, Offset::new(7));
    assert!(checkpoint.metadata.ends_with(b"note"));

    // Kafka lets a group go back.
    call!(client, OffsetCommit, 8, commit(3));
    let asked = OffsetFetchRequest::default()
        .with_group_id(group("g"))
        .with_topics(None);
    let fetched = call!(client, OffsetFetch, 7, asked);
    let fetched = &fetched.topics[0].partitions[0];
    assert_eq!(fetched.committed_offset, 3);
    assert_eq!(fetched.metadata.as_ref().unwrap().as_str(), "note");
    served.stop().await;
}

#[tokio::test]
async fn a_group_with_commits_only_is_listed_and_deleted() {
    let (served, mut client) = with_topic().await;
    call!(client, OffsetCommit, 8, commit(7));
    let listed = call!(client, ListGroups, 4, ListGroupsRequest::default());
    assert_eq!(listed.groups[0].group_id.as_str(), "g");
    assert_eq!(listed.groups[0].group_state.as_str(), "Empty");
    let asked = || DeleteGroupsRequest::default().with_groups_names(vec![group("g")]);
    let deleted = call!(client, DeleteGroups, 2, asked());
    assert_eq!(deleted.results[0].error_code, 0);
    assert!(served.log.consumers().is_empty());
    let unknown = call!(client, DeleteGroups, 2, asked());
    let code = ResponseError::GroupIdNotFound.code();
    assert_eq!(unknown.results[0].error_code, code);
    served.stop().await;
}

#[tokio::test]
async fn a_group_with_members_is_not_deleted_and_takes_no_commits_from_others() {
    let (served, mut client) = with_topic().await;
    let joined = enter(&mut client, 9).await;
    assert_eq!(joined.error_code, 0);
    let asked = DeleteGroupsRequest::default().with_groups_names(vec![group("g")]);
    let refused = call!(client, DeleteGroups, 2, asked);
    let code = ResponseError::NonEmptyGroup.code();
    assert_eq!(refused.results[0].error_code, code);
    let refused = call!(client, OffsetCommit, 8, commit(7));
    let code = ResponseError::UnknownMemberId.code();
    assert_eq!(refused.topics[0].partitions[0].error_code, code);
    served.stop().await;
}

#[tokio::test]
async fn a_commit_to_an_unknown_topic_leaves_the_others_alone() {
    let (served, mut client) = with_topic().await;
    let mut asked = commit(7);
    let mut absent = asked.topics[0].clone();
    absent.name = messages::TopicName(text("absent"));
    asked.topics.push(absent);
    let committed = call!(client, OffsetCommit, 8, asked);
    assert_eq!(committed.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed.topics[1].partitions[0].error_code, 3);
    served.stop().await;
}

#[tokio::test]
async fn a_member_that_waits_does_not_hold_up_the_stop() {
    let served = Served::new().await;
    let mut first = served.client().await;
    let joined = enter(&mut first, 9).await;
    assert_eq!(joined.error_code, 0);
    // The first member never joins again, so the second waits for the rebalance deadline.
    let mut second = served.client().await;
    let named = call!(second, JoinGroup, 9, join(""));
    let body = RequestKind::JoinGroup(join(&named.member_id));
    second.send(ApiKey::JoinGroup, 9, &body).await;
    let deadline = std::time::Duration::from_secs(20);
    tokio::time::timeout(deadline, served.stop()).await.unwrap();
}
