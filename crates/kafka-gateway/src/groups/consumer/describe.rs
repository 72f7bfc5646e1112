//! ConsumerGroupDescribe.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::heartbeat::by_topic;
use super::member::{Member, Place};
use super::{Catalog, Group, State};
use crate::broker::Broker;
use crate::error_code::Refusal;

/// Kafka's number for "not asked for".
const NO_OPERATIONS: i32 = i32::MIN;
/// Kafka's number for a member of the consumer protocol.
const CONSUMER: i8 = 1;

/// Describes groups of the consumer protocol that have members.
pub(in crate::groups) fn describe(
    broker: &Broker,
    asked: ConsumerGroupDescribeRequest,
    version: i16,
) -> ConsumerGroupDescribeResponse {
    let catalog = broker.groups.catalogs.latest(broker);
    let groups = crate::asked::once(asked.group_ids).into_iter().map(|id| {
        let described = broker
            .groups
            .look_at_consumer(&id, |group| described(group, &catalog, version));
        let described = described.unwrap_or_else(|| {
            let reason = format!("there is no group {} of the consumer protocol", id.as_str());
            let refusal = Refusal::new(ResponseError::GroupIdNotFound, reason);
            DescribedGroup::default()
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.message()))
        });
        described
            .with_group_id(id)
            .with_authorized_operations(NO_OPERATIONS)
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn described(group: &Group, catalog: &Catalog, version: i16) -> DescribedGroup {
    let nothing = BTreeSet::new();
    let members = group.members.iter().map(|(id, member)| {
        let target = group.target.get(id).unwrap_or(&nothing);
        let described = described_member(member, catalog)
            .with_member_id(text(id))
            .with_target_assignment(assignment(target, catalog));
        if version >= 1 {
            described.with_member_type(CONSUMER)
        } else {
            described
        }
    });
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(group.state().name()))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.assignment_epoch)
        .with_assignor_name(StrBytes::from_static_str(group.assignor.name()))
        .with_members(members.collect())
}

fn described_member(member: &Member, catalog: &Catalog) -> DescribedMember {
    let names = member.names.iter();
    let pattern = Some(member.pattern.source()).filter(|pattern| !pattern.is_empty());
    DescribedMember::default()
        .with_instance_id(member.instance.as_deref().map(text))
        .with_rack_id(member.rack.as_deref().map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_subscribed_topic_names(names.map(|name| TopicName(text(name))).collect())
        .with_subscribed_topic_regex(pattern.map(text))
        .with_assignment(assignment(&member.assigned, catalog))
}

fn assignment(places: &BTreeSet<Place>, catalog: &Catalog) -> Assignment {
    let topics = by_topic(places).into_iter().map(|(topic, partitions)| {
        TopicPartitions::default()
            .with_topic_id(topic)
            .with_topic_name(TopicName(text(catalog.name(topic).unwrap_or_default())))
            .with_partitions(partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

impl Group {
    /// The names of the topics that some member reads.
    pub(in crate::groups) fn reads(&self, catalog: &Catalog) -> BTreeSet<String> {
        let topics = self.topics.keys().filter_map(|id| catalog.name(*id));
        topics.map(str::to_owned).collect()
    }
}

impl State {
    /// Kafka's name for it.
    pub(in crate::groups) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
