//! Creating, changing and deleting functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use function::limits::{
    DEFAULT_EPHEMERAL_STORAGE_MIB, DEFAULT_MEMORY_MIB, DEFAULT_TIMEOUT_SECONDS,
};
use function::{
    Function, FunctionName, ImageOverrides, NewCode, NewFunction, NewVersion, Qualifier, Version,
};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::settings::{Settings, check_tags};
use super::shape::{ARCHITECTURE, configuration};
use super::wasm;
use super::{code, image};
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
    let is_image = image::is_asked_for(&mut members)?;
    let overrides = image::overrides(&mut members)?;
    members.only("Architectures", &json!([ARCHITECTURE]))?;
    let Some(mut place) = members.object("Code")? else {
        return Err(missing("code"));
    };
    members.finish()?;
    image::check_settings(&settings, overrides.as_ref(), is_image)?;
    if is_image {
        let role = settings.role.clone().ok_or_else(|| missing("role"))?;
        if state.registry.function(&name).is_some() {
            return Err(exists(&name));
        }
        image::expect_unpublished(publish)?;
        let image = image::named(state, &mut place, "creating").await?;
        place.finish()?;
        let code = NewCode::Image(Box::new(image), overrides.unwrap_or_default());
        let kind = (String::new(), String::new(), role);
        let new = new_function(state, name, kind, settings, tags);
        let function = state.registry.create_function(new, code).await?;
        return Ok(answer(StatusCode::CREATED, configuration(state, &function)));
    }
    image::expect_none(&mut place, "creating")?;
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
    let new = new_function(state, name, (runtime, handler, role), settings, tags);
    let function = state.registry.create_function(new, package).await;
    let function = function.map_err(|error| refused(state, error))?;
    let shown = published(state, function, publish).await?;
    Ok(answer(StatusCode::CREATED, shown))
}

/// A function with these runtime, handler and role, and defaults for what the request does not say.
fn new_function(
    state: &State,
    name: FunctionName,
    (runtime, handler, role): (String, String, String),
    settings: Settings,
    tags: BTreeMap<String, String>,
) -> NewFunction {
    NewFunction {
        account: state.account.clone(),
        name,
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
    }
}

pub(crate) async fn update_code(state: &State, request: &Request) -> Result<Response, ApiError> {
    let name = request.function(state)?;
    let mut members = request.members()?;
    let expected = revision(&mut members)?;
    let publish = members.flag("Publish")?.unwrap_or_default();
    members.only("Architectures", &json!([ARCHITECTURE]))?;
    let current = state.expect_function(&name)?;
    let code = if current.image.is_some() {
        image::expect_unpublished(publish)?;
        let image = image::named(state, &mut members, "updating").await?;
        members.finish()?;
        NewCode::Image(Box::new(image), ImageOverrides::default())
    } else {
        image::expect_none(&mut members, "updating")?;
        let package = code::package(state, &mut members).await?;
        members.finish()?;
        wasm::check_module(state, &name, &current.runtime, &current.handler, &package).await?;
        NewCode::Archive(package)
    };
    let function = state.registry.update_code(&name, expected, code).await?;
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
    let overrides = image::overrides(&mut members)?;
    members.finish()?;
    let current = state.expect_function(&name)?;
    image::check_settings(&settings, overrides.as_ref(), current.image.is_some())?;
    wasm::check_settings(&settings, Some(&current))?;
    wasm::check_change(state, &current, &settings).await?;
    let change = |function: &mut Function| {
        settings.apply(function);
        if let (Some(code), Some(overrides)) = (&mut function.image, overrides) {
            code.overrides = overrides;
        }
    };
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
