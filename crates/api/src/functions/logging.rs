//! AWS's LoggingConfig: how a function's log is written.

use function::{FunctionName, LogLevel, Logging};
use serde_json::{Value, json};

use crate::ApiError;
use crate::members::Members;

const LEVELS: [(&str, LogLevel); 6] = [
    ("TRACE", LogLevel::Trace),
    ("DEBUG", LogLevel::Debug),
    ("INFO", LogLevel::Info),
    ("WARN", LogLevel::Warn),
    ("ERROR", LogLevel::Error),
    ("FATAL", LogLevel::Fatal),
];
/// The platform says nothing more detailed and nothing more severe.
const SYSTEM_LEVELS: &[(&str, LogLevel)] = LEVELS.as_slice().split_at(1).1.split_at(3).0;

/// Where a function's lines are logged.
fn group(name: &FunctionName) -> String {
    format!("/aws/lambda/{name}")
}

/// Takes `LoggingConfig`; `None` when a request says nothing of it. It is replaced as a whole.
pub(super) fn take(
    members: &mut Members,
    name: &FunctionName,
) -> Result<Option<Logging>, ApiError> {
    let Some(mut members) = members.object("LoggingConfig")? else {
        return Ok(None);
    };
    members.only("LogGroup", &json!(group(name)))?;
    let format = members.text("LogFormat")?;
    let application = level(&mut members, "ApplicationLogLevel", &LEVELS)?;
    let system = level(&mut members, "SystemLogLevel", SYSTEM_LEVELS)?;
    let logging = match format.as_deref() {
        Some("JSON") => Logging::Json {
            application: application.unwrap_or(LogLevel::Info),
            system: system.unwrap_or(LogLevel::Info),
        },
        None | Some("Text") if application.is_some() || system.is_some() => {
            return Err(ApiError::InvalidParameter(
                "LoggingConfig: ApplicationLogLevel and SystemLogLevel apply to the log format JSON \
                 only: set LogFormat to JSON beside them"
                    .to_owned(),
            ));
        }
        None | Some("Text") => Logging::Text,
        Some(other) => {
            return Err(members.unsatisfied(
                "LogFormat",
                other,
                "satisfy enum value set: [JSON, Text]",
            ));
        }
    };
    members.finish()?;
    Ok(Some(logging))
}

fn level(
    members: &mut Members,
    name: &str,
    levels: &[(&str, LogLevel)],
) -> Result<Option<LogLevel>, ApiError> {
    let Some(given) = members.text(name)? else {
        return Ok(None);
    };
    match levels.iter().find(|(name, _)| *name == given) {
        Some((_, level)) => Ok(Some(*level)),
        None => {
            let names: Vec<_> = levels.iter().map(|(name, _)| *name).collect();
            let set = format!("satisfy enum value set: [{}]", names.join(", "));
            Err(members.unsatisfied(name, &given, &set))
        }
    }
}

/// As AWS shows it; levels where there are any.
pub(super) fn shown(logging: Logging, name: &FunctionName) -> Value {
    match logging {
        Logging::Text => json!({"LogFormat": "Text", "LogGroup": group(name)}),
        Logging::Json {
            application,
            system,
        } => json!({
            "LogFormat": "JSON",
            "ApplicationLogLevel": application,
            "SystemLogLevel": system,
            "LogGroup": group(name),
        }),
    }
}
