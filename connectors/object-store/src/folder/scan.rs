//! One look through the folder.

use std::collections::{BTreeSet, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clock::Timestamp;

use super::open_files::{FileId, open_for_writing};
use super::tree::Folders;
use crate::entry::Entry;
use crate::known::Known;

/// S3's own bound (Amazon S3 user guide, "Naming Amazon S3 objects").
pub(super) const LONGEST_KEY: usize = 1_024;

/// What a look goes by.
pub(super) struct Look {
    pub(super) root: PathBuf,
    /// What is known of the folder. What was come to is marked in it.
    pub(super) known: Known,
    /// Files that were closed or moved here, and not written since.
    pub(super) closed: HashSet<PathBuf>,
    pub(super) now: Timestamp,
    /// How long a file must have been left alone to be believed complete.
    pub(super) settled_after: Duration,
}

/// What it has found.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Complete files that are not as they were known.
    pub(super) different: Vec<(String, Entry)>,
    /// Files that may not be complete.
    pub(super) unsettled: usize,
    /// What can be no object, and why.
    pub(super) refused: BTreeSet<(PathBuf, &'static str)>,
}

/// A file without a hint, left alone for long enough.
struct Doubtful {
    key: String,
    entry: Entry,
    id: FileId,
}

impl Look {
    /// Looks through the folder; folders that it finds are watched first, so that nothing slips through
    /// between.
    ///
    /// # Errors
    /// The folder, or one within it, cannot be read: what is in it is not gone for that.
    pub(super) fn run(&mut self, folders: &mut Folders) -> io::Result<Seen> {
        self.known.begin_pass();
        let mut seen = Seen::default();
        let mut doubtful = Vec::new();
        let mut waiting = vec![self.root.clone()];
        while let Some(folder) = waiting.pop() {
            match self.folder(&folder, folders, &mut waiting, &mut seen, &mut doubtful) {
                // Gone in the meantime; the root is not for that.
                Err(error) if error.kind() == io::ErrorKind::NotFound && folder != self.root => {}
                done => done?,
            }
        }
        self.ask(doubtful, &mut seen);
        Ok(seen)
    }

    fn folder(
        &mut self,
        folder: &Path,
        folders: &mut Folders,
        waiting: &mut Vec<PathBuf>,
        seen: &mut Seen,
        doubtful: &mut Vec<Doubtful>,
    ) -> io::Result<()> {
        folders.watch(folder)?;
        for found in std::fs::read_dir(folder)? {
            let found = found?;
            let path = found.path();
            let kind = found.file_type()?;
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                match self.key(&path) {
                    Ok(key) => self.file(key, &path, seen, doubtful)?,
                    Err(reason) => {
                        seen.refused.insert((path, reason));
                    }
                }
            }
        }
        Ok(())
    }

    fn key(&self, path: &Path) -> Result<String, &'static str> {
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        match below.to_str() {
            None => Err("its name is no UTF-8"),
            Some(key) if key.len() > LONGEST_KEY => Err("its path is longer than a key may be"),
            Some(key) => Ok(key.to_owned()),
        }
    }

    fn file(
        &mut self,
        key: String,
        path: &Path,
        seen: &mut Seen,
        doubtful: &mut Vec<Doubtful>,
    ) -> io::Result<()> {
        let file = match path.symlink_metadata() {
            Ok(file) if file.is_file() => file,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let entry = entry(&file);
        if self.known.holds(&key, &entry) {
            self.known.keep(&key);
            return Ok(());
        }
        if self.closed.contains(path) {
            self.known.keep(&key);
            seen.different.push((key, entry));
            return Ok(());
        }
        let changed = millis(file.ctime(), file.ctime_nsec());
        let changed = changed.max(millis(file.mtime(), file.mtime_nsec()));
        let left_alone = self.now.since(Timestamp::from_millis(changed));
        if left_alone >= self.settled_after {
            let id = (file.dev(), file.ino());
            doubtful.push(Doubtful { key, entry, id });
        } else {
            self.keep(&key, seen);
        }
        Ok(())
    }

    /// Believes those complete that nobody has open.
    fn ask(&mut self, doubtful: Vec<Doubtful>, seen: &mut Seen) {
        let ids: HashSet<FileId> = doubtful.iter().map(|file| file.id).collect();
        let open = match ids.is_empty() {
            true => HashSet::new(),
            false => open_for_writing(&ids),
        };
        for Doubtful { key, entry, id } in doubtful {
            match open.contains(&id) {
                true => self.keep(&key, seen),
                false => {
                    self.known.keep(&key);
                    seen.different.push((key, entry));
                }
            }
        }
    }

    /// Leaves a file as it was known.
    fn keep(&mut self, key: &str, seen: &mut Seen) {
        seen.unsettled += 1;
        self.known.keep(key);
    }
}

/// Which of these are files after all: reading a folder that changes may miss what was there all along.
pub(super) fn files_among(root: &Path, keys: &[String]) -> io::Result<HashSet<String>> {
    let mut files = HashSet::new();
    for key in keys {
        if is_file(&root.join(key))? {
            files.insert(key.clone());
        }
    }
    Ok(files)
}

fn is_file(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(file) => Ok(file.is_file()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(false),
            _ => Err(error),
        },
    }
}

/// What tells one state of a file from another: which file it is, when it was written, its size.
pub(super) fn entry(file: &Metadata) -> Entry {
    let (seconds, nanos) = (file.mtime(), file.mtime_nsec());
    Entry {
        etag: Some(format!(
            "{:x}-{seconds:x}.{nanos:x}-{:x}",
            file.ino(),
            file.size()
        )),
        size: file.size(),
        modified: Timestamp::from_millis(millis(seconds, nanos)),
    }
}

fn millis(seconds: i64, nanos: i64) -> i64 {
    seconds
        .saturating_mul(1_000)
        .saturating_add(nanos / 1_000_000)
}
