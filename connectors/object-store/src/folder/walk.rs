//! A walk through the keys of a folder, in the order of listings.
//!
//! Keys are ordered by their bytes, and a folder's are those that begin with its name and a slash: so a
//! folder stands among its neighbours as if the slash belonged to its name, and to walk in that order is
//! to walk in the order of keys. What a folder holds is read when the walk comes to it; of what lies
//! before the place where the walk begins, nothing is.

use std::io;
use std::ops::Bound;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::files::FileState;
use super::scan::LONGEST_KEY;

/// A walk. It has a descriptor open for each folder above the place where it is.
#[derive(Debug)]
pub struct FolderWalk {
    levels: Vec<Level>,
    /// The folder, until it has been looked into.
    root: Option<OwnedFd>,
}

/// A folder that the walk is in.
#[derive(Debug)]
struct Level {
    folder: OwnedFd,
    /// What keys in it begin with.
    prefix: String,
    /// What is still to come of it, the last one first; folders end with a slash.
    names: Vec<String>,
}

impl FolderWalk {
    pub(super) fn begin(root: OwnedFd) -> Self {
        Self {
            levels: Vec::new(),
            root: Some(root),
        }
    }

    /// The first file within the bound after those that the walk has come to: its key and state. Bounds
    /// never go back.
    ///
    /// # Errors
    /// A folder cannot be read. One that is gone in the meantime is passed over.
    pub fn next(&mut self, from: Bound<&str>) -> io::Result<Option<(String, FileState)>> {
        if let Some(root) = self.root.take() {
            self.levels.push(Level::read(root, String::new(), from)?);
        }
        while let Some(level) = self.levels.last_mut() {
            if !may_hold(&level.prefix, from) {
                self.levels.pop();
                continue;
            }
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let key = format!("{}{name}", level.prefix);
            if !reaches(&key, from) {
                continue;
            }
            match name.strip_suffix('/') {
                Some(name) => {
                    if let Some(folder) = open_folder(&level.folder, name)? {
                        self.levels.push(Level::read(folder, key, from)?);
                    }
                }
                None => {
                    if let Some(state) = state_of(&level.folder, &name)? {
                        return Ok(Some((key, state)));
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Level {
    fn read(folder: OwnedFd, prefix: String, from: Bound<&str>) -> io::Result<Self> {
        let mut names = Vec::new();
        for found in Dir::read_from(&folder)? {
            let found = found?;
            let Ok(name) = found.file_name().to_str() else {
                continue;
            };
            if matches!(name, "." | "..") || prefix.len() + name.len() > LONGEST_KEY {
                continue;
            }
            let kind = match found.file_type() {
                FileType::Unknown => kind_of(&folder, name)?,
                known => known,
            };
            let name = match kind {
                FileType::Directory => format!("{name}/"),
                FileType::RegularFile => name.to_owned(),
                _ => continue,
            };
            if reaches(&format!("{prefix}{name}"), from) {
                names.push(name);
            }
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        Ok(Self {
            folder,
            prefix,
            names,
        })
    }
}

/// Whether a file's key lies within the bound, or some key in a folder, whose name ends with a slash, may.
fn reaches(key: &str, from: Bound<&str>) -> bool {
    if key.ends_with('/') {
        return may_hold(key, from);
    }
    match from {
        Bound::Unbounded => true,
        Bound::Included(from) => key >= from,
        Bound::Excluded(from) => key > from,
    }
}

/// Whether some key that begins with `prefix` may lie within the bound.
fn may_hold(prefix: &str, from: Bound<&str>) -> bool {
    match from {
        Bound::Unbounded => true,
        Bound::Included(from) | Bound::Excluded(from) => prefix > from || from.starts_with(prefix),
    }
}

fn kind_of(folder: &OwnedFd, name: &str) -> io::Result<FileType> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode)),
        Err(Errno::NOENT) => Ok(FileType::Unknown),
        Err(error) => Err(error.into()),
    }
}

fn open_folder(parent: &OwnedFd, name: &str) -> io::Result<Option<OwnedFd>> {
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, how, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        // Gone, or something else by now.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn state_of(folder: &OwnedFd, name: &str) -> io::Result<Option<FileState>> {
    let how = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(folder, name, how, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let file = file.metadata()?;
    Ok(file.is_file().then(|| FileState::of(&file)))
}

#[cfg(test)]
mod tests {
    use std::ops::RangeBounds;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::FolderFiles;

    fn folder_with(keys: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for key in keys {
            let path = folder.path().join(key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, key).unwrap();
        }
        folder
    }

    fn walk(folder: &Path, from: Bound<&str>) -> Vec<String> {
        let files = FolderFiles::new(folder.to_owned());
        let mut walk = files.walk().unwrap();
        let mut keys = Vec::new();
        while let Some((key, state)) = walk.next(from).unwrap() {
            assert_eq!(state.size, key.len() as u64);
            keys.push(key);
        }
        keys
    }

    const KEYS: [&str; 9] = [
        "B", "a-b", "a.txt", "a/b", "a/b-c", "a/c/d", "a0", "b/x", "é/ü",
    ];

    #[test]
    fn keys_come_in_the_order_of_their_bytes() {
        let folder = folder_with(&KEYS);
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        symlink("B", folder.path().join("link")).unwrap();
        symlink("b", folder.path().join("linked")).unwrap();
        let mut sorted = KEYS.map(str::to_owned).to_vec();
        sorted.sort_unstable();
        assert_eq!(walk(folder.path(), Bound::Unbounded), sorted);
    }

    #[test]
    fn what_is_skipped_is_not_come_to_and_what_follows_is() {
        let folder = folder_with(&KEYS);
        let files = FolderFiles::new(folder.path().to_owned());
        let mut walk = files.walk().unwrap();
        let mut next = |from| walk.next(from).unwrap().map(|(key, _)| key);
        assert_eq!(next(Bound::Included("a/")).as_deref(), Some("a/b"));
        assert_eq!(next(Bound::Included("a0")).as_deref(), Some("a0"));
        assert_eq!(next(Bound::Excluded("a0")).as_deref(), Some("b/x"));
        assert_eq!(next(Bound::Included("zz")).as_deref(), Some("é/ü"));
        assert_eq!(next(Bound::Unbounded), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_walk_from_anywhere_is_the_rest_of_the_whole(from in "[aB.0/-]{0,4}|a/b.?|é?") {
            let folder = folder_with(&KEYS);
            for bound in [Bound::Included(from.as_str()), Bound::Excluded(from.as_str())] {
                let mut rest: Vec<String> = KEYS
                    .iter()
                    .filter(|key| RangeBounds::<str>::contains(&(bound, Bound::Unbounded), **key))
                    .map(|key| (*key).to_owned())
                    .collect();
                rest.sort_unstable();
                prop_assert_eq!(walk(folder.path(), bound), rest);
            }
        }
    }
}
