//! Reading a folder's files by the keys that events carry.
//!
//! **Nothing outside the folder is ever opened.** A key that is no plain path below it is no file's; the
//! kernel resolves the rest in one step, beneath the folder and through no symbolic link
//! (`openat2(2)`), so that nothing can be exchanged halfway.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use clock::Timestamp;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use super::scan::{LONGEST_KEY, entry};
use super::walk::FolderWalk;

/// A folder whose files can be read.
#[derive(Clone, Debug)]
pub struct FolderFiles {
    path: PathBuf,
}

/// The state of a file, as its event tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// Its tag: another one whenever its number, time or size is another.
    pub etag: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}

impl FolderFiles {
    /// The files of a folder, which may be a symbolic link to one.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Since when there has been the folder, as far as its file system knows: when it was made, or else
    /// changed; the beginning of time while it cannot be found.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        let time = |folder: std::fs::Metadata| folder.created().or_else(|_| folder.modified());
        let made = std::fs::metadata(&self.path).and_then(time);
        made.map_or_else(|_| Timestamp::default(), Timestamp::from)
    }

    /// Opens the regular file whose path below the folder is exactly `key`; `None` when there is none.
    ///
    /// # Errors
    /// The folder or the file cannot be read.
    pub fn open(&self, key: &str) -> io::Result<Option<File>> {
        if !is_key(key) {
            return Ok(None);
        }
        let root = self.root()?;
        // Whatever is no file is not waited for.
        let how = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let beneath =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = match openat2(&root, key, how, Mode::empty(), beneath) {
            Ok(file) => File::from(file),
            Err(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::XDEV
                | Errno::NXIO
                | Errno::NAMETOOLONG,
            ) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(file.metadata()?.is_file().then_some(file))
    }

    /// The state of a file of the folder that is open.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn state(file: &File) -> io::Result<FileState> {
        Ok(FileState::of(&file.metadata()?))
    }

    /// Begins a walk through all keys.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn walk(&self) -> io::Result<FolderWalk> {
        Ok(FolderWalk::begin(self.root()?))
    }

    fn root(&self) -> io::Result<OwnedFd> {
        let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(open(&self.path, how, Mode::empty())?)
    }
}

impl FileState {
    pub(super) fn of(file: &std::fs::Metadata) -> Self {
        let entry = entry(file);
        Self {
            etag: entry.etag.unwrap_or_default(),
            size: entry.size,
            modified: entry.modified,
        }
    }
}

/// Whether a look through the folder could have made this key of a path.
fn is_key(key: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "" | "." | "..");
    key.len() <= LONGEST_KEY && !key.contains('\0') && key.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use rustix::fs::CWD;

    use super::*;

    fn read(files: &FolderFiles, key: &str) -> Option<String> {
        let mut text = String::new();
        let file = files.open(key).unwrap();
        file?.read_to_string(&mut text).unwrap();
        Some(text)
    }

    #[test]
    fn a_file_is_read_by_its_own_key_and_nothing_outside_by_any() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("folder");
        std::fs::create_dir_all(folder.join("in")).unwrap();
        std::fs::write(work.path().join("outside"), "secret").unwrap();
        std::fs::write(folder.join("in/a b"), "inside").unwrap();
        symlink(work.path().join("outside"), folder.join("link")).unwrap();
        symlink(work.path(), folder.join("up")).unwrap();
        symlink("a b", folder.join("in/same")).unwrap();
        rustix::fs::mkfifoat(CWD, folder.join("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let files = FolderFiles::new(folder.clone());
        assert_eq!(read(&files, "in/a b").as_deref(), Some("inside"));
        let absolute = work.path().join("outside").display().to_string();
        for key in [
            "../outside",
            "in/../../outside",
            "in/../in/a b",
            "/in/a b",
            "in//a b",
            "./in/a b",
            "in/a b/",
            "in",
            "in/",
            "link",
            "up/outside",
            "up/folder/in/a b",
            "in/same",
            "pipe",
            "in/a b\0",
            "/proc/self/environ",
            &absolute,
            &"x/".repeat(600),
            "",
        ] {
            assert_eq!(read(&files, key), None, "{key}");
        }
        // The folder itself may be reached by a link.
        symlink(&folder, work.path().join("there")).unwrap();
        let files = FolderFiles::new(work.path().join("there"));
        assert_eq!(read(&files, "in/a b").as_deref(), Some("inside"));
    }

    #[test]
    fn a_folder_that_is_exchanged_for_a_link_leads_nowhere() {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("folder");
        std::fs::create_dir_all(folder.join("in")).unwrap();
        std::fs::create_dir_all(work.path().join("out")).unwrap();
        std::fs::write(folder.join("in/a"), "inside").unwrap();
        std::fs::write(work.path().join("out/a"), "secret").unwrap();
        let files = FolderFiles::new(folder.clone());
        let (inside, aside) = (folder.join("in"), work.path().join("aside"));
        let exchanging = std::thread::spawn(move || {
            for _ in 0..2_000 {
                std::fs::rename(&inside, &aside).unwrap();
                symlink(aside.with_file_name("out"), &inside).unwrap();
                std::fs::remove_file(&inside).unwrap();
                std::fs::rename(&aside, &inside).unwrap();
            }
        });
        while !exchanging.is_finished() {
            let found = read(&files, "in/a");
            assert!(found.is_none_or(|text| text == "inside"));
            let mut walk = files.walk().unwrap();
            while let Some((key, _)) = walk.next(std::ops::Bound::Unbounded).unwrap() {
                assert_eq!(key, "in/a");
            }
        }
        exchanging.join().unwrap();
    }
}
