//! Why something was not started.

use std::io;
use std::path::PathBuf;

/// Why a program was not started, or what starts programs not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What starts programs cannot run on this machine, or cannot prepare the place for one.
    #[error("could not prepare for starting programs: {act}")]
    Prepare {
        /// What failed, in words for the user.
        act: String,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
    /// The program could not be executed, or the machine is short of something.
    #[error("could not start {}", executable.display())]
    Start {
        /// The program's file.
        executable: PathBuf,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn prepare(act: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Prepare {
            act: act.into(),
            source: source.into(),
        }
    }

    /// What the machine said of the program; anything else is an error of no particular kind.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Start { source, .. } => source,
            Self::Prepare { .. } => io::Error::other(self),
        }
    }
}
