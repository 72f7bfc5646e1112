//! Failures in the runner's classes.

use connector::SourceError;
use rusqlite::ErrorCode;

type Cause = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn unavailable(act: impl Into<String>, source: impl Into<Cause>) -> SourceError {
    SourceError::Unavailable {
        act: act.into(),
        source: source.into(),
    }
}

pub(super) fn rejected(act: impl Into<String>, source: impl Into<Cause>) -> SourceError {
    SourceError::Rejected {
        act: act.into(),
        source: source.into(),
    }
}

/// For what SQLite says.
pub(super) fn sql(act: &str) -> impl FnOnce(rusqlite::Error) -> SourceError + '_ {
    move |error| match error.sqlite_error_code() {
        // Somebody must change something first.
        Some(ErrorCode::NotADatabase | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            rejected(act, error)
        }
        // Foreign and open-ended: whatever else it says may pass.
        _ => unavailable(act, error),
    }
}
