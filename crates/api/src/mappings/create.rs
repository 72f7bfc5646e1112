//! CreateEventSourceMapping.

use std::collections::BTreeMap;

use axum::response::Response;
use clock::Timestamp;
use event_log::Topic;
use function::limits::{
    CONSUMER_GROUP_CHARS, DEFAULT_BATCH_SIZE, DEFAULT_KAFKA_BATCHING_WINDOW_MS,
};
use function::{
    Backoff, BatchPolicy, Destination, FunctionName, Ordering, RetryPolicy, StartingPosition,
    Trigger, TriggerId, TriggerSource,
};
use http::StatusCode;
use serde_json::json;
use uuid::Uuid;

use super::destination::topic;
use super::settings::Settings;
use super::shape::mapping;
use crate::functions::check_tags;
use crate::members::Members;
use crate::router::{Request, json as answer};
use crate::{ApiError, State};

pub(crate) async fn create(state: &State, request: &Request) -> Result<Response, ApiError> {
    let mut members = request.members()?;
    let named = members.required_text("FunctionName")?;
    let function = state.function_name(&named, None)?;
    let servers = bootstrap_servers(state, &mut members)?;
    let topic_name = topic_name(&mut members)?;
    let id = TriggerId::random();
    let group = consumer_group(&mut members)?.unwrap_or_else(|| id.to_string());
    let start = Start::take(state, &mut members)?;
    let tags = members.map("Tags")?.unwrap_or_default();
    check_tags(&tags)?;
    state.expect_function(&function)?;
    refuse_second(state, &function, &topic_name)?;
    let settings = Settings::take(&mut members)?;
    members.finish()?;
    refuse_own_output(&topic_name)?;
    settings.check_source(&topic_name)?;
    let topic = topic(state, &topic_name).await?;
    settings.prepare(state).await?;
    let mut trigger = Trigger {
        id,
        function,
        source: TriggerSource::Topic {
            topic: topic.name.clone(),
            bootstrap_servers: servers.join(","),
            consumer_group_id: group,
        },
        filters: Vec::new(),
        batch: BatchPolicy {
            batch_size: DEFAULT_BATCH_SIZE,
            maximum_batching_window_ms: DEFAULT_KAFKA_BATCHING_WINDOW_MS,
        },
        retry: RetryPolicy {
            maximum_retry_attempts: None,
            maximum_record_age_seconds: None,
            bisect_batch_on_function_error: false,
            backoff: Backoff::Exponential,
            on_failure: Destination::DeadLetters,
        },
        ordering: Ordering::Partition,
        report_batch_item_failures: false,
        enabled: true,
        problem: None,
        tags,
        starting_position: start.position(state, &topic)?,
        last_modified: state.clock.now(),
        revision: Uuid::nil(),
    };
    settings.apply(&mut trigger);
    let trigger = state.registry.create_trigger(trigger).await?;
    Ok(answer(
        StatusCode::ACCEPTED,
        mapping(state, &trigger, Some("Creating")),
    ))
}

/// Where a mapping starts, as the request says.
enum Start {
    TrimHorizon,
    Latest,
    AtTimestamp(Timestamp),
}

impl Start {
    fn take(state: &State, members: &mut Members) -> Result<Self, ApiError> {
        const NAME: &str = "StartingPosition";
        let position = members.text(NAME)?;
        let moment = members.moment("StartingPositionTimestamp")?;
        match (position.as_deref(), moment) {
            (Some("TRIM_HORIZON"), None) => Ok(Self::TrimHorizon),
            (Some("LATEST"), None) => Ok(Self::Latest),
            (Some("AT_TIMESTAMP"), Some(moment)) => {
                let at = Timestamp::from_millis(moment);
                if at > state.clock.now() {
                    return Err(ApiError::InvalidParameter(
                        "StartingPositionTimestamp cannot be in the future.".to_owned(),
                    ));
                }
                Ok(Self::AtTimestamp(at))
            }
            (Some("AT_TIMESTAMP"), None) => Err(ApiError::InvalidParameter(
                "StartingPositionTimestamp is required for the starting position AT_TIMESTAMP."
                    .to_owned(),
            )),
            (Some("TRIM_HORIZON" | "LATEST"), Some(_)) => Err(ApiError::InvalidParameter(
                "StartingPositionTimestamp is only for the starting position AT_TIMESTAMP."
                    .to_owned(),
            )),
            (Some(other), _) => Err(members.unsatisfied(
                NAME,
                other,
                "satisfy enum value set: [TRIM_HORIZON, LATEST, AT_TIMESTAMP]",
            )),
            (None, _) => Err(ApiError::InvalidParameter(
                "StartingPosition is required for this event source.".to_owned(),
            )),
        }
    }

