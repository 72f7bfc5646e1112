//! Showing parts of this machine below a sandbox's root.
//!
//! What is shown and where is the server's wish, and the server may be without the rights that this
//! process still has. So a place is found one name at a time, from the root and never through a link, for
//! what was shown before may hold links that somebody chose; what is shown is opened with the rights of
//! whoever the server is; and everything is done to what has been opened, whose name may come to mean
//! something else.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use super::{At, Failure};
use crate::program::Bind;
use crate::spawner::terms::Heir;

/// What nobody writes through, and what gives no rights.
const HARMLESS: u64 = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// What a sandbox has of its own, and no job covers.
const OWN: [&str; 2] = ["dev", "proc"];

/// Shows what a job asks for.
pub(super) fn all(root: &Path, binds: &[Bind], heir: Option<&Heir>) -> Result<(), Failure> {
    for Bind { from, to } in binds {
        let covers = to.components().nth(1).is_some_and(|first| {
            let mut own = OWN.iter();
            own.any(|name| first.as_os_str() == *name)
        });
        match covers {
            true => Err(Errno::ACCESS).at(format_args!("bind to {}", to.display()))?,
            false => bind(root, from, to, heir)?,
        }
    }
    Ok(())
}

/// Shows `from` at `to` below `root`, read-only, with everything that is mounted below it. With an heir, it
/// must be something that the heir may open.
pub(super) fn bind(
    root: &Path,
    from: &Path,
    to: &Path,
    heir: Option<&Heir>,
) -> Result<(), Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE;
    let open = || rustix::mount::open_tree(CWD, from, flags | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    let tree = match heir {
        // A program of this machine's, which the server is itself.
        Some(heir) if from != heir.executable => heir.lend_rights(open),
        Some(_) | None => open().map_err(io::Error::from),
    };
    let tree = tree.at(format_args!("open {}", from.display()))?;
    restrict(&tree, HARMLESS, true).at(format_args!("make {} read-only", from.display()))?;
    put(&tree, root, to).at(format_args!("bind {} to {}", from.display(), to.display()))
}

/// Shows again, below `other`, what is at `name` below `root`; `attributes` are set on that and not on what is
/// mounted below it. There must be something at that place.
pub(super) fn again(root: &Path, other: &Path, name: &Path, attributes: u64) -> io::Result<()> {
    let here = existing(root, name, OFlags::PATH)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(&here, "", flags)?;
    if attributes != 0 {
        restrict(&tree, attributes, false)?;
    }
    move_to(&tree, &existing(other, name, OFlags::PATH)?)
}

/// Sets attributes of a mount, and of all below it if that is `recursive`.
fn restrict(tree: &OwnedFd, attributes: u64, recursive: bool) -> io::Result<()> {
    super::root::restrict(tree.as_fd(), c"", attributes, recursive)
}

fn put(tree: &OwnedFd, root: &Path, to: &Path) -> io::Result<()> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode);
    let place = match kind {
        FileType::Directory => folder(root, to)?,
        _ => file(root, to)?,
    };
    move_to(tree, &place)
}

fn move_to(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", place, "", flags)?)
}

/// The folder `to` below `root`, made where it is missing.
pub(super) fn folder(root: &Path, to: &Path) -> io::Result<OwnedFd> {
    let mut at = open_root(root)?;
    for name in names(to)? {
        at = match step(&at, name, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                step(&at, name, OFlags::PATH | OFlags::DIRECTORY)?
            }
            opened => opened?,
        };
    }
    Ok(at)
}

/// The file `to` below `root`, made empty where it is missing.
fn file(root: &Path, to: &Path) -> io::Result<OwnedFd> {
    let (above, name) = split(to)?;
    let above = folder(root, above)?;
    let make = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    match step(&above, name, OFlags::PATH) {
        Err(Errno::NOENT) => Ok(step(&above, name, make)?),
        opened => Ok(opened?),
    }
}

/// What is at `to` below `root`, opened.
pub(super) fn existing(root: &Path, to: &Path, how: OFlags) -> io::Result<OwnedFd> {
    let (above, name) = above(root, to)?;
    Ok(step(&above, name, how)?)
}

/// Removes the empty folder `to` below `root`.
pub(super) fn remove_folder(root: &Path, to: &Path) -> io::Result<()> {
    let (above, name) = above(root, to)?;
    Ok(rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR)?)
}

/// The folder above `to`, which is there, and the last name.
fn above<'a>(root: &Path, to: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
    let (above, name) = split(to)?;
    let mut at = open_root(root)?;
    for name in names(above)? {
        at = step(&at, name, OFlags::PATH | OFlags::DIRECTORY)?;
    }
    Ok((at, name))
}

fn open_root(root: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty())
}

/// What `name` is in a folder, a mount there included, if it is no link.
fn step(folder: impl AsFd, name: &OsStr, how: OFlags) -> rustix::io::Result<OwnedFd> {
    let mode = match how.contains(OFlags::CREATE) {
        true => Mode::from_raw_mode(0o644),
        false => Mode::empty(),
    };
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(folder, name, how | OFlags::CLOEXEC, mode, beneath)
}

/// The names on the way to an absolute path that goes nowhere but down.
fn names(to: &Path) -> io::Result<Vec<&OsStr>> {
    let below = to.strip_prefix("/").map_err(|_| Errno::INVAL)?;
    let name = |part| match part {
        Component::Normal(name) => Ok(name),
        _ => Err(io::Error::from(Errno::INVAL)),
    };
    below.components().map(name).collect()
}

/// The folder above a path, and the last name.
fn split(to: &Path) -> io::Result<(&Path, &OsStr)> {
    let parts = to.parent().zip(to.file_name());
    parts.ok_or_else(|| Errno::INVAL.into())
}

impl Heir {
    /// Does something with this user's rights to files, and no others. This process has one thread.
    fn lend_rights<T>(&self, act: impl FnOnce() -> rustix::io::Result<T>) -> io::Result<T> {
        become_for_files(self.user, self.group)?;
        let done = act();
        become_for_files(0, 0)?;
        Ok(done?)
    }
}

/// Has the kernel take this process for another user's where files are concerned. Root's rights to files go
/// and come with that.
fn become_for_files(user: u32, group: u32) -> io::Result<()> {
    // Neither call tells whether it has done anything; with what nobody is, it tells what was.
    let nobody = u32::MAX;
    #[expect(unsafe_code, reason = "neither std nor rustix has these calls")]
    // SAFETY: both take and return integers, and concern nothing but this thread's rights.
    let done = unsafe {
        libc::setfsgid(group);
        libc::setfsuid(user);
        (libc::setfsuid(nobody), libc::setfsgid(nobody))
    };
    match (done.0.cast_unsigned(), done.1.cast_unsigned()) == (user, group) {
        true => Ok(()),
        false => Err(Errno::PERM.into()),
    }
}
