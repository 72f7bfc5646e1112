//! What to read and under which names it appears.

use event_log::TopicName;
use serde::{Deserialize, Serialize};

use crate::change::TableName;

/// How a connection's tables appear in topics and events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Naming {
    /// The user's name for the database: part of the topics' names and of the events' source.
    pub connection: String,
    /// The schema whose tables go by their name alone; `public` and `main` when absent.
    #[serde(default)]
    pub home: Option<String>,
    /// The region in events.
    #[serde(default = "region")]
    pub region: String,
    /// The account in events.
    #[serde(default = "account")]
    pub account: String,
    /// The shape of events.
    #[serde(default)]
    pub shape: Shape,
    /// Partitions of a topic where it has to be created. A row's changes are always in one.
    #[serde(default = "partitions")]
    pub partitions: u32,
}

/// The shape of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// The records of DynamoDB Streams, as Lambda hands them to functions.
    #[default]
    DynamoDb,
    /// Plain JSON: `op`, `key`, `before`, `after`.
    Plain,
}

impl Naming {
    /// What a table is called in topics and events: without its schema where that is the usual one.
    pub(crate) fn short(&self, table: &TableName) -> String {
        match &self.home {
            Some(home) if table.schema == *home => table.name.clone(),
            Some(_) => table.to_string(),
            None => table.short(),
        }
    }

    /// The topic of a table.
    pub(crate) fn topic(&self, table: &TableName) -> Result<TopicName, event_log::Error> {
        TopicName::new(format!("table.{}.{}", self.connection, self.short(table)))
    }
}

fn region() -> String {
    "us-east-1".to_owned()
}

fn account() -> String {
    "000000000000".to_owned()
}

const fn partitions() -> u32 {
    4
}
