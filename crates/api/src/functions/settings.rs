//! The parameters that creating and updating a function share.

use std::collections::BTreeMap;

use function::limits::{
    DESCRIPTION_CHARS, ENVIRONMENT_BYTES, EPHEMERAL_STORAGE_MIB, HANDLER_CHARS, LAYERS, MEMORY_MIB,
    TAG_KEY_CHARS, TAG_VALUE_CHARS, TAGS, TIMEOUT_SECONDS,
};
use function::{Function, FunctionName, LayerId, Logging};
use instance::{Egress, Runtime, UnsupportedRuntime};
use serde_json::json;

use super::logging;
use crate::members::Members;
use crate::{ApiError, State};

/// Variables that the Lambda model keeps to itself (AWS developer guide, "Defined runtime
/// environment variables", 2026).
const RESERVED: [&str; 17] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// AWS's runtimes that are not retired, as its message lists them (botocore 1.43.11).
const CURRENT_RUNTIMES: &str = "[nodejs20.x, provided.al2023, python3.12, python3.13, \
    nodejs22.x, java17, nodejs24.x, python3.14, dotnet10, java25, python3.10, python3.11, dotnet8, \
    java21, ruby3.3, ruby3.4, ruby4.0, java8.al2, provided.al2, java11]";

const RUN_HERE: &str = "python3.8 to python3.15, nodejs16.x to nodejs26.x, java11, java17, java21, \
    java25, ruby3.2, ruby3.3, ruby3.4, ruby4.0, dotnet6, dotnet8, dotnet10, provided, provided.al2, provided.al2023 and wasm";

/// What a request says of a function; `None` where it says nothing.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) runtime: Option<String>,
    pub(super) role: Option<String>,
    pub(super) handler: Option<String>,
    pub(super) description: Option<String>,
    pub(super) timeout_seconds: Option<u32>,
    pub(super) memory_mib: Option<u32>,
    pub(super) ephemeral_storage_mib: Option<u32>,
    pub(super) environment: Option<BTreeMap<String, String>>,
    pub(super) layers: Option<Vec<LayerId>>,
    pub(super) logging: Option<Logging>,
}

impl Settings {
    /// Takes and checks them. Members that may have one value only are taken too.
    pub(super) fn take(
        state: &State,
        members: &mut Members,
        name: &FunctionName,
    ) -> Result<Self, ApiError> {
        let settings = Self {
            runtime: runtime(members)?,
            role: role(members)?,
            handler: handler(members)?,
            description: members.short_text("Description", DESCRIPTION_CHARS)?,
            timeout_seconds: members.natural("Timeout", TIMEOUT_SECONDS)?,
            memory_mib: members.natural("MemorySize", MEMORY_MIB)?,
            ephemeral_storage_mib: ephemeral_storage(members)?,
            environment: environment(state, members)?,
            layers: layers(state, members)?,
            logging: logging::take(members, name)?,
        };
        members.only("TracingConfig", &json!({"Mode": "PassThrough"}))?;
        members.only("SnapStart", &json!({"ApplyOn": "None"}))?;
        Ok(settings)
    }

    pub(super) fn apply(self, function: &mut Function) {
        fn set<T>(to: &mut T, from: Option<T>) {
            if let Some(from) = from {
                *to = from;
            }
        }
        set(&mut function.runtime, self.runtime);
        set(&mut function.role, self.role);
        set(&mut function.handler, self.handler);
        set(&mut function.description, self.description);
        set(&mut function.timeout_seconds, self.timeout_seconds);
        set(&mut function.memory_mib, self.memory_mib);
        set(
            &mut function.ephemeral_storage_mib,
            self.ephemeral_storage_mib,
        );
        set(&mut function.environment, self.environment);
        set(&mut function.layers, self.layers);
        set(&mut function.logging, self.logging);
    }
}

/// Checks a function's or mapping's whole set of tags.
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > TAGS {
        return Err(ApiError::InvalidParameter(format!(
            "The number of tags exceeds the limit of {TAGS}"
        )));
    }
    for (key, value) in tags {
        let fits = (1..=TAG_KEY_CHARS).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_CHARS;
        if !fits {
            return Err(ApiError::InvalidParameter(format!(
                "Tag {key:?}: a key has 1 to {TAG_KEY_CHARS} characters, a value at most \
                 {TAG_VALUE_CHARS}"
            )));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ApiError::InvalidParameter(format!(
                "Tag {key:?}: keys that begin with aws: are reserved"
            )));
        }
    }
    Ok(())
}

