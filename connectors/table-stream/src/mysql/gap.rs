//! Why changes were lost, said aloud.

use connector::SourceError;
use event::SourceId;

/// Why changes were lost, or may have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Gap {
    #[error("the server has removed the log that was not yet read")]
    Purged,
    #[error("the server's log ends before what was read of it")]
    WentBack,
    #[error("the server's log is not the one that was read")]
    OtherLog,
    #[error("the log has {0}, which cannot be told row by row")]
    Unreadable(String),
}

/// Whether the server says that its log has no such place: it is not the one that was read.
pub(super) fn of_refusal(error: &SourceError) -> Option<Gap> {
    /// Whatever is wrong with the place that was asked for.
    const NO_SUCH_PLACE: u16 = 1236;
    let (SourceError::Unavailable { source, .. } | SourceError::Rejected { source, .. }) = error
    else {
        return None;
    };
    match source.downcast_ref::<mysql_async::Error>() {
        Some(mysql_async::Error::Server(error)) if error.code == NO_SUCH_PLACE => {
            Some(Gap::OtherLog)
        }
        Some(_) | None => None,
    }
}

/// Announces lost changes in metrics and log; the tables' topics get records of their own.
pub(super) fn announce(source: &SourceId, gap: &Gap) {
    metrics::counter!("tidemill_connector_gaps_total", "source" => source.to_string()).increment(1);
    tracing::error!(
        %source,
        reason = %gap,
        "changes may have been lost; every table is read again from its beginning"
    );
}
