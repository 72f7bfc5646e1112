//! Tags of functions and mappings.

use std::collections::BTreeMap;

use axum::response::Response;
use function::{FunctionName, TriggerId};
use http::StatusCode;
use serde_json::json;

use super::settings::check_tags;
use crate::reference::{mapping_id, mapping_not_found};
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

type Tags = BTreeMap<String, String>;

/// What an ARN of these operations names.
enum Tagged {
    Function(FunctionName),
    Mapping(TriggerId),
}

pub(crate) async fn tag(state: &State, request: &Request) -> Result<Response, ApiError> {
    let resource = resource(state, request)?;
    let mut members = request.members()?;
    let added = members.map("Tags")?.unwrap_or_default();
    members.finish()?;
    change(state, resource, |tags| tags.extend(added)).await
}

pub(crate) async fn untag(state: &State, request: &Request) -> Result<Response, ApiError> {
    let resource = resource(state, request)?;
    let removed: Vec<&str> = request.query.all("tagKeys").collect();
    change(state, resource, |tags| {
        tags.retain(|key, _| !removed.contains(&key.as_str()));
    })
    .await
}

pub(crate) fn list_tags(state: &State, request: &Request) -> Result<Response, ApiError> {
    let tags = tags(state, &resource(state, request)?)?;
    Ok(answer(StatusCode::OK, json!({"Tags": tags})))
}

async fn change(
    state: &State,
    resource: Tagged,
    change: impl FnOnce(&mut Tags) + Send,
) -> Result<Response, ApiError> {
    let mut changed = tags(state, &resource)?;
    change(&mut changed);
    check_tags(&changed)?;
    match resource {
        Tagged::Function(name) => {
            let set = |function: &mut function::Function| function.tags = changed;
            state.registry.update_attributes(&name, None, set).await?;
        }
        Tagged::Mapping(id) => {
            let set = |trigger: &mut function::Trigger| trigger.tags = changed;
            state.registry.update_trigger(id, set).await?;
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

fn tags(state: &State, resource: &Tagged) -> Result<Tags, ApiError> {
    match resource {
        Tagged::Function(name) => Ok(state.expect_function(name)?.tags.clone()),
        Tagged::Mapping(id) => {
            let trigger = state.registry.trigger(*id).ok_or_else(mapping_not_found)?;
            Ok(trigger.tags.clone())
        }
    }
}

fn resource(state: &State, request: &Request) -> Result<Tagged, ApiError> {
    let arn = request.piece(0);
    let words: Vec<&str> = arn.split(':').collect();
    match words.as_slice() {
        ["arn", "aws", "lambda", _, _, "event-source-mapping", id] => {
            let id = mapping_id(id)?;
            match arn == state.mapping_arn(id) {
                true => Ok(Tagged::Mapping(id)),
                false => Err(mapping_not_found()),
            }
        }
        ["arn", "aws", "lambda", _, _, "function", _] => {
            Ok(Tagged::Function(state.function_name(arn, None)?))
        }
        _ => Err(ApiError::InvalidParameter(format!(
            "{arn} is no ARN of a function or an event source mapping; nothing else has tags"
        ))),
    }
}
