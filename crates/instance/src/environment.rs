//! The variables that the Lambda model reserves and every kind of instance has.

use crate::{LogFormat, Runtime, Spec};

/// What an instance of `spec` finds in its environment whatever the function configures, but for what
/// depends on where it runs.
pub(crate) fn reserved(spec: &Spec) -> impl Iterator<Item = (String, String)> {
    let reserved = [
        ("_HANDLER", spec.handler.clone()),
        ("AWS_REGION", spec.region.clone()),
        ("AWS_DEFAULT_REGION", spec.region.clone()),
        ("AWS_LAMBDA_FUNCTION_NAME", spec.function.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", spec.version.clone()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            spec.memory_mib.to_string(),
        ),
        (
            "AWS_LAMBDA_INITIALIZATION_TYPE",
            spec.initialization.as_str().to_owned(),
        ),
        ("AWS_LAMBDA_LOG_GROUP_NAME", spec.log_group.clone()),
    ];
    // AWS names the runtime only for those it brings itself.
    let brought = match spec.runtime {
        Runtime::Python { .. }
        | Runtime::Node { .. }
        | Runtime::Java { .. }
        | Runtime::Ruby { .. }
        | Runtime::Dotnet { .. }
        | Runtime::Wasm => Some(("AWS_EXECUTION_ENV", format!("AWS_Lambda_{}", spec.runtime))),
        Runtime::Provided | Runtime::ProvidedAl2 | Runtime::ProvidedAl2023 => None,
    };
    let (format, level) = match spec.log_format {
        LogFormat::Text => ("Text", None),
        LogFormat::Json { application, .. } => ("JSON", Some(application.name())),
    };
    let level = level.map(|level| ("AWS_LAMBDA_LOG_LEVEL", level.to_owned()));
    let logging = [("AWS_LAMBDA_LOG_FORMAT", format.to_owned())];
    let all = reserved.into_iter().chain(brought).chain(logging);
    all.chain(level).map(owned)
}

pub(crate) fn owned((name, value): (&str, String)) -> (String, String) {
    (name.to_owned(), value)
}
