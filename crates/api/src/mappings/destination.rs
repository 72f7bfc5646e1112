//! Where failed events go.

use event_log::{Lifetime, Topic, TopicConfig, TopicName};
use function::Destination;
use serde_json::{Value, json};

use crate::members::Members;
use crate::{ApiError, State};

const SCHEME: &str = "kafka://";
const DEAD_LETTERS: &str = "tidemill.dead-letters";

/// Takes `DestinationConfig`; `None` where the request does not mention a destination.
pub(crate) fn failure_destination(members: &mut Members) -> Result<Option<Destination>, ApiError> {
    let Some(mut config) = members.object("DestinationConfig")? else {
        return Ok(None);
    };
    let on_failure = config.object("OnFailure")?;
    config.finish()?;
    let Some(mut on_failure) = on_failure else {
        return Ok(None);
    };
    let text = on_failure.text("Destination")?.unwrap_or_default();
    on_failure.finish()?;
    if text.is_empty() {
        return Ok(Some(Destination::DeadLetters));
    }
    let Some(name) = text.strip_prefix(SCHEME) else {
        return Err(ApiError::InvalidParameter(format!(
            "The destination {text} is not supported by this server: use {SCHEME}<topic>"
        )));
    };
    if name == DEAD_LETTERS {
        return Ok(Some(Destination::DeadLetters));
    }
    if is_ours(name) {
        return Err(ApiError::InvalidParameter(format!(
            "The destination {text} cannot be written to: its topic belongs to the server"
        )));
    }
    Ok(Some(Destination::Topic(legal(name)?)))
}

/// Creates the topic of a destination when absent.
pub(crate) async fn ensure_destination(
    state: &State,
    destination: Option<&Destination>,
) -> Result<(), ApiError> {
    match destination {
        None | Some(Destination::DeadLetters) => Ok(()),
        Some(Destination::Topic(name)) => topic(state, name.as_str()).await.map(drop),
    }
}

/// `OnFailure` as AWS shows it; the topic of dead letters is the default, and not shown.
pub(crate) fn shown_destination(destination: &Destination) -> Value {
    match destination {
        Destination::DeadLetters => json!({}),
        Destination::Topic(topic) => json!({"Destination": format!("{SCHEME}{topic}")}),
    }
}

/// The topic of that name, created when absent unless it is one that only the server makes.
pub(super) async fn topic(state: &State, name: &str) -> Result<Topic, ApiError> {
    let name =
        TopicName::new(name).map_err(|error| ApiError::InvalidParameter(error.to_string()))?;
    if is_ours(name.as_str()) {
        return state
            .log
            .topic(&name)
            .ok_or_else(|| ApiError::InvalidParameter(format!("The topic {name} does not exist")));
    }
    let config = TopicConfig::new(state.default_partitions, Lifetime::Events);
    Ok(state.log.ensure_topic(&name, config).await?)
}

fn legal(name: &str) -> Result<TopicName, ApiError> {
    TopicName::new(name).map_err(|error| ApiError::InvalidParameter(error.to_string()))
}

/// Whether only the server writes to a topic of that name.
fn is_ours(topic: &str) -> bool {
    topic.starts_with("tidemill.") || topic.starts_with("bucket.")
}
