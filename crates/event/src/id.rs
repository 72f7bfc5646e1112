//! Identity of events and their sources.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// An event's id, unique within its source (CloudEvents `id`). Redelivery repeats it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

/// Where an event comes from (CloudEvents `source`, a URI reference).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceId(String);

/// An opaque place in somebody else's stream: what a source needs to resume after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePosition(Bytes);

macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// Wraps the text as it is.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(EventId);
text_id!(SourceId);

impl SourcePosition {
    /// Wraps the source's own token.
    #[must_use]
    pub fn new(token: impl Into<Bytes>) -> Self {
        Self(token.into())
    }

    /// The source's own token.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}
