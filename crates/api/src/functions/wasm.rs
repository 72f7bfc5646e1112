//! What is asked of a WebAssembly function before it is deployed.

use bytes::Bytes;
use function::limits::DEFAULT_EPHEMERAL_STORAGE_MIB;
use function::{Function, FunctionName};
use instance::{EGRESS, Runtime};

use crate::{ApiError, ModuleError, State};

use super::settings::Settings;

/// Refuses a package whose module cannot be run, if `runtime` is for WebAssembly.
pub(crate) async fn check_module(
    state: &State,
    name: &FunctionName,
    runtime: &str,
    handler: &str,
    package: &Bytes,
) -> Result<(), ApiError> {
    if !is_wasm(runtime) {
        return Ok(());
    }
    let checked = state
        .modules
        .check(name.as_str(), handler, package.clone())
        .await;
    checked.map_err(|error| match error {
        ModuleError::Refused(reason) => ApiError::InvalidParameter(reason),
        ModuleError::Unavailable { .. } => ApiError::service(&error),
    })
}

/// The same for a function whose settings are about to change, and its package not.
pub(crate) async fn check_change(
    state: &State,
    function: &Function,
    settings: &Settings,
) -> Result<(), ApiError> {
    let runtime = settings.runtime.as_ref().unwrap_or(&function.runtime);
    let handler = settings.handler.as_ref().unwrap_or(&function.handler);
    if !is_wasm(runtime) || (*runtime == function.runtime && *handler == function.handler) {
        return Ok(());
    }
    let package = state.registry.archive(function).await?;
    check_module(state, &function.name, runtime, handler, &package).await
}

/// Refuses settings that a WebAssembly function cannot have: it has neither files nor a network.
pub(crate) fn check_settings(
    settings: &Settings,
    function: Option<&Function>,
) -> Result<(), ApiError> {
    let runtime = settings.runtime.as_deref();
    let runtime = runtime.or(function.map(|function| function.runtime.as_str()));
    if !runtime.is_some_and(is_wasm) {
        return Ok(());
    }
    let layers = settings.layers.as_ref();
    if layers
        .or(function.map(|function| &function.layers))
        .is_some_and(|layers| !layers.is_empty())
    {
        return Err(ApiError::InvalidParameter(
            "Layers are not supported for the runtime wasm: its functions see no files.".to_owned(),
        ));
    }
    let storage = settings.ephemeral_storage_mib;
    if storage.is_some_and(|mebibytes| mebibytes != DEFAULT_EPHEMERAL_STORAGE_MIB) {
        return Err(ApiError::InvalidParameter(
            "EphemeralStorage has its default size for the runtime wasm: its functions see no files."
                .to_owned(),
        ));
    }
    let environment = settings.environment.as_ref();
    match environment
        .or(function.map(|function| &function.environment))
        .and_then(|environment| environment.get(EGRESS))
    {
        Some(egress) if egress != "none" => Err(ApiError::InvalidParameter(format!(
            "{EGRESS} is {egress:?}, and functions of the runtime wasm have no network."
        ))),
        Some(_) | None => Ok(()),
    }
}

fn is_wasm(runtime: &str) -> bool {
    runtime.parse() == Ok(Runtime::Wasm)
}
