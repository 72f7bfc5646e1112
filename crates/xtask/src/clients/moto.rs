//! moto, which speaks DynamoDB and its streams: the only one whose licence lets everybody run it. Its
//! streams have one shard each, which never ends. It also speaks S3 and SQS, and its buckets notify its queues.

use anyhow::Result;

use super::{environment, text};
use crate::cache::Cache;
use crate::contract::{self, Export};

const REQUIREMENTS: &str = include_str!("moto.txt");

/// Its server, in an environment of its own.
pub(super) fn server(cache: &Cache) -> Result<Vec<Export>> {
    let folder = environment(cache, "moto", REQUIREMENTS)?;
    Ok(vec![(
        contract::MOTO,
        text(folder.join("bin/moto_server"))?,
    )])
}
