//! Settings of topics and the broker: what they are, and that they cannot be changed from here.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use event_log::TopicName;

use crate::TopicCreation;
use crate::broker::{Broker, NODE};
use crate::error_code::Refusal;

/// Kafka's number for a value that nobody set (`ConfigSource.DEFAULT_CONFIG`).
pub(crate) const DEFAULT_SOURCE: i8 = 5;
/// Kafka's number for a value from the broker's own configuration
/// (`ConfigSource.STATIC_BROKER_CONFIG`).
const BROKER_SOURCE: i8 = 4;
/// Kafka's resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// A setting of topics that holds and cannot be changed.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
}

const TOPIC_SETTINGS: &[Setting] = &[
    Setting {
        name: "cleanup.policy",
        value: "delete",
    },
    Setting {
        name: "compression.type",
        value: "producer",
    },
    Setting {
        name: "message.timestamp.type",
        value: "CreateTime",
    },
    Setting {
        name: "min.insync.replicas",
        value: "1",
    },
];

/// Every setting that holds for every topic.
pub(crate) fn topic_settings() -> impl Iterator<Item = &'static Setting> {
    TOPIC_SETTINGS.iter()
}

/// Refuses a setting that would not be applied: all but those that say what holds anyway.
pub(crate) fn check_topic_setting(name: &str, value: Option<&str>) -> Result<(), Refusal> {
    let known = TOPIC_SETTINGS.iter().find(|setting| setting.name == name);
    let reason = match (known, value) {
        (_, None) => return Ok(()),
        (Some(setting), Some(value)) if setting.value == value => return Ok(()),
        (Some(setting), Some(_)) => format!("{name} is always {}", setting.value),
        (None, Some(_)) => format!("{name} is not supported"),
    };
    Err(Refusal::new(ResponseError::InvalidConfig, reason))
}

/// Describes topics and the broker.
pub(crate) fn describe(
    broker: &Broker,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let described = describe_one(broker, &resource);
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match described {
            Ok(configs) => result.with_configs(configs),
            Err(refusal) => result
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.message())),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe_one(
    broker: &Broker,
    resource: &DescribeConfigsResource,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let name = resource.resource_name.as_str();
    let settings: Vec<(&'static str, String, i8)> = match resource.resource_type {
        TOPIC => {
            if broker.topic(&TopicName::new(name)?).is_none() {
                return Err(Refusal::unknown(name));
            }
            topic_settings()
                .map(|setting| (setting.name, setting.value.to_owned(), DEFAULT_SOURCE))
                .collect()
        }
        BROKER if name == NODE.to_string() => broker_settings(broker),
        _ => {
            return Err(Refusal::new(
                ResponseError::InvalidRequest,
                format!("only topics and broker {NODE} have settings"),
            ));
        }
    };
    let wanted = |setting: &str| match &resource.configuration_keys {
        None => true,
        Some(keys) => keys.iter().any(|key| key.as_str() == setting),
    };
    let settings = settings.into_iter().filter(|(name, ..)| wanted(name));
    let describe = |(name, value, source)| {
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_string(value)))
            .with_read_only(true)
            .with_config_source(source)
    };
    Ok(settings.map(describe).collect())
}

fn broker_settings(broker: &Broker) -> Vec<(&'static str, String, i8)> {
    let config = &broker.config;
    [
        (
            "auto.create.topics.enable",
            (config.topic_creation == TopicCreation::OnUse).to_string(),
        ),
        ("num.partitions", config.default_partitions.to_string()),
        ("default.replication.factor", "1".to_owned()),
        (
            "socket.request.max.bytes",
            config.max_request_bytes.to_string(),
        ),
        ("max.connections", config.max_connections.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name, value, BROKER_SOURCE))
    .collect()
}
