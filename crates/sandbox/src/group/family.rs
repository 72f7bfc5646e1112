//! The groups of one spawner, all of them at once: what somebody with more rights than the server does to
//! them, who knows their folders and no more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{kill, write};

/// How often, and how far apart, a group is tried to be removed whose members have been killed: the kernel
/// takes milliseconds to let go of them.
const TRIES: u32 = 200;
const BETWEEN: Duration = Duration::from_millis(10);

/// The folders below which groups are made, each once.
#[derive(Clone, Debug)]
pub(crate) struct Family(Vec<PathBuf>);

impl Family {
    pub(crate) fn of(mut folders: Vec<PathBuf>) -> Self {
        folders.sort();
        folders.dedup();
        Self(folders)
    }

    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// Makes a process a member of the group of this number, everywhere.
    pub(crate) fn admit(&self, group: u64, process: i32) -> io::Result<()> {
        let (group, process) = (group.to_string(), process.to_string());
        let mut folders = self.0.iter();
        folders.try_for_each(|folder| write(&folder.join(&group).join("cgroup.procs"), &process))
    }

    /// Ends everything in them, and removes them. Whoever made them is gone.
    pub(crate) fn clear(&self) {
        for folder in &self.0 {
            clear(folder, TRIES);
        }
    }
}

/// Ends everything in the groups below `folder`, and removes them and it, if that is possible before so
/// many tries are used up.
pub(super) fn clear(folder: &Path, tries: u32) {
    // Each before those that it is in.
    let mut groups = Vec::new();
    find(folder, &mut groups);
    for path in &groups {
        kill(path, Some(path));
    }
    for attempt in 1..=tries {
        groups.retain(|path| still_there(fs::remove_dir(path)));
        if groups.is_empty() || attempt == tries {
            break;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "a group of version 1 tells nobody that it is empty"
        )]
        thread::sleep(BETWEEN);
    }
    // What is left, the next server that starts here finds.
    let _ = fs::remove_dir(folder);
}

/// The groups below a group, at any depth: a server may have made some there.
fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // However deep it goes, one folder is open at a time.
    let entries: Vec<_> = entries.collect();
    for entry in entries {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&entry.path(), found);
            found.push(entry.path());
        }
    }
}

fn still_there(removed: io::Result<()>) -> bool {
    removed.is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_serves_several_purposes_is_one() {
        let family = Family::of(vec!["/a".into(), "/b".into(), "/a".into()]);
        assert_eq!(family.folders(), [Path::new("/a"), Path::new("/b")]);
    }

    #[test]
    fn what_is_empty_is_removed_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let above = folder.path().join("groups");
        fs::create_dir_all(above.join("0")).unwrap();
        fs::create_dir_all(above.join("1/within")).unwrap();
        Family::of(vec![above.clone()]).clear();
        assert!(!above.exists());
    }
}
