//! What to read and under which names it appears.

use serde::{Deserialize, Serialize};

/// How a connection's tables appear in topics and events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Naming {
    /// The user's name for the database: part of the topics' names and of the events' source.
    pub connection: String,
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

fn region() -> String {
    "us-east-1".to_owned()
}

fn account() -> String {
    "000000000000".to_owned()
}

const fn partitions() -> u32 {
    4
}
