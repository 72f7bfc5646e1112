//! Retry rules of asynchronous invocations.
//!
//! Bucket notifications are asynchronous invocations, so a change reaches the function's bucket
//! triggers too.

use axum::response::Response;
use function::limits::{ASYNC_EVENT_AGE_SECONDS, ASYNC_RETRY_ATTEMPTS};
use function::{AsyncPolicy, Destination, Function, FunctionName, TriggerSource};
use http::StatusCode;
use serde_json::{Value, json};

use super::read::listed;
use crate::mappings::{ensure_destination, failure_destination, shown_destination};
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

/// Configurations on one page (service model: at most 50).
const PAGE: usize = 50;

pub(crate) async fn put_event_invoke(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let name = request.function(state)?;
    let function = state.expect_function(&name)?;
    let stated = Stated::read(state, request).await?;
    let mut policy = AsyncPolicy::default();
    stated.apply(&mut policy);
    set(state, &function, policy).await
}

pub(crate) async fn update_event_invoke(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let function = state.expect_function(&request.function(state)?)?;
    let stated = Stated::read(state, request).await?;
    if function.asynchronous.configured_at.is_none() {
        return Err(none(state, &function.name));
    }
    let mut policy = function.asynchronous.clone();
    stated.apply(&mut policy);
    set(state, &function, policy).await
}

pub(crate) fn get_event_invoke(state: &State, request: &Request) -> Result<Response, ApiError> {
    let function = state.expect_function(&request.function(state)?)?;
    match shape(state, &function) {
        Some(shown) => Ok(answer(StatusCode::OK, shown)),
        None => Err(none(state, &function.name)),
    }
}

pub(crate) async fn delete_event_invoke(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let function = state.expect_function(&request.function(state)?)?;
    if function.asynchronous.configured_at.is_none() {
        return Err(none(state, &function.name));
    }
    write(state, &function.name, AsyncPolicy::default()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) fn list_event_invoke(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, PAGE)?;
    let function = state.expect_function(&request.function(state)?)?;
    let key = |_: &Value| Function::VERSION.to_owned();
    let (shown, next) = page.cut(shape(state, &function), key);
    Ok(answer(
        StatusCode::OK,
        listed("FunctionEventInvokeConfigs", shown, next),
    ))
}

/// What a request says of the rules.
struct Stated {
    retries: Option<u32>,
    age: Option<u32>,
    on_failure: Option<Destination>,
}

impl Stated {
    async fn read(state: &State, request: &Request) -> Result<Self, ApiError> {
        let mut members = request.members()?;
        let retries = members.natural("MaximumRetryAttempts", ASYNC_RETRY_ATTEMPTS)?;
        let age = members.natural("MaximumEventAgeInSeconds", ASYNC_EVENT_AGE_SECONDS)?;
        let on_failure = failure_destination(&mut members)?;
        members.finish()?;
        ensure_destination(state, on_failure.as_ref()).await?;
        Ok(Self {
            retries,
            age,
            on_failure,
        })
    }

    fn apply(self, policy: &mut AsyncPolicy) {
        if let Some(retries) = self.retries {
            policy.maximum_retry_attempts = retries;
        }
        if let Some(age) = self.age {
            policy.maximum_event_age_seconds = age;
        }
        if let Some(on_failure) = self.on_failure {
            policy.on_failure = on_failure;
        }
    }
}

async fn set(
    state: &State,
    function: &Function,
    mut policy: AsyncPolicy,
) -> Result<Response, ApiError> {
    policy.configured_at = Some(state.clock.now());
    write(state, &function.name, policy).await?;
    let function = state.expect_function(&function.name)?;
    let shown = shape(state, &function).unwrap_or_default();
    Ok(answer(StatusCode::OK, shown))
}

async fn write(state: &State, name: &FunctionName, policy: AsyncPolicy) -> Result<(), ApiError> {
    let stored = policy.clone();
    state
        .registry
        .update_attributes(name, None, |function| function.asynchronous = stored)
        .await?;
    for trigger in state.registry.triggers() {
        let bucket = matches!(trigger.source, TriggerSource::Bucket { .. });
        if !bucket || trigger.function != *name {
            continue;
        }
        let change = |trigger: &mut function::Trigger| {
            let retry = &mut trigger.retry;
            retry.maximum_retry_attempts = Some(policy.maximum_retry_attempts);
            retry.maximum_record_age_seconds = Some(policy.maximum_event_age_seconds);
            retry.on_failure = policy.on_failure.clone();
        };
        state.registry.update_trigger(trigger.id, change).await?;
    }
    Ok(())
}

fn shape(state: &State, function: &Function) -> Option<Value> {
    let policy = &function.asynchronous;
    let configured_at = policy.configured_at?;
    Some(json!({
        "LastModified": seconds(configured_at),
        "FunctionArn": format!("{}:{}", function.arn(&state.region), Function::VERSION),
        "MaximumRetryAttempts": policy.maximum_retry_attempts,
        "MaximumEventAgeInSeconds": policy.maximum_event_age_seconds,
        "DestinationConfig": {
            "OnSuccess": {},
            "OnFailure": shown_destination(&policy.on_failure),
        },
    }))
}

/// Seconds since the epoch, as AWS's JSON writes moments.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this era are exact in a double"
)]
pub(crate) fn seconds(at: clock::Timestamp) -> f64 {
    at.as_millis() as f64 / 1e3
}

fn none(state: &State, name: &FunctionName) -> ApiError {
    ApiError::NotFound(format!(
        "The function {}:$LATEST doesn't have an EventInvokeConfig",
        state.function_arn(name)
    ))
}
