//! Layers put on top of one another.
//!
//! A merged folder is made of hard links into the layers' own folders, so that it costs no room; it is
//! part of the cache, made anew after each start when it is first needed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use super::Error;
use super::code::{blocking, cache_error};

/// Merges `layers` into `to`, which appears whole or not at all. Later layers prevail.
pub(super) fn merge(layers: &[PathBuf], beside: &Path, to: &Path) -> Result<(), Error> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| cache_error(&path, source)
    };
    fs::create_dir_all(beside).map_err(fail(beside))?;
    let merged = layers
        .iter()
        .try_for_each(|layer| lay(layer, beside).map_err(fail(layer)));
    let moved = merged.and_then(|()| fs::rename(beside, to).map_err(fail(to)));
    if moved.is_err() {
        // What is left is swept at the next open.
        let _ = fs::remove_dir_all(beside);
    }
    moved
}

/// Puts what is in `layer` into `over`.
fn lay(layer: &Path, over: &Path) -> io::Result<()> {
    fs::set_permissions(over, fs::metadata(layer)?.permissions())?;
    for entry in fs::read_dir(layer)? {
        let entry = entry?;
        let (from, to) = (entry.path(), over.join(entry.file_name()));
        let kind = entry.file_type()?;
        let there = fs::symlink_metadata(&to).ok();
        if kind.is_dir() && there.as_ref().is_some_and(fs::Metadata::is_dir) {
            lay(&from, &to)?;
            continue;
        }
        match there {
            Some(there) if there.is_dir() => fs::remove_dir_all(&to)?,
            Some(_) => fs::remove_file(&to)?,
            None => {}
        }
        if kind.is_dir() {
            fs::create_dir(&to)?;
            lay(&from, &to)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else {
            fs::hard_link(&from, &to)?;
        }
    }
    Ok(())
}

/// The bytes of all files in these folders, each folder counted by itself.
pub(super) async fn bytes(folders: Vec<PathBuf>) -> Result<u64, Error> {
    blocking(move || {
        let sizes = folders.iter().map(|folder| {
            let mut seen = HashSet::new();
            size(folder, &mut seen).map_err(|source| cache_error(folder, source))
        });
        sizes.sum()
    })
    .await
}

fn size(folder: &Path, seen: &mut HashSet<u64>) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            bytes += size(&entry.path(), seen)?;
        } else if metadata.is_file() && seen.insert(metadata.ino()) {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(root: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = root.join(name);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn later_layers_prevail_and_folders_are_joined() {
        let root = tempfile::tempdir().unwrap();
        let first = folder(
            root.path(),
            "first",
            &[("lib/a", "1"), ("lib/b", "1"), ("x/y", "1"), ("z", "1")],
        );
        let second = folder(
            root.path(),
            "second",
            &[("lib/b", "2"), ("x", "2"), ("z/w", "2")],
        );
        symlink("a", second.join("lib/c")).unwrap();
        let to = root.path().join("merged");
        merge(&[first.clone(), second], &root.path().join("beside"), &to).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).unwrap();
        let found = ["lib/a", "lib/b", "lib/c", "x", "z/w"].map(read);
        assert_eq!(found, ["1", "2", "1", "2", "2"]);
        assert_eq!(fs::read_to_string(first.join("lib/b")).unwrap(), "1");
        assert!(!root.path().join("beside").exists());
    }
}
