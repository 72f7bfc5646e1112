//! Files of somebody else that appear as buckets: read through the door, never written.
//!
//! Whose files they are, where they lie and how they are kept apart from the rest of the machine is
//! the business of who implements this; here they are objects with a tag, a size and a time.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use clock::Timestamp;

use crate::{BucketInfo, BucketName, ETag, ObjectKey};

/// Which buckets are somebody else's files.
pub trait ConnectedBuckets: Send + Sync + 'static {
    /// All of them, in any order. It blocks.
    fn all(&self) -> Vec<BucketInfo>;

    /// The bucket of that name, if there is one.
    fn get(&self, bucket: &BucketName) -> Option<Arc<dyn ConnectedBucket>>;
}

/// Files that appear as one bucket. Calls block: they are made where that does no harm.
pub trait ConnectedBucket: Send + Sync {
    /// What it is, for whoever wanted to write to it: `a local folder, which …`.
    fn description(&self) -> String;

    /// The state of a file that is open.
    ///
    /// # Errors
    /// Those of the file system.
    fn state(&self, file: &File) -> io::Result<ConnectedFile>;

    /// Opens the file that is exactly this key; `None` when there is none. Nothing outside the bucket
    /// is ever opened, whatever the key and whatever happens to the files in the meantime.
    ///
    /// # Errors
    /// Those of the file system.
    fn open(&self, key: &ObjectKey) -> io::Result<Option<File>>;

    /// Begins a walk through all keys.
    ///
    /// # Errors
    /// Those of the file system.
    fn walk(&self) -> io::Result<Box<dyn Walk>>;
}

/// A walk through keys in the order of their bytes.
pub trait Walk {
    /// The first key within the bound after those that the walk has come to, and the state of its file.
    /// Bounds never go back.
    ///
    /// # Errors
    /// Those of the file system.
    fn next(&mut self, from: Bound<&str>) -> io::Result<Option<(String, ConnectedFile)>>;
}

/// The state of a file. Equal states have equal bytes, as far as anybody can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedFile {
    /// The tag that its events carry.
    pub etag: ETag,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}

/// A file that is open for a reader.
pub(crate) struct OpenFile {
    pub(crate) file: File,
    pub(crate) opened: ConnectedFile,
    pub(crate) bucket: Arc<dyn ConnectedBucket>,
}

impl OpenFile {
    /// Opens the file of `key`; `None` when there is none.
    pub(crate) fn open(
        bucket: Arc<dyn ConnectedBucket>,
        key: &ObjectKey,
    ) -> io::Result<Option<Self>> {
        let Some(file) = bucket.open(key)? else {
            return Ok(None);
        };
        let opened = bucket.state(&file)?;
        Ok(Some(Self {
            file,
            opened,
            bucket,
        }))
    }

    /// Fails when the file is another by now than when it was opened: what was read since may be
    /// neither of the two.
    pub(crate) fn expect_unchanged(&self) -> io::Result<()> {
        if self.bucket.state(&self.file)? == self.opened {
            return Ok(());
        }
        Err(io::Error::other("the file was changed while it was read"))
    }
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFile")
            .field("opened", &self.opened)
            .finish_non_exhaustive()
    }
}
