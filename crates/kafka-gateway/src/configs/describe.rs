//! DescribeConfigs: what settings say, whence, and what else they could.

use event_log::{Topic, TopicName};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::{BROKER, TOPIC};
use crate::TopicCreation;
use crate::asked;
use crate::broker::{Broker, NODE};
use crate::error_code::Refusal;
use crate::topic_settings::{self, Described, Kind, Source};

/// What is wanted beside values.
struct Detail {
    synonyms: bool,
    documentation: bool,
    kinds: bool,
}

/// Describes topics and the broker.
pub(crate) fn describe(
    broker: &Broker,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let detail = Detail {
        synonyms: request.include_synonyms,
        documentation: request.include_documentation && version >= 3,
        kinds: version >= 3,
    };
    let resources = asked::once_by(request.resources, |resource| {
        (resource.resource_type, resource.resource_name.clone())
    });
    let results = resources.into_iter().map(|resource| {
        let described = describe_one(broker, &resource, &detail);
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
    detail: &Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let name = resource.resource_name.as_str();
    let mut settings = match resource.resource_type {
        TOPIC => {
            let topic = broker.topic(&TopicName::new(name)?);
            let topic = topic.ok_or_else(|| Refusal::unknown(name))?;
            topic_entries(broker, &topic, detail)
        }
        BROKER if name == NODE.to_string() => broker_entries(broker, detail),
        _ => {
            return Err(Refusal::new(
                ResponseError::InvalidRequest,
                format!("only topics and broker {NODE} have settings"),
            ));
        }
    };
    if let Some(keys) = &resource.configuration_keys {
        settings.retain(|setting| keys.contains(&setting.name));
    }
    Ok(settings)
}

fn topic_entries(
    broker: &Broker,
    topic: &Topic,
    detail: &Detail,
) -> Vec<DescribeConfigsResourceResult> {
    let is_ours = broker.config.protects(topic.name.as_str());
    let described = topic_settings::describe(broker, topic);
    let described = described.map(|described| {
        let Described {
            setting,
            value,
            source,
            fallback,
        } = described;
        let mut synonyms = Vec::new();
        if source == Source::Topic {
            synonyms.push(synonym(setting.name, value.clone(), Source::Topic));
        }
        if let Some(name) = setting.broker_name {
            synonyms.push(synonym(name, fallback.0, fallback.1));
        }
        Entry {
            name: setting.name,
            value,
            source,
            read_only: is_ours || setting.is_fixed(),
            kind: setting.kind,
            synonyms,
            documentation: setting.documentation,
        }
    });
    described.map(|entry| entry.described(detail)).collect()
}

fn broker_entries(broker: &Broker, detail: &Detail) -> Vec<DescribeConfigsResourceResult> {
    let config = &broker.config;
    let own = [
        (
            "auto.create.topics.enable",
            (config.topic_creation == TopicCreation::OnUse).to_string(),
            Kind::Boolean,
            "A topic that a client asks for is made.",
        ),
        (
            "connections.max.idle.ms",
            config.max_idle.as_millis().to_string(),
            Kind::Long,
            "A connection on which nothing is asked and nothing answered for so long is closed.",
        ),
        (
            "default.replication.factor",
            "1".to_owned(),
            Kind::Int,
            "There is one replica of every partition.",
        ),
        (
            "max.connections",
            config.max_connections.to_string(),
            Kind::Int,
            "Connections served at once; one more is closed when it arrives.",
        ),
        (
            "num.partitions",
            config.default_partitions.to_string(),
            Kind::Int,
            "Partitions of a topic that is made without a number.",
        ),
        (
            "offsets.retention.minutes",
            (config.offsets_retention.as_secs() / 60).to_string(),
            Kind::Int,
            "How long the offsets are kept of a group that has no members and commits nothing.",
        ),
        (
            "socket.request.max.bytes",
            config.max_request_bytes.to_string(),
            Kind::Int,
            "The largest request that is read.",
        ),
    ];
    let own = own.map(|(name, value, kind, documentation)| Entry {
        name,
        synonyms: vec![synonym(name, value.clone(), Source::Broker)],
        value,
        source: Source::Broker,
        read_only: true,
        kind,
        documentation,
    });
    let inherited = topic_settings::defaults(broker).into_iter();
    let inherited = inherited.filter_map(|(setting, value, source)| {
        let name = setting.broker_name?;
        Some(Entry {
            name,
            synonyms: vec![synonym(name, value.clone(), source)],
            value,
            source,
            read_only: true,
            kind: setting.kind,
            documentation: setting.documentation,
        })
    });
    let entries = own.into_iter().chain(inherited);
    entries.map(|entry| entry.described(detail)).collect()
}

/// A setting in an answer.
struct Entry {
    name: &'static str,
    value: String,
    source: Source,
    read_only: bool,
    kind: Kind,
    synonyms: Vec<DescribeConfigsSynonym>,
    documentation: &'static str,
}

impl Entry {
    fn described(self, detail: &Detail) -> DescribeConfigsResourceResult {
        let documentation = StrBytes::from_static_str(self.documentation);
        let described = DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(self.name))
            .with_value(Some(StrBytes::from_string(self.value)))
            .with_read_only(self.read_only)
            .with_config_source(self.source as i8)
            .with_documentation(detail.documentation.then_some(documentation))
            .with_config_type(if detail.kinds { self.kind as i8 } else { 0 });
        if detail.synonyms {
            described.with_synonyms(self.synonyms)
        } else {
            described
        }
    }
}

fn synonym(name: &'static str, value: String, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_string(value)))
        .with_source(source as i8)
}
