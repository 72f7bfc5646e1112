//! How a mapping is shown.

use function::{Problem, StartingPosition, Trigger, TriggerSource};
use serde_json::{Value, json};

use super::destination::shown_destination;
use crate::State;
use crate::functions::seconds;

/// AWS's `EventSourceMappingConfiguration`. `transition` is the state that an answer to a change
/// shows; without it the mapping is in the state that it is in.
pub(super) fn mapping(state: &State, trigger: &Trigger, transition: Option<&str>) -> Value {
    let retry = &trigger.retry;
    let endless = |number: Option<u32>| number.map_or(-1, i64::from);
    let mut shown = json!({
        "UUID": trigger.id.to_string(),
        "EventSourceMappingArn": state.mapping_arn(trigger.id),
        "FunctionArn": state.target_arn(&trigger.target()),
        "LastModified": seconds(trigger.last_modified),
        "LastProcessingResult": last_result(state, trigger),
        "State": transition.unwrap_or(if trigger.enabled { "Enabled" } else { "Disabled" }),
        "StateTransitionReason": trigger.problem.map_or("USER_INITIATED", reason),
        "BatchSize": trigger.batch.batch_size,
        // Half a second, the default of this source, has no whole number; AWS shows zero.
        "MaximumBatchingWindowInSeconds": trigger.batch.maximum_batching_window_ms / 1_000,
        "MaximumRecordAgeInSeconds": endless(retry.maximum_record_age_seconds),
        "MaximumRetryAttempts": endless(retry.maximum_retry_attempts),
        "BisectBatchOnFunctionError": retry.bisect_batch_on_function_error,
        "FunctionResponseTypes": match trigger.report_batch_item_failures {
            true => vec!["ReportBatchItemFailures"],
            false => Vec::new(),
        },
        "DestinationConfig": {"OnFailure": shown_destination(&retry.on_failure)},
    });
    match &trigger.starting_position {
        StartingPosition::TrimHorizon => shown["StartingPosition"] = json!("TRIM_HORIZON"),
        StartingPosition::Latest { .. } => shown["StartingPosition"] = json!("LATEST"),
        StartingPosition::AtTimestamp { time } => {
            shown["StartingPosition"] = json!("AT_TIMESTAMP");
            shown["StartingPositionTimestamp"] = json!(seconds(*time));
        }
    }
    if !trigger.filters.is_empty() {
        let patterns: Vec<_> = trigger
            .filters
            .iter()
            .map(|pattern| json!({"Pattern": pattern}))
            .collect();
        shown["FilterCriteria"] = json!({"Filters": patterns});
    }
    match &trigger.source {
        TriggerSource::Topic {
            topic,
            bootstrap_servers,
            consumer_group_id,
        } => {
            let servers: Vec<_> = bootstrap_servers.split(',').collect();
            shown["Topics"] = json!([topic.as_str()]);
            shown["SelfManagedEventSource"] =
                json!({"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}});
            shown["SelfManagedKafkaEventSourceConfig"] =
                json!({"ConsumerGroupId": consumer_group_id});
        }
        TriggerSource::TableStream { stream_arn, .. } => {
            shown["EventSourceArn"] = json!(stream_arn);
            shown["ParallelizationFactor"] = json!(1);
            shown["TumblingWindowInSeconds"] = json!(0);
        }
        // A bucket's notifications are shown by S3's API.
        TriggerSource::Bucket { .. } => {}
    }
    shown
}

/// What the dispatcher says; of a trigger that does not run, what its checkpoints tell.
fn last_result(state: &State, trigger: &Trigger) -> String {
    if let Some(problem) = trigger.problem {
        return format!("PROBLEM: {}", reason(problem));
    }
    let processed = || !state.log.checkpoints(&trigger.consumer()).is_empty();
    let told = state.triggers.last_result(trigger.id);
    told.unwrap_or_else(|| match processed() {
        true => "OK".to_owned(),
        false => "No records processed".to_owned(),
    })
}

const fn reason(problem: Problem) -> &'static str {
    match problem {
        Problem::FunctionNotFound => "Function not found",
    }
}
