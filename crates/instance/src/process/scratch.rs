//! A temporary folder that ends with its instance.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A folder of one instance. Dropping it removes it with everything in it, which blocks.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn create(below: &Path) -> io::Result<Self> {
        let path = below.join(Uuid::new_v4().simple().to_string());
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes the folder without blocking the caller's thread.
    pub(crate) async fn remove(self) {
        // The runtime refuses only while it is ending; then the next start removes the folder.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            // What is being killed may still write; the next start removes the rest.
            tracing::warn!(%error, folder = %self.0.display(), "a temporary folder stays");
        }
    }
}
