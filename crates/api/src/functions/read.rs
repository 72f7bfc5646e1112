//! Looking at functions.

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::code::code_location;
use super::image;
use super::shape::{configuration, configuration_of, numbered};
use super::versions::place;
use crate::router::{Request, json as answer};
use crate::{ApiError, State};

/// Functions on one page (AWS shows 50, whatever more is asked for).
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 10_000;

pub(crate) fn get(state: &State, request: &Request) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let version = state.expect_version(&target)?;
    let function = state.expect_function(&target.name)?;
    let mut shown = json!({
        "Configuration": configuration_of(state, &version, &target),
        "Code": {"RepositoryType": "S3"},
    });
    if let Some(code) = &version.image {
        shown["Code"] = image::location(code);
    } else if let Some(location) = code_location(state, request, &version) {
        shown["Code"]["Location"] = json!(location);
    }
    if !function.tags.is_empty() {
        shown["Tags"] = json!(function.tags);
    }
    if let Some(reserved) = function.reserved_concurrency {
        shown["Concurrency"] = json!({"ReservedConcurrentExecutions": reserved});
    }
    Ok(answer(StatusCode::OK, shown))
}

pub(crate) fn get_configuration(state: &State, request: &Request) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let version = state.expect_version(&target)?;
    let shown = configuration_of(state, &version, &target);
    Ok(answer(StatusCode::OK, shown))
}

pub(crate) fn list(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, LONGEST_PAGE)?;
    let versions = match request.query.get("FunctionVersion") {
        None => Vec::new(),
        Some("ALL") => state.registry.every_version(),
        Some(other) => {
            return Err(ApiError::Validation(format!(
                "Value '{other}' at 'functionVersion' failed to satisfy constraint: Member must \
                 satisfy enum value set: [ALL]"
            )));
        }
    };
    let every = request.query.get("FunctionVersion").is_some();
    if request
        .query
        .get("MasterRegion")
        .is_some_and(|region| region != "ALL")
    {
        return Err(ApiError::InvalidParameter(
            "MasterRegion is not supported by this server: leave it out".to_owned(),
        ));
    }
    let mut functions = state.registry.functions();
    functions.extend(versions);
    functions.sort_by_cached_key(|function| place(function));
    let (functions, next) = page.cut(functions, |function| place(function));
    let shown: Vec<_> = functions
        .iter()
        .map(|function| match every {
            true => numbered(state, function),
            false => configuration(state, function),
        })
        .collect();
    Ok(answer(StatusCode::OK, listed("Functions", shown, next)))
}

/// No function has one: packages are not signed here.
pub(crate) fn get_code_signing(state: &State, request: &Request) -> Result<Response, ApiError> {
    let function = state.expect_function(&request.function(state)?)?;
    let shown = json!({"CodeSigningConfigArn": "", "FunctionName": function.name.as_str()});
    Ok(answer(StatusCode::OK, shown))
}

/// Loops are not detected here, so none is ended.
pub(crate) fn get_recursion(state: &State, request: &Request) -> Result<Response, ApiError> {
    state.expect_function(&request.function(state)?)?;
    Ok(answer(StatusCode::OK, json!({"RecursiveLoop": "Allow"})))
}

/// A page of a list.
pub(crate) fn listed(member: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let mut shown = json!({member: items});
    if let Some(next) = next {
        shown["NextMarker"] = json!(next);
    }
    shown
}
