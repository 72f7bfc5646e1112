//! Which of its failures may pass, and which somebody must see to.

use connector::SourceError;
use tokio_postgres::error::SqlState;

use super::wire::WireError;
pub(super) use crate::failure::{rejected, unavailable};

/// For what the replication connection says.
pub(super) fn wire(act: &str) -> impl FnOnce(WireError) -> SourceError + '_ {
    move |error| match &error {
        WireError::Server { code, .. } if is_final(&SqlState::from_code(code)) => {
            rejected(act, error)
        }
        WireError::Unsupported(_) => rejected(act, error),
        WireError::Server { .. } | WireError::Io(_) | WireError::Protocol(_) => {
            unavailable(act, error)
        }
    }
}

/// For what an ordinary connection says.
pub(super) fn sql(act: &str) -> impl FnOnce(tokio_postgres::Error) -> SourceError + '_ {
    move |error| match error.code() {
        Some(code) if is_final(code) => rejected(act, error),
        _ => unavailable(act, error),
    }
}

/// For what the pool says.
pub(super) fn pool(act: &str) -> impl FnOnce(deadpool_postgres::PoolError) -> SourceError + '_ {
    move |error| match error {
        deadpool_postgres::PoolError::Backend(error) => sql(act)(error),
        error => unavailable(act, error),
    }
}

/// Whether somebody must change something first: credentials, rights, a name.
fn is_final(code: &SqlState) -> bool {
    const FINAL: [SqlState; 6] = [
        SqlState::INVALID_PASSWORD,
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::INVALID_CATALOG_NAME,
        SqlState::UNDEFINED_TABLE,
        SqlState::WRONG_OBJECT_TYPE,
    ];
    FINAL.contains(code)
}
