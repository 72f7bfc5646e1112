//! Event patterns in EventBridge's language, compiled once and matched against JSON.
//!
//! A pattern is an object shaped like the event. Every field of it must match; a field's array
//! lists alternatives. An array in the event matches when one of its elements does. Exact numbers
//! are compared as they are written: 300 is not 300.0 (EventBridge user guide, 2026).

mod compile;
mod matcher;
#[cfg(test)]
mod tests;

use serde_json::Value;

use compile::Fields;

/// One compiled pattern.
#[derive(Clone, Debug)]
pub struct Filter {
    fields: Fields,
}

/// Text that is no event pattern.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It is not JSON.
    #[error("the event pattern is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// It is longer than AWS allows.
    #[error("the event pattern has {chars} characters, {limit} are allowed")]
    TooLong {
        /// Its characters.
        chars: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A part of it says nothing.
    #[error("event pattern at {place}: {reason}")]
    Invalid {
        /// The path to the part, for example `$.detail.state[0]`.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Filter {
    /// Compiles the text of a pattern.
    ///
    /// # Errors
    /// [`FilterError`] names what is wrong with the pattern, and where.
    pub fn compile(pattern: &str) -> Result<Self, FilterError> {
        let chars = pattern.chars().count();
        if chars > crate::limits::FILTER_CHARS {
            return Err(FilterError::TooLong {
                chars,
                limit: crate::limits::FILTER_CHARS,
            });
        }
        let pattern: Value = serde_json::from_str(pattern).map_err(FilterError::NotJson)?;
        let fields = compile::pattern(&pattern)?;
        Ok(Self { fields })
    }

    /// Whether `event` matches.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        self.fields.matches(Some(event))
    }
}
