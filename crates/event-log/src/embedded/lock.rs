//! Who may use a log's folder: one server, or any number of those who only look.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::Error;

/// The folder, taken for this process.
#[derive(Debug)]
pub(super) struct FolderLock(File);

impl FolderLock {
    /// Takes the folder for writing, creating it when absent.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        let act = format!("create the folder {}", dir.display());
        fs::create_dir_all(dir).map_err(|source| Error::Io { act, source })?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        Self::with(dir, &options, FlockOperation::NonBlockingLockExclusive)
    }

    /// Takes the folder for looking: no server starts on it meanwhile. Writes nothing.
    pub(super) fn share(dir: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true);
        Self::with(dir, &options, FlockOperation::NonBlockingLockShared)
    }

    fn with(dir: &Path, options: &OpenOptions, operation: FlockOperation) -> Result<Self, Error> {
        let failed = |act: String| move |source| Error::Io { act, source };
        let file = options.open(dir.join("lock"));
        let file = file.map_err(failed(format!("open the lock in {}", dir.display())))?;
        match rustix::fs::flock(&file, operation) {
            Ok(()) => Ok(Self(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked {
                folder: dir.display().to_string(),
            }),
            Err(errno) => Err(failed(format!("lock {}", dir.display()))(errno.into())),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Closing is not enough: a child between fork and exec still has the file open.
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "the log's folder could not be unlocked");
        }
    }
}
