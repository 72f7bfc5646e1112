//! Settings of topics, read and changed, and of the broker, read only: its own are in the
//! configuration that it was started with.

use std::collections::HashSet;

use event_log::{Topic, TopicName, TopicSettings};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::TopicCreation;
use crate::asked;
use crate::broker::{Broker, NODE};
use crate::error_code::Refusal;
use crate::topic_settings::{self, Described, Kind, Operation, Source};

/// Kafka's resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// What is asked to be done with one setting.
type Change<'a> = (&'a str, Operation<'a>);

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

/// Replaces the settings of topics: what is not named falls back.
pub(crate) async fn alter(broker: &Broker, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut once = Once::default();
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let changes = resource.configs.iter().map(|config| {
            let value = config.value.as_deref();
            let value = value.ok_or_else(|| without_value(&config.name))?;
            Ok((config.name.as_str(), Operation::Set(value)))
        });
        let changes: Result<Vec<Change<'_>>, Refusal> = changes.collect();
        let asked = Asked {
            from: Some(TopicSettings::DEFAULT),
            validate_only: request.validate_only,
        };
        let outcome = match (once.check(kind, &name), changes) {
            (Ok(()), Ok(changes)) => change(broker, kind, &name, &changes, asked).await,
            (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        };
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(kind)
            .with_resource_name(name);
        responses.push(match outcome {
            Ok(()) => response,
            Err(refusal) => response
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.message())),
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// Changes single settings of topics.
pub(crate) async fn alter_incrementally(
    broker: &Broker,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut once = Once::default();
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let changes = resource.configs.iter().map(|config| {
            let value = config.value.as_deref();
            let operation = operation(&config.name, config.config_operation, value)?;
            Ok((config.name.as_str(), operation))
        });
        let changes: Result<Vec<Change<'_>>, Refusal> = changes.collect();
        let asked = Asked {
            from: None,
            validate_only: request.validate_only,
        };
        let outcome = match (once.check(kind, &name), changes) {
            (Ok(()), Ok(changes)) => change(broker, kind, &name, &changes, asked).await,
            (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        };
        let response = IncrementalResponse::default()
            .with_resource_type(kind)
            .with_resource_name(name);
        responses.push(match outcome {
            Ok(()) => response,
            Err(refusal) => response
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.message())),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

/// The settings of a topic to be, from what its creator asks.
pub(crate) fn settings_of<'a>(
    asked: impl Iterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<TopicSettings, Refusal> {
    let changes = asked.map(|(name, value)| {
        let value = value.ok_or_else(|| without_value(name))?;
        Ok((name, Operation::Set(value)))
    });
    let changes: Vec<Change<'_>> = changes.collect::<Result<_, Refusal>>()?;
    changed(TopicSettings::DEFAULT, &changes)
}

/// How a change is asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// What changes begin with; `None` for what the topic has.
    from: Option<TopicSettings>,
    validate_only: bool,
}

/// What is wanted beside values.
struct Detail {
    synonyms: bool,
    documentation: bool,
    kinds: bool,
}

/// Holds that no resource is named twice in a request.
#[derive(Default)]
struct Once(HashSet<(i8, String)>);

impl Once {
    fn check(&mut self, kind: i8, name: &str) -> Result<(), Refusal> {
        if self.0.insert((kind, name.to_owned())) {
            return Ok(());
        }
        Err(Refusal::new(
            ResponseError::InvalidRequest,
            format!("the request names {name} twice"),
        ))
    }
}

/// Applies changes to one resource, all or none.
async fn change(
    broker: &Broker,
    kind: i8,
    name: &str,
    changes: &[Change<'_>],
    asked: Asked,
) -> Result<(), Refusal> {
    if kind != TOPIC {
        return Err(Refusal::new(
            ResponseError::InvalidRequest,
            "only the settings of topics can be changed here: the broker's are in its configuration",
        ));
    }
    let name = TopicName::new(name)?;
    let topic = broker.topic(&name);
    let topic = topic.ok_or_else(|| Refusal::unknown(name.as_str()))?;
    if broker.config.protects(name.as_str()) {
        return Err(Refusal::protected(name.as_str()));
    }
    let settings = changed(asked.from.unwrap_or(topic.config.settings), changes)?;
    if asked.validate_only || settings == topic.config.settings {
        return Ok(());
    }
    broker.log.configure_topic(&name, settings).await?;
    tracing::info!(topic = %name, ?settings, "topic configured");
    Ok(())
}

fn changed(from: TopicSettings, changes: &[Change<'_>]) -> Result<TopicSettings, Refusal> {
    let mut settings = from;
    let mut names = HashSet::new();
    for (name, operation) in changes {
        if !names.insert(*name) {
            return Err(Refusal::new(
                ResponseError::InvalidRequest,
                format!("{name} is named twice"),
            ));
        }
        topic_settings::apply(&mut settings, name, *operation)?;
    }
    Ok(settings)
}

/// Kafka's numbers of operations (`AlterConfigOp.OpType`).
fn operation<'a>(name: &str, number: i8, value: Option<&'a str>) -> Result<Operation<'a>, Refusal> {
    let value = value.ok_or_else(|| without_value(name));
    match number {
        0 => Ok(Operation::Set(value?)),
        1 => Ok(Operation::Reset),
        2 => Ok(Operation::Append(value?)),
        3 => Ok(Operation::Subtract(value?)),
        other => Err(Refusal::new(
            ResponseError::InvalidRequest,
            format!("{name} cannot be changed by operation {other}"),
        )),
    }
}

fn without_value(name: &str) -> Refusal {
    Refusal::new(
        ResponseError::InvalidConfig,
        format!("{name} needs a value"),
    )
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
