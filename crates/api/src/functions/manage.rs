//! Creating, changing and deleting functions.

use std::sync::Arc;

use axum::response::Response;
use function::limits::{
    DEFAULT_EPHEMERAL_STORAGE_MIB, DEFAULT_MEMORY_MIB, DEFAULT_TIMEOUT_SECONDS,
};
use function::{Function, NewFunction, NewVersion, Qualifier, Version};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::code;
use super::settings::{Settings, check_tags};
use super::shape::{ARCHITECTURE, configuration};
use super::wasm;
use crate::members::Members;
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

pub(crate) async fn create(state: &State, request: &Request) -> Result<Response, ApiError> {
    let mut members = request.members()?;
    let named = members.required_text("FunctionName")?;
    let name = state.function_name(&named, None)?;
    let settings = Settings::take(state, &mut members, &name)?;
    let tags = members.map("Tags")?.unwrap_or_default();
    check_tags(&tags)?;
    let publish = members.flag("Publish")?.unwrap_or_default();
    members.only("PackageType", &json!("Zip"))?;
    members.only("Architectures", &json!([ARCHITECTURE]))?;
    let Some(mut place) = members.object("Code")? else {
        return Err(missing("code"));
    };
    members.finish()?;
    let (Some(runtime), Some(handler)) = (
        settings.runtime.clone(),
        settings
            .handler
            .clone()
            .filter(|handler| !handler.is_empty()),
    ) else {
        return Err(ApiError::InvalidParameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment \
             packages."
                .to_owned(),
        ));
    };
    let Some(role) = settings.role.clone() else {
        return Err(missing("role"));
    };
    if state.registry.function(&name).is_some() {
        return Err(exists(&name));
    }
    wasm::check_settings(&settings, None)?;
    let package = code::package(state, &mut place).await?;
    place.finish()?;
    wasm::check_module(state, &name, &runtime, &handler, &package).await?;
    let new = NewFunction {
        account: state.account.clone(),
        name: name.clone(),
        runtime,
        handler,
        role,
        description: settings.description.unwrap_or_default(),
        memory_mib: settings.memory_mib.unwrap_or(DEFAULT_MEMORY_MIB),
        ephemeral_storage_mib: settings
            .ephemeral_storage_mib
            .unwrap_or(DEFAULT_EPHEMERAL_STORAGE_MIB),
        timeout_seconds: settings.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS),
        environment: settings.environment.unwrap_or_default(),
        layers: settings.layers.unwrap_or_default(),
        logging: settings.logging.unwrap_or_default(),
        tags,
    };
    let function = state.registry.create_function(new, package).await;
    let function = function.map_err(|error| refused(state, error))?;
    let shown = published(state, function, publish).await?;
    Ok(answer(StatusCode::CREATED, shown))
}

pub(crate) async fn update_code(state: &State, request: &Request) -> Result<Response, ApiError> {
    let name = request.function(state)?;
    let mut members = request.members()?;
    let expected = revision(&mut members)?;
    let publish = members.flag("Publish")?.unwrap_or_default();
    members.only("Architectures", &json!([ARCHITECTURE]))?;
    let current = state.expect_function(&name)?;
    let package = code::package(state, &mut members).await?;
    members.finish()?;
    wasm::check_module(state, &name, &current.runtime, &current.handler, &package).await?;
    let function = state.registry.update_code(&name, expected, package).await?;
    let shown = published(state, function, publish).await?;
    Ok(answer(StatusCode::OK, shown))
}

pub(crate) async fn update_configuration(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let name = request.function(state)?;
    let mut members = request.members()?;
    let expected = revision(&mut members)?;
    let settings = Settings::take(state, &mut members, &name)?;
    members.finish()?;
    let current = state.expect_function(&name)?;
    wasm::check_settings(&settings, Some(&current))?;
    wasm::check_change(state, &current, &settings).await?;
    let change = |function: &mut Function| settings.apply(function);
    let updated = state.registry.update_configuration(&name, expected, change);
    let updated = updated.await.map_err(|error| refused(state, error))?;
    Ok(answer(StatusCode::OK, configuration(state, &updated)))
}

pub(crate) async fn delete(state: &State, request: &Request) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    match &target.qualifier {
        None => {
            state.expect_function(&target.name)?;
            state.registry.delete_function(&target.name).await?;
        }
        Some(Qualifier::Version(Version::Latest)) => {
            return Err(ApiError::InvalidParameter(
                "$LATEST version cannot be deleted without deleting the function.".to_owned(),
            ));
        }
        Some(Qualifier::Version(Version::Published(number))) => {
            state.expect_version(&target)?;
            state.registry.delete_version(&target.name, *number).await?;
        }
        Some(Qualifier::Alias(_)) => {
            return Err(ApiError::InvalidParameter(
                "Deletion of aliases is not currently supported.".to_owned(),
            ));
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// What is shown of a function that was created or got new code: the version that was to be
/// published with it, or itself.
async fn published(
    state: &State,
    function: Arc<Function>,
    publish: bool,
) -> Result<Value, ApiError> {
    let shown = match publish {
        false => function,
        true => {
            let new = NewVersion {
                expected: Some(function.revision),
                ..NewVersion::default()
            };
            state.registry.publish_version(&function.name, new).await?
        }
    };
    Ok(configuration(state, &shown))
}

/// An error of the registry's, with names as the caller knows them.
fn refused(state: &State, error: function::Error) -> ApiError {
    match error {
        function::Error::UnknownLayer { layer } => {
            let arn = layer.arn(&state.region, &state.account);
            ApiError::InvalidParameter(format!("Layer version {arn} does not exist."))
        }
        other => other.into(),
    }
}

/// The revision that the caller insists on. One that is no UUID can be nobody's.
pub(super) fn revision(members: &mut Members) -> Result<Option<Uuid>, ApiError> {
    let given = members.text("RevisionId")?;
    given
        .map(|text| Uuid::parse_str(&text).map_err(|_| ApiError::PreconditionFailed))
        .transpose()
}

fn missing(member: &str) -> ApiError {
    ApiError::Validation(format!(
        "Value null at '{member}' failed to satisfy constraint: Member must not be null"
    ))
}

fn exists(name: &function::FunctionName) -> ApiError {
    ApiError::Conflict(format!("Function already exist: {name}"))
}
