//! DynamoDB tables by DynamoDB Streams.
//!
//! A stream is made of shards: each is read in order, and a shard is begun once its parent was read to
//! its end, so the changes of an item keep their order. Where every shard stands is one position, which
//! our log keeps with the records.
//!
//! - `service`: the four calls of the API that are used, and what their failures mean.
//! - `lineage`: which shards there are, which may be read, and whether any was lost. No I/O.
//! - `session`: one stream being read: polling, since the API has nothing to wait on.
//! - `record`: a stream's record as the event that functions get.

mod config;

mod source;

mod session;

mod lineage;

mod position;

mod record;

mod service;

#[cfg(test)]
mod tests;

pub use config::{DynamoDbConfig, DynamoDbKeys};
pub use source::{DynamoDbConfigError, DynamoDbSource, show_position};
