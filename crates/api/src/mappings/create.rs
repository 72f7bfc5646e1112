//! CreateEventSourceMapping.

use std::collections::BTreeMap;

use axum::response::Response;
use clock::Timestamp;
use event_log::Topic;
use function::limits::DEFAULT_BATCH_SIZE;
use function::{
    Backoff, BatchPolicy, Destination, Ordering, QualifiedName, RetryPolicy, StartingPosition,
    Trigger, TriggerId, TriggerSource,
};
use http::StatusCode;
use uuid::Uuid;

use super::settings::Settings;
use super::shape::mapping;
use super::source::Source;
use crate::functions::check_tags;
use crate::members::Members;
use crate::router::{Request, json as answer};
use crate::{ApiError, State};

pub(crate) async fn create(state: &State, request: &Request) -> Result<Response, ApiError> {
    let mut members = request.members()?;
    let named = members.required_text("FunctionName")?;
    let target = state.qualified(&named, None)?;
    let source = Source::take(state, &mut members)?;
    let id = TriggerId::random();
    let start = Start::take(state, &mut members)?;
    source.check_start(&start)?;
    let tags = members.map("Tags")?.unwrap_or_default();
    check_tags(&tags)?;
    state.expect_version(&target)?;
    refuse_second(state, &target, source.topic_name())?;
    let settings = Settings::take(&mut members)?;
    members.finish()?;
    refuse_own_output(source.topic_name())?;
    settings.check_source(source.topic_name())?;
    let topic = source.topic(state).await?;
    settings.prepare(state).await?;
    let mut trigger = Trigger {
        id,
        function: target.name,
        qualifier: target.qualifier,
        batch: BatchPolicy {
            batch_size: DEFAULT_BATCH_SIZE,
            maximum_batching_window_ms: source.default_batching_window_ms(),
        },
        source: source.of_trigger(id, topic.name.clone()),
        filters: Vec::new(),
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
pub(super) enum Start {
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

fn refuse_second(state: &State, target: &QualifiedName, topic: &str) -> Result<(), ApiError> {
    let triggers = state.registry.triggers();
    let same = triggers.iter().find(|trigger| {
        let mapping = match &trigger.source {
            TriggerSource::Topic { .. } | TriggerSource::TableStream { .. } => true,
            TriggerSource::Bucket { .. } => false,
        };
        mapping && trigger.topic().as_str() == topic && trigger.target().means_the_same(target)
    });
    match same {
        Some(trigger) => Err(ApiError::Conflict(format!(
            "An event source mapping with topic (\"{topic}\") and function (\"{target}\") already \
             exists. Please update or delete the existing mapping with UUID {}",
            trigger.id
        ))),
        None => Ok(()),
    }
}
