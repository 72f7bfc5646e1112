//! Proof of being who runs the server: a key in its data folder, readable by the owner only.
//!
//! A connector has the server connect to any address and read any file that it may. Functions hold the
//! account's credentials, so those do not suffice for it: a function reaches nothing that it was not
//! granted, and its sandbox does not show the data folder.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use uuid::Uuid;

/// The header that carries the key.
pub(crate) const HEADER: &str = "x-tidemill-operator";

/// The key.
#[derive(Clone)]
pub(crate) struct OperatorKey(String);

impl OperatorKey {
    /// The folder's key; on the first start makes it.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn load_or_create(data_dir: &Path) -> anyhow::Result<Self> {
        if let Some(key) = Self::read(data_dir) {
            return Ok(key);
        }
        let path = file_in(data_dir);
        let staged = path.with_extension("new");
        // Version 4 UUIDs are 122 random bits each from the operating system.
        let random = || Uuid::new_v4().simple().to_string();
        let key = Self(format!("{}{}", random(), random()));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&staged)
            .and_then(|mut file| {
                file.write_all(key.0.as_bytes())?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&staged, &path))
            .with_context(|| format!("write the operator's key {}", path.display()))?;
        Ok(key)
    }

    /// The folder's key, for clients; `None` where it cannot be read.
    pub(crate) fn read(data_dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(file_in(data_dir)).ok()?;
        (text.len() == 64).then_some(Self(text))
    }

    /// As the header carries it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the key; how long it takes tells nothing of it.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        same_secret(self.0.as_bytes(), given)
    }
}

/// Whether a secret was given; how long it takes tells its length at most.
pub(crate) fn same_secret(own: &[u8], given: &[u8]) -> bool {
    let differing = own.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
    own.len() == given.len() && differing == 0
}

fn file_in(data_dir: &Path) -> PathBuf {
    data_dir.join("operator")
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_the_owners_alone_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        assert!(OperatorKey::read(dir.path()).is_none());
        let made = OperatorKey::load_or_create(dir.path()).unwrap();
        let mode = fs::metadata(file_in(dir.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = OperatorKey::load_or_create(dir.path()).unwrap();
        assert!(made.is(again.as_str().as_bytes()));
        assert!(!made.is(b""));
        assert!(!made.is(&made.as_str().as_bytes()[..63]));
        assert!(!format!("{made:?}").contains(made.as_str()));
    }
}
