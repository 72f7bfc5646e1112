//! What can go wrong, on either side.

use std::time::Duration;

use event::SourceId;
use event_log::TopicName;

/// The cause of a source's failure.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A verb of a source that failed, by what the runner must do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Retry: the source cannot be reached or has hiccuped.
    #[error("{act}")]
    Unavailable {
        /// The failed act.
        act: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Retry, but not before it says: the source asks to be left alone.
    #[error("{act}: the source is busy")]
    Throttled {
        /// The failed act.
        act: String,
        /// How long, if it said.
        wait: Option<Duration>,
    },
    /// Retry: events wait at the source, and it hands over none.
    #[error("{act}: {waiting} events wait there, and none has come for {quiet:?}")]
    Stalled {
        /// The failed act.
        act: String,
        /// Events that the source says are waiting.
        waiting: u64,
        /// For how long nothing has come, at least.
        quiet: Duration,
    },
    /// Reject: trying again cannot help. Somebody must change something.
    #[error("{act}")]
    Rejected {
        /// The failed act.
        act: String,
        /// Why.
        #[source]
        source: Cause,
    },
}

/// A runner that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reject: the source refused in a way that trying again cannot help.
    #[error("source {id} is stopped")]
    Source {
        /// The source.
        id: SourceId,
        /// Its reason.
        #[source]
        source: SourceError,
    },
    /// Reject: the source breaks its contract.
    #[error("source {id} broke its contract: {reason}")]
    Contract {
        /// The source.
        id: SourceId,
        /// How.
        reason: String,
    },
    /// Reject: the topic belongs to something else.
    #[error("source {id} cannot write topic {topic}: {reason}")]
    TopicTaken {
        /// The source.
        id: SourceId,
        /// The topic it names.
        topic: TopicName,
        /// What is in the way.
        reason: String,
    },
    /// Fatal for this run: the log refused. Start again; the log knows the position.
    #[error("{act} of source {id}")]
    Log {
        /// The failed act.
        act: &'static str,
        /// The source.
        id: SourceId,
        /// The log's reason.
        #[source]
        source: event_log::Error,
    },
}
