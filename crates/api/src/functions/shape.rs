//! How a function is shown.

use clock::Timestamp;
use function::{Function, QualifiedName, Qualifier, Version};
use serde_json::{Value, json};
use time::macros::format_description;

use super::{image, logging};
use crate::State;
use crate::layers::shown_on_function;

/// The machine's architecture in AWS's word: the only one that functions can have here.
pub(super) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "x86_64"
};

/// AWS's `FunctionConfiguration`. A function with a package is active at once: it was unpacked before the
/// function became visible.
pub(super) fn configuration(state: &State, function: &Function) -> Value {
    let qualifier = match function.version {
        Version::Latest => None,
        published @ Version::Published(_) => Some(Qualifier::Version(published)),
    };
    let target = QualifiedName {
        name: function.name.clone(),
        qualifier,
    };
    configuration_of(state, function, &target)
}

/// The same with the version in the ARN, that of `$LATEST` too: as lists of versions show it.
pub(super) fn numbered(state: &State, function: &Function) -> Value {
    let target = QualifiedName {
        name: function.name.clone(),
        qualifier: Some(Qualifier::Version(function.version)),
    };
    configuration_of(state, function, &target)
}

/// The same with the ARN that was asked for.
pub(super) fn configuration_of(
    state: &State,
    function: &Function,
    target: &QualifiedName,
) -> Value {
    let mut shown = json!({
        "FunctionName": function.name.as_str(),
        "FunctionArn": state.target_arn(target),
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.code.size,
        "CodeSha256": function.code.sha256,
        "Description": function.description,
        "Timeout": function.timeout_seconds,
        "MemorySize": function.memory_mib,
        "LastModified": moment(function.last_modified),
        "Version": function.version.to_string(),
        "RevisionId": function.revision.to_string(),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": image::ZIP,
        "Architectures": [ARCHITECTURE],
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": function.ephemeral_storage_mib},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": logging::shown(function.logging, &function.name),
    });
    if !function.environment.is_empty() {
        shown["Environment"] = json!({"Variables": function.environment});
    }
    if !function.layers.is_empty() {
        shown["Layers"] = json!(shown_on_function(state, function));
    }
    if let Some(members) = shown.as_object_mut() {
        image::show(function, members);
    }
    shown
}

/// `2026-11-20T23:19:00.123+0000`.
pub(crate) fn moment(at: Timestamp) -> String {
    let format = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000"
    );
    at.to_utc()
        .format(&format)
        .expect("every component of the format is in the date")
}
