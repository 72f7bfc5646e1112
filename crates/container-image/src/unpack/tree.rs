//! A folder that is written to by names that strangers chose.
//!
//! Every name is looked up by the kernel as if the folder were the root of all, links included, and what
//! is made or removed is the last part of a name in a folder that is held open. No order of entries and
//! links leads outside.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Folders within one another, at most: whatever goes through them later must come to an end.
const DEPTH: usize = 200;

/// Bytes of a path within the folder, at most.
const PATH_BYTES: usize = 3 * 1024;

/// How often a name is looked up that leads through `..`: the kernel gives up on one while anything on this
/// machine is renamed or mounted, for it might be led outside.
const ATTEMPTS: u32 = 10_000;

const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The rights of folders, and of files that are programs.
pub(super) const OPEN: Mode = Mode::from_raw_mode(0o755);

/// The rights of other files.
pub(super) const PLAIN: Mode = Mode::from_raw_mode(0o644);

/// The folder.
pub(super) struct Tree {
    root: OwnedFd,
    path: PathBuf,
    /// Entries that may still come. Folders that no archive names are some, too.
    entries_left: Cell<u64>,
}

/// There are more entries than are allowed.
#[derive(Debug, thiserror::Error)]
#[error("too many entries")]
pub(super) struct TooMany;

/// A place in it: the last part of a name, in a folder that is there.
pub(super) struct Place {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) name: PathBuf,
    /// The whole of it, without links on the way.
    pub(super) path: PathBuf,
}

impl Tree {
    pub(super) fn open(path: &Path, entries: u64) -> io::Result<Self> {
        let root = rustix::fs::openat(CWD, path, OFlags::RDONLY | FOLDER, Mode::empty())?;
        rustix::fs::fchmod(&root, OPEN)?;
        let path = real(&root)?;
        Ok(Self {
            root,
            path,
            entries_left: Cell::new(entries),
        })
    }

    /// Counts something that comes.
    pub(super) fn count(&self) -> Result<(), TooMany> {
        let left = self.entries_left.get().checked_sub(1).ok_or(TooMany)?;
        self.entries_left.set(left);
        Ok(())
    }

    /// Where `path` is; folders on the way are made where they are missing. `path` is relative and made
    /// of plain names.
    pub(super) fn place(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let folder = Arc::new(self.folder(path.parent().unwrap_or(Path::new("")))?);
        let inside = self.inside(&folder)?.join(name);
        if inside.components().count() > DEPTH || inside.as_os_str().len() > PATH_BYTES {
            return Err(Errno::NAMETOOLONG.into());
        }
        Ok(Place {
            folder,
            name: name.into(),
            path: inside,
        })
    }

    /// Where `path` is, if it is there.
    pub(super) fn existing(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let folder = self.resolve(path.parent().unwrap_or(Path::new("")))?;
        Ok(Place {
            path: self.inside(&folder)?.join(name),
            folder: Arc::new(folder),
            name: name.into(),
        })
    }

    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.resolve(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let place = self.place(path)?;
        self.count().map_err(io::Error::other)?;
        // A link that leads nowhere is there already, and is an error.
        rustix::fs::mkdirat(&place.folder, &place.name, OPEN)?;
        place.open_folder()
    }

    fn resolve(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | FOLDER;
        let mut left = ATTEMPTS;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), inside) {
                Err(Errno::AGAIN) if left > 0 => left -= 1,
                found => return Ok(found?),
            }
            std::thread::yield_now();
        }
    }

    /// What is in a folder; none where there is no such folder.
    pub(super) fn entries(&self, path: &Path) -> io::Result<Vec<Place>> {
        match self.resolve(path) {
            Ok(folder) => entries(&folder, &self.inside(&folder)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The path of an open folder of this tree.
    fn inside(&self, folder: &OwnedFd) -> io::Result<PathBuf> {
        let path = real(folder)?;
        let inside = path.strip_prefix(&self.path);
        Ok(inside.map_err(|_| Errno::XDEV)?.to_owned())
    }

    /// Has these folders be there, and in one of them these files, whatever was at their place.
    pub(super) fn prepare(&self, folders: &[&str], of: &str, files: &[&str]) -> io::Result<()> {
        for folder in folders {
            let place = self.place(Path::new(folder))?;
            match place.kind()? {
                Some(FileType::Directory) => continue,
                Some(_) => place.remove(&mut |_| false)?,
                None => {}
            }
            rustix::fs::mkdirat(&place.folder, &place.name, OPEN)?;
        }
        for file in files {
            let place = self.place(&Path::new(of).join(file))?;
            match place.kind()? {
                Some(FileType::RegularFile) => continue,
                Some(_) => place.remove(&mut |_| false)?,
                None => {}
            }
            place.create_file()?.set_permissions(permissions(PLAIN))?;
        }
        Ok(())
    }

    /// Has everything on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }
}

impl Place {
    /// What is there; links are not followed.
    pub(super) fn kind(&self) -> io::Result<Option<FileType>> {
        match rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file that was not there.
    pub(super) fn create_file(&self) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &self.name, flags, PLAIN)?;
        Ok(File::from(file))
    }

    pub(super) fn open_folder(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | FOLDER;
        let folder = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty())?;
        // Whatever new folders of this process are hidden by.
        rustix::fs::fchmod(&folder, OPEN)?;
        Ok(folder)
    }

    /// Removes what is there, but for what `keep` is true of and the folders around that.
    pub(super) fn remove(&self, keep: &mut dyn FnMut(&Path) -> bool) -> io::Result<()> {
        match self.kind()? {
            None => Ok(()),
            Some(FileType::Directory) => {
                if self.empty(keep)? && !keep(&self.path) {
                    rustix::fs::unlinkat(&self.folder, &self.name, AtFlags::REMOVEDIR)?;
                }
                Ok(())
            }
            Some(_) if keep(&self.path) => Ok(()),
            Some(_) => Ok(rustix::fs::unlinkat(
                &self.folder,
                &self.name,
                AtFlags::empty(),
            )?),
        }
    }

    /// Removes what is in the folder there. True when nothing is left.
    fn empty(&self, keep: &mut dyn FnMut(&Path) -> bool) -> io::Result<bool> {
        let mut empty = true;
        for inner in entries(&self.open_folder()?, &self.path)? {
            inner.remove(keep)?;
            empty &= inner.kind()?.is_none();
        }
        Ok(empty)
    }
}

/// The places in an open folder, which is at `path`.
fn entries(folder: &OwnedFd, path: &Path) -> io::Result<Vec<Place>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let name = Path::new(OsStr::from_bytes(name));
            entries.push((name.to_owned(), path.join(name)));
        }
    }
    // One descriptor for each folder on the way down, not for each entry.
    let shared = Arc::new(folder.try_clone()?);
    let entries = entries.into_iter().map(|(name, path)| Place {
        folder: Arc::clone(&shared),
        name,
        path,
    });
    Ok(entries.collect())
}

pub(super) fn permissions(mode: Mode) -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode.as_raw_mode())
}

/// The path of an open folder.
fn real(folder: &OwnedFd) -> io::Result<PathBuf> {
    let number = folder.as_fd().as_raw_fd();
    std::fs::read_link(format!("/proc/self/fd/{number}"))
}
