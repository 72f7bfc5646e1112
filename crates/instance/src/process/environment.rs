//! The environment of an instance, as AWS Lambda sets it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{LogFormat, Runtime, Spec};

/// What an instance's environment takes from the platform.
pub(super) struct Surroundings<'a> {
    pub(super) runtime_api: String,
    pub(super) code: &'a Path,
    pub(super) runtimes: &'a Path,
    pub(super) search_path: &'a str,
    pub(super) temporary: &'a Path,
    pub(super) log_stream: &'a str,
}

/// What every instance of `runtime` has unless its function says otherwise.
pub(super) fn defaults(
    runtime: Runtime,
    surroundings: &Surroundings<'_>,
) -> BTreeMap<String, String> {
    let (runtimes, code) = (path(surroundings.runtimes), path(surroundings.code));
    let libraries = format!("{runtimes}:{runtimes}/lib:{code}:{code}/lib:/opt/lib");
    let defaults = [
        ("LANG", "C.UTF-8".to_owned()),
        ("PATH", surroundings.search_path.to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("LD_LIBRARY_PATH", libraries),
        ("HOME", path(surroundings.temporary)),
    ];
    let modules = match runtime {
        Runtime::Node { major } => Some((
            "NODE_PATH",
            format!(
                "/opt/nodejs/node{major}/node_modules:/opt/nodejs/node_modules:{runtimes}/node_modules"
            ),
        )),
        Runtime::Python { .. }
        | Runtime::Java { .. }
        | Runtime::Provided
        | Runtime::ProvidedAl2
        | Runtime::ProvidedAl2023 => None,
    };
    let defaults = defaults.into_iter().chain(modules);
    defaults.map(owned).collect()
}

/// The whole environment of an instance of `spec`. What the function configures gives way to what
/// the model reserves, and prevails over defaults.
pub(super) fn of(spec: &Spec, surroundings: &Surroundings<'_>) -> BTreeMap<String, String> {
    let temporary = path(surroundings.temporary);
    let (runtimes, code) = (path(surroundings.runtimes), path(surroundings.code));
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
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", spec.log_group.clone()),
        (
            "AWS_LAMBDA_LOG_STREAM_NAME",
            surroundings.log_stream.to_owned(),
        ),
        ("AWS_LAMBDA_RUNTIME_API", surroundings.runtime_api.clone()),
        ("LAMBDA_TASK_ROOT", code),
        ("LAMBDA_RUNTIME_DIR", runtimes),
        ("TMPDIR", temporary),
    ];
    // AWS names the runtime only for those it brings itself.
    let brought = match spec.runtime {
        Runtime::Python { .. } | Runtime::Node { .. } | Runtime::Java { .. } => {
            Some(("AWS_EXECUTION_ENV", format!("AWS_Lambda_{}", spec.runtime)))
        }
        Runtime::Provided | Runtime::ProvidedAl2 | Runtime::ProvidedAl2023 => None,
    };
    let (format, level) = match spec.log_format {
        LogFormat::Text => ("Text", None),
        LogFormat::Json { application, .. } => ("JSON", Some(application.name())),
    };
    let level = level.map(|level| ("AWS_LAMBDA_LOG_LEVEL", level.to_owned()));
    let logging = [("AWS_LAMBDA_LOG_FORMAT", format.to_owned())];
    let logging = logging.into_iter().chain(level);
    let mut environment = defaults(spec.runtime, surroundings);
    environment.extend(spec.environment.clone());
    environment.extend(
        reserved
            .into_iter()
            .chain(brought)
            .chain(logging)
            .map(owned),
    );
    environment
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn owned((name, value): (&str, String)) -> (String, String) {
    (name.to_owned(), value)
}