fn runtime(members: &mut Members) -> Result<Option<String>, ApiError> {
    let Some(text) = members.text("Runtime")? else {
        return Ok(None);
    };
    match text.parse::<Runtime>() {
        Ok(runtime) => Ok(Some(runtime.to_string())),
        Err(UnsupportedRuntime::NotRunHere { identifier }) => Err(ApiError::InvalidParameter(
            format!("The runtime {identifier} is not supported by this server: it runs {RUN_HERE}"),
        )),
        Err(UnsupportedRuntime::Unknown { identifier }) => {
            Err(ApiError::InvalidParameter(format!(
                "Value {identifier} at 'runtime' failed to satisfy constraint: Member must \
                 satisfy enum value set: {CURRENT_RUNTIMES} or be a valid ARN. This server runs \
                 {RUN_HERE}"
            )))
        }
    }
}

fn role(members: &mut Members) -> Result<Option<String>, ApiError> {
    const PATTERN: &str = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+";
    let Some(role) = members.text("Role")? else {
        return Ok(None);
    };
    let words: Vec<&str> = role.splitn(6, ':').collect();
    let fits = match words.as_slice() {
        ["arn", partition, "iam", "", account, resource] => {
            (partition.is_empty() || partition.starts_with("aws"))
                && account.len() == 12
                && account.bytes().all(|digit| digit.is_ascii_digit())
                && resource.strip_prefix("role").is_some_and(|name| {
                    let legal =
                        |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&byte);
                    name.len() > 1 && name.bytes().all(legal)
                })
        }
        _ => false,
    };
    if fits {
        Ok(Some(role))
    } else {
        let constraint = format!("satisfy regular expression pattern: {PATTERN}");
        Err(members.unsatisfied("Role", &role, &constraint))
    }
}

fn handler(members: &mut Members) -> Result<Option<String>, ApiError> {
    match members.short_text("Handler", HANDLER_CHARS)? {
        Some(handler) if handler.contains(char::is_whitespace) => Err(members.unsatisfied(
            "Handler",
            &handler,
            r"satisfy regular expression pattern: [^\s]+",
        )),
        other => Ok(other),
    }
}

fn ephemeral_storage(members: &mut Members) -> Result<Option<u32>, ApiError> {
    let Some(mut storage) = members.object("EphemeralStorage")? else {
        return Ok(None);
    };
    let size = storage.natural("Size", EPHEMERAL_STORAGE_MIB)?;
    storage.finish()?;
    Ok(size)
}

fn environment(
    state: &State,
    members: &mut Members,
) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    let Some(mut environment) = members.object("Environment")? else {
        return Ok(None);
    };
    let variables = environment.map("Variables")?.unwrap_or_default();
    for name in variables.keys() {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if RESERVED.contains(&name.as_str()) {
            return Err(ApiError::InvalidParameter(format!(
                "Lambda was unable to configure your environment variables because the \
                 environment variables you have provided contains reserved keys that are currently \
                 not supported for modification. Reserved keys used in this request: {name}"
            )));
        }
        let begins = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic());
        if name.len() < 2 || !begins || !name.bytes().all(legal) {
            let constraint = "satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+";
            return Err(environment.unsatisfied("Variables", name, constraint));
        }
    }
    environment.finish()?;
    let asked = Egress::of(&variables);
    if let Err(unsupported) = asked.and_then(|asked| state.egress.check(&asked)) {
        return Err(ApiError::InvalidParameter(unsupported.to_string()));
    }
    let bytes: usize = variables
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > ENVIRONMENT_BYTES {
        return Err(ApiError::InvalidParameter(format!(
            "Lambda was unable to configure your environment variables because the environment \
             variables you have provided exceeded the 4KB limit. Bytes measured: {bytes}"
        )));
    }
    Ok(Some(variables))
}

/// The layers that are named, in their order.
fn layers(state: &State, members: &mut Members) -> Result<Option<Vec<LayerId>>, ApiError> {
    let Some(arns) = members.texts("Layers")? else {
        return Ok(None);
    };
    if arns.len() > LAYERS {
        return Err(ApiError::InvalidParameter(format!(
            "Cannot reference more than {LAYERS} layers."
        )));
    }
    let mut layers: Vec<LayerId> = Vec::with_capacity(arns.len());
    for arn in arns {
        let id = state.layer_version_arn(&arn)?;
        if layers.iter().any(|layer| layer.name == id.name) {
            return Err(ApiError::InvalidParameter(format!(
                "Two different versions of the same layer are not allowed to be referenced in the \
                 same function. {arn} is one of them"
            )));
        }
        layers.push(id);
    }
    Ok(Some(layers))
}
