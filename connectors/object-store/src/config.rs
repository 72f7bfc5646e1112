//! What a watched store is called.

use object_store::path::Path;

/// How a watched store appears in events.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bucket's name in events; the topic is `bucket.<name>`.
    pub bucket: String,
    /// Only objects below this path; everything without.
    pub prefix: Option<Path>,
    /// The region in events.
    pub region: String,
    /// The account that owns the bucket in events.
    pub account: String,
    /// Partitions of the topic where it has to be created.
    pub partitions: u32,
}
