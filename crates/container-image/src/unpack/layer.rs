//! One layer, laid over what is there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::extension::{Extensions, Meaning};
use super::tree::{OPEN, PLAIN, Place, TooMany, Tree, permissions};
use super::{Allowance, Error};

/// How the name of a whiteout begins.
const WHITEOUT: &[u8] = b".wh.";

/// The whiteout of everything in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// How names begin that a union file system kept for itself.
const RESERVED: &[u8] = b".wh..wh.";

/// A layer as it is being unpacked.
pub(super) struct Unpacking<'a> {
    tree: &'a Tree,
    what: &'a str,
    allowance: Allowance,
    bytes_left: u64,
    /// What this layer has put there. Whiteouts are about the layers below.
    own: HashSet<PathBuf>,
}

impl<'a> Unpacking<'a> {
    pub(super) fn new(
        tree: &'a Tree,
        what: &'a str,
        allowance: Allowance,
        bytes_left: u64,
    ) -> Self {
        Self {
            tree,
            what,
            allowance,
            bytes_left,
            own: HashSet::new(),
        }
    }

    /// How many bytes may still come.
    pub(super) const fn bytes_left(&self) -> u64 {
        self.bytes_left
    }

    fn too_many(&self) -> Error {
        Error::TooLarge {
            limit: self.allowance.entries,
            unit: "entries",
        }
    }

    pub(super) fn run(&mut self, archive: &mut impl Read) -> Result<(), Error> {
        let mut archive = Archive::new(archive);
        let what = self.what;
        let broken = |error: io::Error| Error::invalid(what, error.to_string());
        let mut extensions = Extensions::default();
        for entry in archive.entries().map_err(broken)?.raw(true) {
            let mut entry = entry.map_err(broken)?;
            self.tree.count().map_err(|TooMany| self.too_many())?;
            let header = entry.header().clone();
            match extensions.take(&header, &mut entry).map_err(broken)? {
                Meaning::Extension => {}
                Meaning::Entry(name, link) => self.take(&mut entry, &name, link)?,
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        name: &[u8],
        link: Option<Vec<u8>>,
    ) -> Result<(), Error> {
        let what = self.what;
        let refused = |reason: &str| {
            let name: String = String::from_utf8_lossy(name).chars().take(200).collect();
            Error::invalid(format!("the entry {name:?} of {what}"), reason)
        };
        let path = plain(name).map_err(refused)?;
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let done = self.lay(entry, &path, link);
        done.map_err(|failed| match failed {
            Failed::Refused(reason) => refused(reason),
            Failed::Error(error) => error,
            Failed::Io(error) if is_too_many(&error) => self.too_many(),
            Failed::Io(error) => match reason(&error) {
                Some(reason) => refused(reason),
                None => Error::io(path, error),
            },
        })
    }

    fn lay(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        path: &Path,
        link: Option<Vec<u8>>,
    ) -> Result<(), Failed> {
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        if name == OPAQUE {
            return self.hide_all(path.parent().unwrap_or(Path::new("")));
        }
        if name.starts_with(RESERVED) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.hide(&path.with_file_name(OsStr::from_bytes(hidden)));
        }
        let kind = entry.header().entry_type();
        let link = || {
            let link = link
                .clone()
                .filter(|link| !link.is_empty() && !link.contains(&0));
            link.ok_or(Failed::Refused("it links to nothing"))
        };
        let place = self.tree.place(path)?;
        match kind {
            EntryType::Directory => {
                if place.kind()? != Some(FileType::Directory) {
                    place.remove(&mut |_| false)?;
                    rustix::fs::mkdirat(&place.folder, &place.name, OPEN)?;
                    place.open_folder()?;
                }
            }
            EntryType::Regular | EntryType::Continuous => {
                place.remove(&mut |_| false)?;
                self.file(entry, &place)?;
            }
            EntryType::Symlink => {
                let target = link()?;
                place.remove(&mut |_| false)?;
                let target = OsStr::from_bytes(&target);
                rustix::fs::symlinkat(target, &place.folder, &place.name)?;
            }
            EntryType::Link => self.hard_link(&link()?, &place)?,
            // They would hide what is below.
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                place.remove(&mut |_| false)?;
                return Ok(());
            }
            _ => return Err(Failed::Refused("it is of no known kind")),
        }
        self.own.insert(place.path);
        Ok(())
    }

