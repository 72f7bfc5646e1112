//! What can go wrong with metering.

/// Metering that cannot go on, or a price sheet that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fatal for this run: the log refused. Start again; the checkpoint says where.
    #[error("{act}")]
    Log {
        /// The failed act.
        act: String,
        /// The log's reason.
        #[source]
        source: event_log::Error,
    },
    /// Metering has ended, so that nothing more will be billed by it.
    #[error("metering has stopped")]
    Stopped,
    /// Reject: there is no price sheet of that name.
    #[error("price sheet {name:?} does not exist: choose one of {}", .known.join(", "))]
    UnknownSheet {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },
    /// Reject: a price sheet is not what it must be.
    #[error("read the price sheet: {reason}")]
    InvalidSheet {
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    pub(crate) fn log(act: impl Into<String>) -> impl FnOnce(event_log::Error) -> Self {
        let act = act.into();
        move |source| Self::Log { act, source }
    }
}
