//! What a mapping reads: a topic, or a table's changes.

use event_log::{Lifetime, Topic, TopicConfig, TopicName};
use function::limits::{CONSUMER_GROUP_CHARS, DEFAULT_KAFKA_BATCHING_WINDOW_MS};
use function::{TriggerId, TriggerSource};
use serde_json::json;

use super::create::Start;
use super::destination::topic;
use crate::members::Members;
use crate::{ApiError, State, TableStream};

/// What a request names as the mapping's source.
pub(super) enum Source {
    Topic {
        servers: Vec<String>,
        topic: String,
        group: Option<String>,
    },
    Table {
        arn: String,
        stream: TableStream,
    },
}

impl Source {
    pub(super) fn take(state: &State, members: &mut Members) -> Result<Self, ApiError> {
        let Some(arn) = members.text("EventSourceArn")? else {
            return Ok(Self::Topic {
                servers: bootstrap_servers(state, members)?,
                topic: topic_name(members)?,
                group: consumer_group(members)?,
            });
        };
        if !arn.starts_with("arn:aws:dynamodb:") {
            return Err(foreign(&arn));
        }
        // One lane for each partition; more are not made.
        members.only("ParallelizationFactor", &json!(1))?;
        match state.table_streams.find(&arn) {
            Some(stream) => Ok(Self::Table { arn, stream }),
            None => Err(ApiError::NotFound(format!(
                "Stream not found: {arn}: no connector of this server reads such a table; \
                 `tidemill connector list` shows the streams that there are"
            ))),
        }
    }

    /// The name of the topic that it is read from.
    pub(super) fn topic_name(&self) -> &str {
        match self {
            Self::Topic { topic, .. } => topic,
            Self::Table { stream, .. } => stream.topic.as_str(),
        }
    }

    /// Streams of tables have no place by time, as with AWS.
    pub(super) fn check_start(&self, start: &Start) -> Result<(), ApiError> {
        match (self, start) {
            (Self::Table { .. }, Start::AtTimestamp(_)) => Err(ApiError::InvalidParameter(
                "Unsupported starting position for stream type. Please use LATEST or TRIM_HORIZON."
                    .to_owned(),
            )),
            (Self::Table { .. }, Start::TrimHorizon | Start::Latest) | (Self::Topic { .. }, _) => {
                Ok(())
            }
        }
    }

    /// The topic itself, created when absent: a table may be mapped before its first change is there.
    pub(super) async fn topic(&self, state: &State) -> Result<Topic, ApiError> {
        match self {
            Self::Topic { topic: name, .. } => topic(state, name).await,
            Self::Table { stream, .. } => {
                let config = TopicConfig::new(stream.partitions, Lifetime::Events);
                Ok(state.log.ensure_topic(&stream.topic, config).await?)
            }
        }
    }

    /// How long a batch may fill when the request does not say.
    pub(super) const fn default_batching_window_ms(&self) -> u32 {
        match self {
            Self::Topic { .. } => DEFAULT_KAFKA_BATCHING_WINDOW_MS,
            Self::Table { .. } => 0,
        }
    }

    /// As the trigger `id` keeps it.
    pub(super) fn of_trigger(self, id: TriggerId, topic: TopicName) -> TriggerSource {
        match self {
            Self::Topic { servers, group, .. } => TriggerSource::Topic {
                topic,
                bootstrap_servers: servers.join(","),
                consumer_group_id: group.unwrap_or_else(|| id.to_string()),
            },
            Self::Table { arn, .. } => TriggerSource::TableStream {
                topic,
                stream_arn: arn,
            },
        }
    }
}

fn foreign(what: &str) -> ApiError {
    ApiError::InvalidParameter(format!(
        "{what} is not a source of this server: a mapping reads topics of its own Kafka port \
         (SelfManagedEventSource with KAFKA_BOOTSTRAP_SERVERS) and the streams of tables \
         (EventSourceArn with arn:aws:dynamodb:…); foreign clusters and services are configured as \
         connectors"
    ))
}

fn bootstrap_servers(state: &State, members: &mut Members) -> Result<Vec<String>, ApiError> {
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