    /// A new file, with what really comes out.
    fn file(&mut self, entry: &mut Entry<'_, impl Read>, place: &Place) -> Result<(), Failed> {
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let size = entry.header().entry_size()?;
        let mut file = place.create_file()?;
        let copied = io::copy(&mut entry.take(self.bytes_left + 1), &mut file);
        let copied = copied.map_err(|error| match error.raw_os_error() {
            Some(_) => Failed::Io(error),
            // The archive's own.
            None => Failed::Error(Error::invalid(self.what, error.to_string())),
        })?;
        self.bytes_left = self.bytes_left.checked_sub(copied).ok_or({
            Failed::Error(Error::TooLarge {
                limit: self.allowance.bytes,
                unit: "bytes unpacked",
            })
        })?;
        if copied != size {
            return Err(Failed::Refused("the archive ends in it"));
        }
        let mode = if executable { OPEN } else { PLAIN };
        Ok(file.set_permissions(permissions(mode))?)
    }

    fn hard_link(&self, target: &[u8], place: &Place) -> Result<(), Failed> {
        let target = plain(target).map_err(Failed::Refused)?;
        if target.as_os_str().is_empty() {
            return Err(Failed::Refused("it links to a folder"));
        }
        let target = self.tree.existing(&target)?;
        match target.kind()? {
            None => return Err(Failed::Refused("it links to nothing")),
            Some(FileType::Directory) => return Err(Failed::Refused("it links to a folder")),
            // To itself: it is there already.
            Some(_) if target.path == place.path => return Ok(()),
            Some(_) => {}
        }
        place.remove(&mut |_| false)?;
        let (from, to) = (&target.folder, &place.folder);
        Ok(rustix::fs::linkat(
            from,
            &target.name,
            to,
            &place.name,
            AtFlags::empty(),
        )?)
    }

    /// Removes what is at `path` and below it, unless this layer has put it there.
    fn hide(&self, path: &Path) -> Result<(), Failed> {
        let leaves = |part: &OsStr| matches!(part.as_bytes(), b"" | b"." | b"..");
        if path.file_name().is_none_or(leaves) {
            return Err(Failed::Refused("it is the whiteout of nothing"));
        }
        match self.tree.existing(path) {
            Ok(place) => Ok(place.remove(&mut |path| self.own.contains(path))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is in a folder, unless this layer has put it there.
    fn hide_all(&self, folder: &Path) -> Result<(), Failed> {
        for place in self.tree.entries(folder)? {
            place.remove(&mut |path| self.own.contains(path))?;
        }
        Ok(())
    }
}

/// Why an entry was not laid.
enum Failed {
    Refused(&'static str),
    Error(Error),
    Io(io::Error),
}

impl<E: Into<io::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Io(error.into())
    }
}

fn is_too_many(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<TooMany>())
}

/// What is wrong with an entry that the kernel refused, if it is the entry's fault.
fn reason(error: &io::Error) -> Option<&'static str> {
    match Errno::from_io_error(error)? {
        Errno::NOENT | Errno::EXIST => Some("a link on its way, or what it links to, is not there"),
        Errno::NOTDIR => Some("a file is where a folder would have to be"),
        Errno::LOOP => Some("links on its way go round in circles"),
        Errno::NAMETOOLONG => Some("its name is too long, or lies too deep"),
        Errno::INVAL => Some("its name is none"),
        Errno::MLINK => Some("too many links lead to it"),
        _ => None,
    }
}

/// A name as a path within the root: plain parts only. One that begins with the root is meant within it.
fn plain(name: &[u8]) -> Result<PathBuf, &'static str> {
    if name.contains(&0) {
        return Err("its name holds a zero byte");
    }
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err("its name leaves the image"),
        }
    }
    Ok(path)
}
