//! Topics as the command line's own clients read them.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::{Server, consume_all};

/// One record whose value is JSON.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key as text.
    pub key: Option<String>,
    /// Its value.
    pub value: Value,
}

/// Every record of a topic, read with a Kafka client.
///
/// # Errors
/// The topic cannot be read, or a value is not JSON.
pub fn topic_lines(server: &Server, topic: &str) -> Result<Vec<Line>> {
    consume_all(&server.bootstrap(), topic)?
        .into_iter()
        .map(|record| {
            Ok(Line {
                partition: record.partition,
                offset: record.offset,
                key: record
                    .key
                    .map(|key| String::from_utf8_lossy(&key).into_owned()),
                value: serde_json::from_slice(&record.value)
                    .with_context(|| format!("{topic}-{}@{}", record.partition, record.offset))?,
            })
        })
        .collect()
}
