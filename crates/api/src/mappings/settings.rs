//! The parameters that creating and updating a mapping share.

use function::limits::{
    BATCH_SIZE, BATCHING_WINDOW_SECONDS, FILTERS, MAPPING_RECORD_AGE_SECONDS,
    MAPPING_RETRY_ATTEMPTS,
};
use function::{Destination, Filter, Trigger};
use serde_json::json;

use super::destination::{ensure_destination, failure_destination};
use crate::members::Members;
use crate::{ApiError, State};

/// What a request says of a mapping; `None` where it says nothing.
#[derive(Debug)]
pub(super) struct Settings {
    enabled: Option<bool>,
    batch_size: Option<u32>,
    window_seconds: Option<u32>,
    filters: Option<Vec<String>>,
    /// Outer: said or not. Inner: AWS's −1 is `None`.
    retries: Option<Option<u32>>,
    age_seconds: Option<Option<u32>>,
    bisect: Option<bool>,
    report_failures: Option<bool>,
    on_failure: Option<Destination>,
}

impl Settings {
    /// Takes and checks them.
    pub(super) fn take(members: &mut Members) -> Result<Self, ApiError> {
        let settings = Self {
            enabled: members.flag("Enabled")?,
            batch_size: members.natural("BatchSize", BATCH_SIZE)?,
            window_seconds: members
                .natural("MaximumBatchingWindowInSeconds", BATCHING_WINDOW_SECONDS)?,
            filters: filters(members)?,
            retries: members
                .integer("MaximumRetryAttempts", MAPPING_RETRY_ATTEMPTS)?
                .map(endless),
            age_seconds: age(members)?,
            bisect: members.flag("BisectBatchOnFunctionError")?,
            report_failures: response_types(members)?,
            on_failure: failure_destination(members)?,
        };
        members.only("TumblingWindowInSeconds", &json!(0))?;
        Ok(settings)
    }

    /// Refuses to send what failed back to the topic that the mapping reads: it would fail again
    /// without end.
    pub(super) fn check_source(&self, topic: &str) -> Result<(), ApiError> {
        match &self.on_failure {
            Some(Destination::Topic(to)) if to.as_str() == topic => {
                Err(ApiError::InvalidParameter(format!(
                    "The OnFailure destination kafka://{to} is the topic that the mapping reads"
                )))
            }
            Some(Destination::Topic(_) | Destination::DeadLetters) | None => Ok(()),
        }
    }

    /// Makes what they name, once everything has been checked.
    pub(super) async fn prepare(&self, state: &State) -> Result<(), ApiError> {
        ensure_destination(state, self.on_failure.as_ref()).await
    }

    /// Says all of it to a trigger, which was made or changed by its user.
    pub(super) fn apply(self, trigger: &mut Trigger) {
        if let Some(enabled) = self.enabled {
            trigger.enabled = enabled;
            trigger.problem = None;
        }
        if let Some(batch_size) = self.batch_size {
            trigger.batch.batch_size = batch_size;
        }
        if let Some(seconds) = self.window_seconds {
            trigger.batch.maximum_batching_window_ms = seconds * 1_000;
        }
        if let Some(filters) = self.filters {
            trigger.filters = filters;
        }
        if let Some(retries) = self.retries {
            trigger.retry.maximum_retry_attempts = retries;
        }
        if let Some(age) = self.age_seconds {
            trigger.retry.maximum_record_age_seconds = age;
        }
        if let Some(bisect) = self.bisect {
            trigger.retry.bisect_batch_on_function_error = bisect;
        }
        if let Some(report) = self.report_failures {
            trigger.report_batch_item_failures = report;
        }
        if let Some(on_failure) = self.on_failure {
            trigger.retry.on_failure = on_failure;
        }
    }

    /// The state that the mapping is on its way to, in AWS's word for an update.
    pub(super) fn transition(&self, before: &Trigger) -> &'static str {
        match self.enabled {
            Some(true) if !before.enabled => "Enabling",
            Some(false) if before.enabled => "Disabling",
            Some(_) | None => "Updating",
        }
    }
}

fn endless(number: i64) -> Option<u32> {
    u32::try_from(number).ok()
}

fn age(members: &mut Members) -> Result<Option<Option<u32>>, ApiError> {
    const NAME: &str = "MaximumRecordAgeInSeconds";
    let longest = *MAPPING_RECORD_AGE_SECONDS.end();
    match members.integer(NAME, -1..=longest)? {
        Some(age) if age != -1 && !MAPPING_RECORD_AGE_SECONDS.contains(&age) => {
            let constraint = format!("be -1 or between 60 and {longest}");
            Err(members.unsatisfied(NAME, &age.to_string(), &constraint))
        }
        other => Ok(other.map(endless)),
    }
}

fn filters(members: &mut Members) -> Result<Option<Vec<String>>, ApiError> {
    let Some(mut criteria) = members.object("FilterCriteria")? else {
        return Ok(None);
    };
    let filters = criteria.objects("Filters")?.unwrap_or_default();
    criteria.finish()?;
    if filters.len() > FILTERS {
        return Err(ApiError::InvalidParameter(format!(
            "The number of filters exceeds the limit of {FILTERS}"
        )));
    }
    let mut patterns = Vec::with_capacity(filters.len());
    for mut filter in filters {
        let pattern = filter.text("Pattern")?.unwrap_or_else(|| "{}".to_owned());
        filter.finish()?;
        Filter::compile(&pattern).map_err(|error| {
            ApiError::InvalidParameter(format!("Invalid filter pattern definition. ({error})"))
        })?;
        patterns.push(pattern);
    }
    Ok(Some(patterns))
}

fn response_types(members: &mut Members) -> Result<Option<bool>, ApiError> {
    const NAME: &str = "FunctionResponseTypes";
    const REPORT: &str = "ReportBatchItemFailures";
    let Some(types) = members.texts(NAME)? else {
        return Ok(None);
    };
    match types.iter().find(|kind| *kind != REPORT) {
        Some(other) => {
            let constraint = format!("satisfy enum value set: [{REPORT}]");
            Err(members.unsatisfied(NAME, other, &constraint))
        }
        None => Ok(Some(!types.is_empty())),
    }
}
