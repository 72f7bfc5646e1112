//! Looking at, changing and deleting mappings.

use std::sync::Arc;

use axum::response::Response;
use function::{QualifiedName, Trigger, TriggerSource};
use http::StatusCode;

use super::settings::Settings;
use super::shape::mapping;
use crate::functions::listed;
use crate::reference::{mapping_id, mapping_not_found};
use crate::router::{Request, json as answer};
use crate::{ApiError, State};

/// Mappings on one page (AWS shows 100, whatever more is asked for).
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 10_000;

pub(crate) fn get(state: &State, request: &Request) -> Result<Response, ApiError> {
    let trigger = find(state, request)?;
    Ok(answer(StatusCode::OK, mapping(state, &trigger, None)))
}

pub(crate) fn list(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, LONGEST_PAGE)?;
    let function = request
        .query
        .get("FunctionName")
        .map(|text| state.qualified(text, None))
        .transpose()?;
    let arn = request.query.get("EventSourceArn");
    let triggers = state.registry.triggers().into_iter().filter(|trigger| {
        is_mapping(trigger)
            && arn.is_none_or(|arn| stream_arn(trigger) == Some(arn))
            && function
                .as_ref()
                .is_none_or(|wanted| is_of(trigger, wanted))
    });
    let (shown, next) = page.cut(triggers, |trigger| trigger.id.to_string());
    let shown = shown.iter().map(|trigger| mapping(state, trigger, None));
    Ok(answer(
        StatusCode::OK,
        listed("EventSourceMappings", shown.collect(), next),
    ))
}

pub(crate) async fn update(state: &State, request: &Request) -> Result<Response, ApiError> {
    let before = find(state, request)?;
    let mut members = request.members()?;
    let function = members.text("FunctionName")?;
    let function = function
        .map(|text| state.qualified(&text, None))
        .transpose()?;
    if let Some(target) = &function {
        state.expect_version(target)?;
    }
    let settings = Settings::take(&mut members)?;
    members.finish()?;
    settings.check_source(before.topic().as_str())?;
    settings.prepare(state).await?;
    let transition = settings.transition(&before);
    if transition == "Enabling" && function.is_none() {
        state.expect_version(&before.target())?;
    }
    let change = |trigger: &mut Trigger| {
        if let Some(function) = function {
            trigger.function = function.name;
            trigger.qualifier = function.qualifier;
        }
        settings.apply(trigger);
    };
    let trigger = state.registry.update_trigger(before.id, change).await?;
    Ok(answer(
        StatusCode::ACCEPTED,
        mapping(state, &trigger, Some(transition)),
    ))
}

pub(crate) async fn delete(state: &State, request: &Request) -> Result<Response, ApiError> {
    let before = find(state, request)?;
    let trigger = state.registry.delete_trigger(before.id).await?;
    Ok(answer(
        StatusCode::ACCEPTED,
        mapping(state, &trigger, Some("Deleting")),
    ))
}

fn find(state: &State, request: &Request) -> Result<Arc<Trigger>, ApiError> {
    let id = mapping_id(request.piece(0))?;
    let trigger = state.registry.trigger(id);
    let mapping = trigger.filter(|trigger| is_mapping(trigger));
    mapping.ok_or_else(mapping_not_found)
}

/// Without a qualifier, whichever version or alias a mapping runs.
fn is_of(trigger: &Trigger, wanted: &QualifiedName) -> bool {
    match wanted.qualifier {
        None => trigger.function == wanted.name,
        Some(_) => trigger.target().means_the_same(wanted),
    }
}

fn is_mapping(trigger: &Trigger) -> bool {
    match trigger.source {
        TriggerSource::Topic { .. } | TriggerSource::TableStream { .. } => true,
        TriggerSource::Bucket { .. } => false,
    }
}

fn stream_arn(trigger: &Trigger) -> Option<&str> {
    match &trigger.source {
        TriggerSource::TableStream { stream_arn, .. } => Some(stream_arn),
        TriggerSource::Topic { .. } | TriggerSource::Bucket { .. } => None,
    }
}
