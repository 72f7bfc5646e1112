//! What a watched store is called.

use std::path::PathBuf;
use std::time::Duration;

/// How a watched store appears in events.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bucket's name in events; the topic is `bucket.<name>`.
    pub bucket: String,
    /// Only objects whose keys begin so; everything without.
    pub prefix: Option<String>,
    /// The region in events.
    pub region: String,
    /// The account that owns the bucket in events.
    pub account: String,
    /// Partitions of the topic where it has to be created.
    pub partitions: u32,
}

/// A folder of files that is watched as a bucket is.
#[derive(Clone, Debug)]
pub struct FolderConfig {
    /// The bucket that it appears as: files are objects, their paths below the folder are keys.
    pub bucket: Config,
    /// The folder; it may be a symbolic link, and none within it is followed.
    pub path: PathBuf,
    /// How long until the folder is looked through without a hint.
    pub interval: Duration,
}
