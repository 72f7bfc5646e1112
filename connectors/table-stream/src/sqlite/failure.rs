//! Which of its failures may pass, and which somebody must see to.

pub(super) use crate::failure::{rejected, unavailable};
use connector::SourceError;
use rusqlite::ErrorCode;

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
