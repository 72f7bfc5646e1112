//! What can go wrong with an image, grouped by what the caller must do.

use std::io;
use std::path::PathBuf;

/// An image that was not found, not fetched, or not unpacked. No text holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reject: the text names no image.
    #[error("{text:?} names no image: {reason}")]
    Reference {
        /// What was given.
        text: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// Reject: the operator has not permitted where it would come from.
    #[error("{place} is not permitted: the operator permits what images come from by {setting}")]
    NotPermitted {
        /// A registry, or `oci:`.
        place: String,
        /// The setting.
        setting: &'static str,
    },
    /// Reject: there is no such image, or a part of it is gone.
    #[error("{image} is not there")]
    NotFound {
        /// The image or the part.
        image: String,
    },
    /// Reject: the registry does not let us read it.
    #[error("{registry} refuses access: {reason}")]
    Denied {
        /// The registry.
        registry: String,
        /// What it said, or what is missing.
        reason: String,
    },
    /// Reject: it is no image that can be run here.
    #[error("{what} is refused: {reason}")]
    Invalid {
        /// The manifest, the layer, or the entry of a layer.
        what: String,
        /// What does not fit.
        reason: String,
    },
    /// Reject: it holds more than an image may.
    #[error("the image holds more than {limit} {unit}")]
    TooLarge {
        /// How many are allowed.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// Retry later: the registry did not answer as one.
    #[error("{act}")]
    Unavailable {
        /// The failed act.
        act: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Retry later: the disk would not take it.
    #[error("write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unavailable(
        act: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable {
            act: act.into(),
            source: source.into(),
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            path: path.into(),
            source: source.into(),
        }
    }
}
