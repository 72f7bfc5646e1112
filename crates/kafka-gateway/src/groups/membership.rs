//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup on the wire.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::member::{Caller, Join, Joined, Newcomers, Sync};
use crate::broker::{Broker, Client};
use crate::error_code::Refusal;
use crate::wire::Header;

/// The session timeouts that are taken. Kafka's own lower limit is 6 s, its upper one 30 minutes.
const SESSION: std::ops::RangeInclusive<i32> = 1_000..=1_800_000;

/// Joins a group and waits for its next generation.
pub(super) async fn join(
    broker: &Broker,
    request: JoinGroupRequest,
    header: &Header,
    client: &Client,
) -> JoinGroupResponse {
    let version = header.version;
    if let Err(refusal) = check_join(&request) {
        return refused_join(refusal.code(), request.member_id, version);
    }
    let rebalance = match request.rebalance_timeout_ms {
        // Before version 1 there was one timeout for both.
        ..=0 => request.session_timeout_ms,
        given => given.min(*SESSION.end()),
    };
    let instance = request.group_instance_id.map(|name| name.to_string());
    let named = instance.as_deref().unwrap_or(&header.client_id);
    let join = Join {
        fresh_id: format!("{named}-{}", Uuid::new_v4()),
        member: request.member_id.to_string(),
        instance,
        client_id: header.client_id.clone(),
        client_host: client.host.to_string(),
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name.to_string(), kept(&protocol.metadata)))
            .collect(),
        session: millis(request.session_timeout_ms),
        rebalance: millis(rebalance),
        newcomers: if version >= 4 {
            Newcomers::AreNamedFirst
        } else {
            Newcomers::JoinAtOnce
        },
    };
    let group = request.group_id.as_str();
    let generation = match broker.groups.join(group, join, &client.gone).await {
        Joined::In(generation) => generation,
        Joined::Out(code, member) => return refused_join(code.code(), text(member), version),
    };
    let members = generation.members.into_iter().map(|peer| {
        JoinGroupResponseMember::default()
            .with_member_id(text(peer.member))
            .with_group_instance_id(peer.instance.map(text).filter(|_| version >= 5))
            .with_metadata(peer.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(generation.number)
        .with_protocol_type((version >= 7).then(|| text(generation.protocol_type)))
        .with_protocol_name(Some(text(generation.protocol)))
        .with_leader(text(generation.leader))
        .with_member_id(text(generation.member))
        .with_members(members.collect())
}

/// Hands in (as the leader) and waits for the assignment of this generation.
pub(super) async fn sync(
    broker: &Broker,
    request: SyncGroupRequest,
    version: i16,
    client: &Client,
) -> SyncGroupResponse {
    if let Err(refusal) = super::check_id(&request.group_id) {
        return SyncGroupResponse::default().with_error_code(refusal.code());
    }
    let assignments = request.assignments.into_iter();
    let sync = Sync {
        caller: Caller {
            member: request.member_id.to_string(),
            instance: request.group_instance_id.map(|name| name.to_string()),
            generation: request.generation_id,
        },
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: assignments
            .map(|given| (given.member_id.to_string(), kept(&given.assignment)))
            .collect(),
    };
    let group = request.group_id.as_str();
    match broker.groups.sync(group, sync, &client.gone).await {
        Ok(assigned) => SyncGroupResponse::default()
            .with_protocol_type((version >= 5).then(|| text(assigned.protocol_type)))
            .with_protocol_name((version >= 5).then(|| text(assigned.protocol)))
            .with_assignment(assigned.assignment),
        Err(code) => SyncGroupResponse::default().with_error_code(code.code()),
    }
}

/// Takes a sign of life.
pub(super) fn heartbeat(broker: &Broker, request: &HeartbeatRequest) -> HeartbeatResponse {
    let caller = Caller {
        member: request.member_id.to_string(),
        instance: request
            .group_instance_id
            .as_ref()
            .map(|name| name.to_string()),
        generation: request.generation_id,
    };
    let beat = |now, group: &mut super::group::Group| group.heartbeat(now, &caller);
    let outcome = broker.groups.decide(&request.group_id, beat);
    HeartbeatResponse::default().with_error_code(code(outcome))
}

/// Lets members go: one before version 3, several from then on.
pub(super) fn leave(
    broker: &Broker,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let group = request.group_id.as_str();
    if version < 3 {
        let outcome = broker.groups.leave(group, &request.member_id, None);
        return LeaveGroupResponse::default().with_error_code(code(outcome));
    }
    let members = request.members.into_iter().map(|member: MemberIdentity| {
        let instance = member.group_instance_id.as_deref();
        let outcome = broker.groups.leave(group, &member.member_id, instance);
        MemberResponse::default()
            .with_error_code(code(outcome))
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

fn check_join(request: &JoinGroupRequest) -> Result<(), Refusal> {
    super::check_id(&request.group_id)?;
    if !SESSION.contains(&request.session_timeout_ms) {
        return Err(Refusal::new(
            ResponseError::InvalidSessionTimeout,
            format!(
                "session timeout is {} ms, {} to {} are taken",
                request.session_timeout_ms,
                SESSION.start(),
                SESSION.end()
            ),
        ));
    }
    Ok(())
}

fn refused_join(code: i16, member: StrBytes, version: i16) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(code)
        // The name of no protocol is null from version 7 on and empty before.
        .with_protocol_name((version < 7).then(StrBytes::new))
        .with_member_id(member)
}

/// What a group keeps must not keep the whole frame in memory that it came in.
fn kept(part: &[u8]) -> Bytes {
    Bytes::copy_from_slice(part)
}

fn code(outcome: Result<(), ResponseError>) -> i16 {
    outcome.err().map_or(0, |code| code.code())
}

fn text(text: String) -> StrBytes {
    StrBytes::from_string(text)
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
