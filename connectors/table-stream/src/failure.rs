//! Failures in the runner's classes.

use connector::SourceError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What may pass.
pub(crate) fn unavailable(act: impl Into<String>, source: impl Into<Cause>) -> SourceError {
    SourceError::Unavailable {
        act: act.into(),
        source: source.into(),
    }
}

/// What somebody must see to.
pub(crate) fn rejected(act: impl Into<String>, source: impl Into<Cause>) -> SourceError {
    SourceError::Rejected {
        act: act.into(),
        source: source.into(),
    }
}
