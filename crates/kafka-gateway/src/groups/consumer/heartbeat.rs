//! ConsumerGroupHeartbeat: joining, staying, moving and leaving are one request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::assign::Assignor;
use super::catalog::Pattern;
use super::member::{Beat, Beaten, Place};
use super::{JOIN, LEAVE, LEAVE_FOR_NOW};
use crate::broker::{Broker, Client};
use crate::error_code::Refusal;
use crate::groups::coordinator::now;
use crate::wire::Header;

/// The longest time that a member may claim for giving up partitions, in milliseconds.
const MAX_REBALANCE: i32 = 1_800_000;

/// Takes a sign of life and answers what the member is to have.
pub(in crate::groups) fn heartbeat(
    broker: &Broker,
    asked: ConsumerGroupHeartbeatRequest,
    header: &Header,
    client: &Client,
) -> ConsumerGroupHeartbeatResponse {
    let group = asked.group_id.to_string();
    let beaten =
        beat(asked, header, client).and_then(|beat| broker.groups.beat(broker, &group, beat));
    match beaten {
        Ok(beaten) => answered(beaten),
        Err(refusal) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(refusal.code())
            .with_error_message(Some(refusal.message())),
    }
}

/// Checks what a request says by itself.
fn beat(
    asked: ConsumerGroupHeartbeatRequest,
    header: &Header,
    client: &Client,
) -> Result<Beat, Refusal> {
    crate::groups::check_id(&asked.group_id)?;
    let invalid = |reason: &str| Err(Refusal::new(ResponseError::InvalidRequest, reason));
    let is_empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    if is_empty(&asked.instance_id) || is_empty(&asked.rack_id) {
        return invalid("instance and rack are absent or not empty");
    }
    // From version 1 on members name themselves.
    let member = match (asked.member_id.as_str(), asked.member_epoch) {
        ("", JOIN) if header.version == 0 => Uuid::new_v4().to_string(),
        ("", _) => return invalid("the member's id is empty"),
        (id, _) if id.len() > 256 => return invalid("the member's id is too long"),
        (id, _) => id.to_owned(),
    };
    match asked.member_epoch {
        JOIN => {
            if asked.rebalance_timeout_ms < 0 {
                return invalid("who joins says how long a rebalance may take");
            }
            if asked
                .topic_partitions
                .as_ref()
                .is_none_or(|owned| !owned.is_empty())
            {
                return invalid("who joins has no partitions");
            }
            if asked.subscribed_topic_names.is_none() && asked.subscribed_topic_regex.is_none() {
                return invalid("who joins says what it subscribes to");
            }
        }
        LEAVE_FOR_NOW if asked.instance_id.is_none() => {
            return invalid("only a static member can leave for a while");
        }
        LEAVE_FOR_NOW | LEAVE | 1.. => {}
        _ => return invalid("an epoch is positive, or one of 0, -1 and -2"),
    }
    let assignor = match asked.server_assignor.as_deref() {
        None => None,
        Some(name) => Some(Assignor::named(name).ok_or_else(|| {
            let reason = format!("there is no assignor {name}, only uniform and range");
            Refusal::new(ResponseError::UnsupportedAssignor, reason)
        })?),
    };
    let pattern = asked.subscribed_topic_regex.as_deref().map(Pattern::new);
    let pattern = pattern
        .transpose()
        .map_err(|reason| Refusal::new(ResponseError::InvalidRegularExpression, reason))?;
    let names = asked.subscribed_topic_names.map(|names| {
        let names = names.iter().map(|name| name.to_string());
        names.collect()
    });
    let owned = asked.topic_partitions.map(|topics| {
        let places = topics.into_iter().flat_map(|topic| {
            let partitions = topic.partitions.into_iter();
            let partitions = partitions.filter_map(|index| u32::try_from(index).ok());
            partitions.map(move |partition| (topic.topic_id, partition))
        });
        places.collect()
    });
    let rebalance = u64::try_from(asked.rebalance_timeout_ms.min(MAX_REBALANCE));
    Ok(Beat {
        member,
        epoch: asked.member_epoch,
        instance: asked.instance_id.map(|name| name.to_string()),
        rack: asked.rack_id.map(|name| name.to_string()),
        client_id: header.client_id.clone(),
        client_host: client.host.to_string(),
        rebalance: rebalance.ok().map(Duration::from_millis),
        names,
        pattern,
        assignor,
        owned,
        now: now(),
    })
}

fn answered(beaten: Beaten) -> ConsumerGroupHeartbeatResponse {
    let assignment = beaten.assignment.map(|places| {
        let topics = by_topic(&places).into_iter();
        let topics = topics.map(|(topic, partitions)| {
            TopicPartitions::default()
                .with_topic_id(topic)
                .with_partitions(partitions)
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(StrBytes::from_string(beaten.member)))
        .with_member_epoch(beaten.epoch)
        .with_heartbeat_interval_ms(i32::try_from(beaten.interval.as_millis()).unwrap_or(i32::MAX))
        .with_assignment(assignment)
}

/// Partitions as the wire lists them.
pub(super) fn by_topic(places: &BTreeSet<Place>) -> BTreeMap<Uuid, Vec<i32>> {
    let mut topics = BTreeMap::<Uuid, Vec<i32>>::new();
    for (topic, partition) in places {
        let partition = i32::try_from(*partition).unwrap_or(i32::MAX);
        topics.entry(*topic).or_default().push(partition);
    }
    topics
}
