use serde::{Deserialize, Serialize};

/// How a function's log is written (AWS's LoggingConfig).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Logging {
    /// As lines of text, all of them.
    #[default]
    Text,
    /// As JSON objects, those that are severe enough.
    Json {
        /// The least severe of the function's own lines that are kept.
        application: LogLevel,
        /// The least severe of the platform's lines that are kept.
        system: LogLevel,
    },
}

/// How severe a line is, least first. AWS's names in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For finding faults.
    Debug,
    /// What happens normally.
    Info,
    /// What may lead to trouble.
    Warn,
    /// What went wrong.
    Error,
    /// What the function did not survive.
    Fatal,
}