    /// `LATEST` is fixed to the partitions' ends now, so that nothing published after the answer is
    /// missed, however late the mapping starts to read.
    fn position(self, state: &State, topic: &Topic) -> Result<StartingPosition, ApiError> {
        match self {
            Self::TrimHorizon => Ok(StartingPosition::TrimHorizon),
            Self::AtTimestamp(time) => Ok(StartingPosition::AtTimestamp { time }),
            Self::Latest => {
                let mut ends = BTreeMap::new();
                for partition in topic.partitions() {
                    let end = state.log.bounds(&partition)?.end;
                    ends.insert(partition.partition.index(), end);
                }
                Ok(StartingPosition::Latest { ends })
            }
        }
    }
}

fn bootstrap_servers(state: &State, members: &mut Members) -> Result<Vec<String>, ApiError> {
    let foreign = |what: &str| {
        ApiError::InvalidParameter(format!(
            "{what} is not a source of this server: a mapping reads topics of its own Kafka port \
             (SelfManagedEventSource with KAFKA_BOOTSTRAP_SERVERS); foreign clusters and services \
             are configured as connectors"
        ))
    };
    if let Some(arn) = members.text("EventSourceArn")? {
        return Err(foreign(&arn));
    }
    let Some(mut source) = members.object("SelfManagedEventSource")? else {
        return Err(ApiError::InvalidParameter(
            "SelfManagedEventSource is required.".to_owned(),
        ));
    };
    let mut endpoints = match source.object("Endpoints")? {
        Some(endpoints) => endpoints,
        None => {
            return Err(ApiError::InvalidParameter(
                "Endpoints is required.".to_owned(),
            ));
        }
    };
    source.finish()?;
    let servers = endpoints
        .texts("KAFKA_BOOTSTRAP_SERVERS")?
        .unwrap_or_default();
    endpoints.finish()?;
    if servers.is_empty() || servers.len() > 10 {
        return Err(ApiError::InvalidParameter(
            "KAFKA_BOOTSTRAP_SERVERS lists 1 to 10 addresses.".to_owned(),
        ));
    }
    match servers
        .iter()
        .find(|server| !state.own_kafka.contains(server))
    {
        Some(other) => Err(foreign(&format!("The Kafka cluster at {other}"))),
        None => Ok(servers),
    }
}

fn topic_name(members: &mut Members) -> Result<String, ApiError> {
    let topics = members.texts("Topics")?.unwrap_or_default();
    match <[String; 1]>::try_from(topics) {
        Ok([topic]) => Ok(topic),
        Err(_) => Err(ApiError::InvalidParameter(
            "Topics must name exactly one topic.".to_owned(),
        )),
    }
}

fn consumer_group(members: &mut Members) -> Result<Option<String>, ApiError> {
    const NAME: &str = "ConsumerGroupId";
    let Some(mut config) = members.object("SelfManagedKafkaEventSourceConfig")? else {
        return Ok(None);
    };
    let group = config.short_text(NAME, CONSUMER_GROUP_CHARS)?;
    config.only("ConsumptionMode", &json!("Stream"))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-/*:_+=.@".contains(&byte);
    if let Some(group) = group.as_deref()
        && !group.bytes().all(legal)
    {
        let constraint = r"satisfy regular expression pattern: [a-zA-Z0-9-\/*:_+=.@-]*";
        return Err(config.unsatisfied(NAME, group, constraint));
    }
    config.finish()?;
    Ok(group.filter(|group| !group.is_empty()))
}

/// Every invocation writes to topics of the server: its usage, its bill, its log, its failure. A
/// mapping on one would run on what it makes, without end.
fn refuse_own_output(topic: &str) -> Result<(), ApiError> {
    if topic.starts_with("tidemill.") {
        return Err(ApiError::InvalidParameter(format!(
            "The topic {topic} cannot be the source of a mapping: invocations write to it, so the \
             mapping would run on what it makes"
        )));
    }
    Ok(())
}

fn refuse_second(state: &State, function: &FunctionName, topic: &str) -> Result<(), ApiError> {
    let triggers = state.registry.triggers();
    let same = triggers.iter().find(|trigger| {
        let reads = matches!(&trigger.source, TriggerSource::Topic { topic: of, .. } if of.as_str() == topic);
        reads && trigger.function == *function
    });
    match same {
        Some(trigger) => Err(ApiError::Conflict(format!(
            "An event source mapping with topic (\"{topic}\") and function (\"{function}\") already \
             exists. Please update or delete the existing mapping with UUID {}",
            trigger.id
        ))),
        None => Ok(()),
    }
}
