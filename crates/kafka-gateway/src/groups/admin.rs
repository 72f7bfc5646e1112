//! ListGroups, DescribeGroups and DeleteGroups.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    GroupId, ListGroupsRequest, ListGroupsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::group::{Group, State};
use crate::asked;
use crate::broker::Broker;
use crate::error_code::Refusal;

/// The protocol of consumers: what a group that has only commits was. It is also the type of groups
/// of the newer protocol.
const CONSUMER: &str = "consumer";
/// The type of groups of the older protocol.
const CLASSIC: &str = "classic";
/// Kafka's name for a group that does not exist.
const DEAD: &str = "Dead";

/// A group's protocol type, state and type.
type Listed = (String, &'static str, &'static str);

/// Lists groups that have members and groups that have only commits.
pub(super) fn list(
    broker: &Broker,
    request: &ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let mut groups = BTreeMap::<String, Listed>::new();
    for consumer in broker.log.consumers() {
        if let Some(group) = super::group_of(&consumer) {
            let empty = (CONSUMER.to_owned(), state_name(State::Empty), CLASSIC);
            groups.insert(group.to_owned(), empty);
        }
    }
    groups.extend(broker.groups.look_at_all(|id, group| {
        let listed = (
            group.protocol_type.clone(),
            state_name(group.state),
            CLASSIC,
        );
        (id.to_owned(), listed)
    }));
    groups.extend(broker.groups.look_at_consumers(|id, group| {
        let listed = (CONSUMER.to_owned(), group.state().name(), CONSUMER);
        (id.to_owned(), listed)
    }));
    let among = |filter: &[StrBytes], word: &str| {
        filter.is_empty() || filter.iter().any(|name| name.eq_ignore_ascii_case(word))
    };
    let groups = groups.into_iter().filter(|(_, (_, state, kind))| {
        among(&request.states_filter, state) && among(&request.types_filter, kind)
    });
    let groups = groups.map(|(id, (protocol_type, state, kind))| {
        let mut listed = ListedGroup::default()
            .with_group_id(GroupId(StrBytes::from_string(id)))
            .with_protocol_type(StrBytes::from_string(protocol_type));
        if version >= 4 {
            listed.group_state = StrBytes::from_static_str(state);
        }
        if version >= 5 {
            listed.group_type = StrBytes::from_static_str(kind);
        }
        listed
    });
    ListGroupsResponse::default().with_groups(groups.collect())
}

/// Describes groups and their members.
pub(super) fn describe(
    broker: &Broker,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let groups = asked::once(request.groups).into_iter().map(|id| {
        let described = broker.groups.look(&id, |group| described(group, version));
        let described = described.unwrap_or_else(|| {
            let group = DescribedGroup::default();
            if broker.log.checkpoints(&super::consumer(&id)).is_empty() {
                group.with_group_state(StrBytes::from_static_str(DEAD))
            } else {
                group
                    .with_group_state(StrBytes::from_static_str(state_name(State::Empty)))
                    .with_protocol_type(StrBytes::from_static_str(CONSUMER))
            }
        });
        described.with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

/// Forgets what groups without members have committed, durably.
pub(super) async fn delete(broker: &Broker, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let code = match delete_one(broker, &id).await {
            Ok(()) => 0,
            Err(refusal) => refusal.code(),
        };
        results.push(
            DeletableGroupResult::default()
                .with_group_id(id)
                .with_error_code(code),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}

async fn delete_one(broker: &Broker, id: &str) -> Result<(), Refusal> {
    super::check_id(id)?;
    if broker.groups.has_members(id) {
        return Err(Refusal::new(
            ResponseError::NonEmptyGroup,
            format!("group {id} has members"),
        ));
    }
    let consumer = super::consumer(id);
    if broker.log.checkpoints(&consumer).is_empty() {
        return Err(Refusal::new(
            ResponseError::GroupIdNotFound,
            format!("group {id} does not exist"),
        ));
    }
    Ok(broker.log.forget_consumer(&consumer).await?)
}

fn described(group: &Group, version: i16) -> DescribedGroup {
    let members = group.members.iter().map(|(id, member)| {
        let described = DescribedGroupMember::default()
            .with_member_id(StrBytes::from_string(id.clone()))
            .with_client_id(StrBytes::from_string(member.client_id.clone()))
            .with_client_host(StrBytes::from_string(member.client_host.clone()))
            .with_member_metadata(member.metadata(&group.protocol))
            .with_member_assignment(member.assignment.clone());
        let instance = member.instance.clone().map(StrBytes::from_string);
        described.with_group_instance_id(instance.filter(|_| version >= 4))
    });
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(state_name(group.state)))
        .with_protocol_type(StrBytes::from_string(group.protocol_type.clone()))
        .with_protocol_data(StrBytes::from_string(group.protocol.clone()))
        .with_members(members.collect())
}

/// Kafka's names of the states.
fn state_name(state: State) -> &'static str {
    match state {
        State::Empty => "Empty",
        State::Preparing { .. } => "PreparingRebalance",
        State::Completing => "CompletingRebalance",
        State::Stable => "Stable",
    }
}
