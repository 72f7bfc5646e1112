//! Settings of topics, read and changed, and of the broker, read only: its own are in the
//! configuration that it was started with.

mod describe;

use std::collections::HashSet;

use event_log::{TopicName, TopicSettings};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use crate::broker::Broker;
use crate::error_code::Refusal;
use crate::topic_settings::{self, Operation};

pub(crate) use describe::describe;

/// Kafka's resource types.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// What is asked to be done with one setting.
type Change<'a> = (&'a str, Operation<'a>);

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
        let asked = Asked {
            from: Some(TopicSettings::DEFAULT),
            validate_only: request.validate_only,
        };
        let refused = once.change(broker, kind, &name, changes, asked).await.err();
        responses.push(
            AlterConfigsResourceResponse::default()
                .with_resource_type(kind)
                .with_resource_name(name)
                .with_error_code(refused.as_ref().map_or(0, Refusal::code))
                .with_error_message(refused.as_ref().map(Refusal::message)),
        );
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
        let asked = Asked {
            from: None,
            validate_only: request.validate_only,
        };
        let refused = once.change(broker, kind, &name, changes, asked).await.err();
        responses.push(
            IncrementalResponse::default()
                .with_resource_type(kind)
                .with_resource_name(name)
                .with_error_code(refused.as_ref().map_or(0, Refusal::code))
                .with_error_message(refused.as_ref().map(Refusal::message)),
        );
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

    /// Applies changes to one resource, all or none.
    async fn change<'a>(
        &mut self,
        broker: &Broker,
        kind: i8,
        name: &str,
        changes: impl Iterator<Item = Result<Change<'a>, Refusal>>,
        asked: Asked,
    ) -> Result<(), Refusal> {
        self.check(kind, name)?;
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
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
        let settings = changed(asked.from.unwrap_or(topic.config.settings), &changes)?;
        if asked.validate_only || settings == topic.config.settings {
            return Ok(());
        }
        broker.log.configure_topic(&name, settings).await?;
        tracing::info!(topic = %name, ?settings, "topic configured");
        Ok(())
    }
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
