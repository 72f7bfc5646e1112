//! Which topics are meant: names, or patterns in Kafka's own convention.

use std::fmt;
use std::str::FromStr;

use event_log::TopicName;
use regex::Regex;

/// Bytes of a foreign topic's name at most: with what is put before it, ours stays legal.
const NAME_BYTES: usize = 200;

/// Topics of a cluster, as its user says them.
#[derive(Clone, Debug)]
pub enum Selection {
    /// The topic of this name.
    Named(String),
    /// Every topic whose name the regular expression finds, which begins with `^`, as consumers'
    /// subscriptions do with librdkafka. Without a `$` it need not reach to the name's end. Topics that
    /// are internal to the cluster (`__*`) are never meant.
    Pattern(Regex),
}

/// A text that selects nothing.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// Reject: no topic can have such a name.
    #[error("{text:?} is no name of a topic, or longer than {NAME_BYTES} bytes")]
    Name {
        /// What was given.
        text: String,
    },
    /// Reject: the expression cannot be read.
    #[error("{text:?} is no regular expression (on a command line, a comma parts topics)")]
    Pattern {
        /// What was given.
        text: String,
        /// Why.
        #[source]
        source: regex::Error,
    },
}

impl Selection {
    /// Whether it means a topic of connection `connection`'s cluster.
    #[must_use]
    pub fn selects(&self, connection: &str, topic: &str) -> bool {
        match self {
            Self::Named(name) => name == topic,
            // Where the cluster is this server itself, copies of copies would have no end.
            Self::Pattern(pattern) => {
                !topic.starts_with("__")
                    && !topic.starts_with(&format!("kafka.{connection}."))
                    && pattern.is_match(topic)
            }
        }
    }
}

/// Whether a foreign topic's name leaves ours legal.
pub(crate) fn is_nameable(topic: &str) -> bool {
    TopicName::new(topic).is_ok() && topic.len() <= NAME_BYTES
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        let text = text.to_owned();
        if text.starts_with('^') {
            return match Regex::new(&text) {
                Ok(pattern) => Ok(Self::Pattern(pattern)),
                Err(source) => Err(SelectionError::Pattern { text, source }),
            };
        }
        match is_nameable(&text) {
            true => Ok(Self::Named(text)),
            false => Err(SelectionError::Name { text }),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Pattern(pattern) => f.write_str(pattern.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selection: &str, topic: &str) -> bool {
        let selection: Selection = selection.parse().unwrap();
        selection.selects("plant", topic)
    }

    #[test]
    fn only_a_leading_caret_makes_a_pattern() {
        assert!(selects("^orders-.*", "orders-eu"));
        assert!(selects("^orders", "orders-eu"));
        assert!(!selects("^orders$", "orders-eu"));
        assert!(!selects("^orders", "all-orders"));
        assert!(selects("orders.eu", "orders.eu"));
        assert!(!selects("orders.eu", "orders-eu"));
    }

    #[test]
    fn a_pattern_never_means_internal_topics_and_its_own_copies() {
        for topic in ["__consumer_offsets", "__x", "kafka.plant.orders"] {
            assert!(!selects("^.*", topic), "{topic}");
        }
        assert!(selects("^.*", "kafka.other.orders"));
        assert!(selects("__consumer_offsets", "__consumer_offsets"));
    }

    #[test]
    fn what_selects_nothing_is_refused() {
        for text in ["", "a b", "a*", "^a{1", &"x".repeat(201)] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
    }
}
