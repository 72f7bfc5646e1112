//! Retry rules of asynchronous invocations.
//!
//! Bucket notifications are asynchronous invocations, so a change reaches the function's bucket
//! triggers too.

use axum::response::Response;
use function::limits::{ASYNC_EVENT_AGE_SECONDS, ASYNC_RETRY_ATTEMPTS};
use function::{AsyncPolicy, Destination, QualifiedName, Qualifier, TriggerSource};
use http::StatusCode;
use serde_json::{Value, json};

use super::permissions::attributes;
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
    let target = request.target(state)?;
    attributes(state, &target)?;
    let stated = Stated::read(state, request).await?;
    let mut policy = AsyncPolicy::default();
    stated.apply(&mut policy);
    set(state, &target, policy).await
}

pub(crate) async fn update_event_invoke(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let (before, _) = attributes(state, &target)?;
    let stated = Stated::read(state, request).await?;
    let mut policy = before.asynchronous;
    if policy.configured_at.is_none() {
        return Err(none(state, &target));
    }
    stated.apply(&mut policy);
    set(state, &target, policy).await
}

pub(crate) fn get_event_invoke(state: &State, request: &Request) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let (attributes, _) = attributes(state, &target)?;
    match shape(state, &target, &attributes.asynchronous) {
        Some(shown) => Ok(answer(StatusCode::OK, shown)),
        None => Err(none(state, &target)),
    }
}

pub(crate) async fn delete_event_invoke(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let (before, _) = attributes(state, &target)?;
    if before.asynchronous.configured_at.is_none() {
        return Err(none(state, &target));
    }
    write(state, &target, AsyncPolicy::default()).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) fn list_event_invoke(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, PAGE)?;
    let function = state.expect_function(&request.function(state)?)?;
    let registry = &state.registry;
    let versions = registry.versions(&function.name).into_iter();
    let versions = versions.map(|version| Qualifier::Version(version.version));
    let aliases = registry.aliases(&function.name).into_iter();
    let aliases = aliases.map(|alias| Qualifier::Alias(alias.name.clone()));
    let mut qualifiers: Vec<_> = versions.chain(aliases).collect();
    qualifiers.push(Qualifier::LATEST);
    qualifiers.sort_by_key(Qualifier::to_string);
    let configured = qualifiers.into_iter().filter_map(|qualifier| {
        let key = qualifier.to_string();
        let target = QualifiedName {
            name: function.name.clone(),
            qualifier: Some(qualifier),
        };
        let (attributes, _) = registry.attributes(&target)?;
        Some((key, shape(state, &target, &attributes.asynchronous)?))
    });
    let (shown, next) = page.cut(configured, |(key, _)| key.clone());
    let shown = shown.into_iter().map(|(_, shown)| shown).collect();
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
    target: &QualifiedName,
    mut policy: AsyncPolicy,
) -> Result<Response, ApiError> {
    policy.configured_at = Some(state.clock.now());
    let shown = shape(state, target, &policy).unwrap_or_default();
    write(state, target, policy).await?;
    Ok(answer(StatusCode::OK, shown))
}

async fn write(state: &State, target: &QualifiedName, policy: AsyncPolicy) -> Result<(), ApiError> {
    let stored = policy.clone();
    state
        .registry
        .update_attributes_of(target, None, |attributes| attributes.asynchronous = stored)
        .await?;
    for trigger in state.registry.triggers() {
        let bucket = matches!(trigger.source, TriggerSource::Bucket { .. });
        if !bucket || !trigger.target().means_the_same(target) {
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

fn shape(state: &State, target: &QualifiedName, policy: &AsyncPolicy) -> Option<Value> {
    let configured_at = policy.configured_at?;
    Some(json!({
        "LastModified": seconds(configured_at),
        "FunctionArn": whole_arn(state, target),
        "MaximumRetryAttempts": policy.maximum_retry_attempts,
        "MaximumEventAgeInSeconds": policy.maximum_event_age_seconds,
        "DestinationConfig": {
            "OnSuccess": {},
            "OnFailure": shown_destination(&policy.on_failure),
        },
    }))
}

/// The ARN with the qualifier that is meant.
fn whole_arn(state: &State, target: &QualifiedName) -> String {
    state.target_arn(&QualifiedName {
        name: target.name.clone(),
        qualifier: Some(target.meant().clone()),
    })
}

/// Seconds since the epoch, as AWS's JSON writes moments.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of this era are exact in a double"
)]
pub(crate) fn seconds(at: clock::Timestamp) -> f64 {
    at.as_millis() as f64 / 1e3
}

fn none(state: &State, target: &QualifiedName) -> ApiError {
    ApiError::NotFound(format!(
        "The function {} doesn't have an EventInvokeConfig",
        whole_arn(state, target)
    ))
}
