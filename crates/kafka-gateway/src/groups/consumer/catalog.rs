//! The topics that members can subscribe to, by name or by pattern.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use event_log::Topic;
use parking_lot::Mutex;
use regex::{Regex, RegexBuilder};
use uuid::Uuid;

use crate::broker::Broker;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 4_096;
/// What a pattern may take in memory once it is compiled, in bytes.
const MAX_COMPILED: usize = 256 << 10;

/// The topics that clients may see, at one moment.
#[derive(Debug, Default)]
pub(in crate::groups) struct Catalog {
    /// Grows with every change.
    pub(super) version: u64,
    by_name: BTreeMap<String, (Uuid, u32)>,
    by_id: HashMap<Uuid, String>,
}

/// The latest catalogue.
#[derive(Debug, Default)]
pub(in crate::groups) struct Catalogs(Mutex<Option<Arc<Catalog>>>);

/// A regular expression for whole names of topics; the empty one matches none.
#[derive(Clone, Debug, Default)]
pub(super) struct Pattern {
    source: String,
    compiled: Option<Regex>,
}

impl Catalogs {
    /// The catalogue as of now.
    pub(in crate::groups) fn latest(&self, broker: &Broker) -> Arc<Catalog> {
        let version = *broker.log.topics_changed().borrow();
        let mut latest = self.0.lock();
        match &*latest {
            Some(latest) if latest.version == version => latest.clone(),
            _ => {
                let catalog = Arc::new(Catalog::of(version, broker.topics()));
                *latest = Some(catalog.clone());
                catalog
            }
        }
    }
}

impl Catalog {
    pub(super) fn of(version: u64, topics: impl IntoIterator<Item = Topic>) -> Self {
        let mut catalog = Self {
            version,
            ..Self::default()
        };
        for topic in topics {
            let name = topic.name.as_str().to_owned();
            catalog.by_id.insert(topic.id, name.clone());
            let found = (topic.id, topic.config.partitions);
            catalog.by_name.insert(name, found);
        }
        catalog
    }

    /// The topic of that name, with the number of its partitions.
    pub(super) fn find(&self, name: &str) -> Option<(Uuid, u32)> {
        self.by_name.get(name).copied()
    }

    /// The name of the topic with that id.
    pub(super) fn name(&self, id: Uuid) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    /// The topics whose name matches.
    pub(super) fn matching(&self, pattern: &Pattern) -> impl Iterator<Item = (Uuid, u32)> {
        let compiled = pattern.compiled.as_ref();
        let topics = compiled.map(|_| self.by_name.iter()).into_iter().flatten();
        let matches = move |name: &str| compiled.is_some_and(|regex| regex.is_match(name));
        topics
            .filter(move |(name, _)| matches(name))
            .map(|(_, topic)| *topic)
    }
}

impl Pattern {
    /// Compiles a pattern.
    pub(super) fn new(source: &str) -> Result<Self, String> {
        if source.is_empty() {
            return Ok(Self::default());
        }
        if source.len() > MAX_PATTERN {
            return Err(format!("a pattern has at most {MAX_PATTERN} bytes"));
        }
        let compiled = RegexBuilder::new(&format!("^(?:{source})$"))
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            source: source.to_owned(),
            compiled: Some(compiled),
        })
    }

    /// As the member has written it.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Bytes that it keeps in memory at most.
    pub(super) fn bytes(&self) -> usize {
        self.compiled.as_ref().map_or(0, |_| 2 * MAX_COMPILED)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
