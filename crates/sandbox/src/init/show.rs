//! Showing parts of this machine below a sandbox's root.
//!
//! What is shown and where is the server's wish, and the server may be without the rights that this
//! process still has. So a place is found one name at a time, from the root and never through a link, for
//! what was shown before may hold links that somebody chose; what is shown, and what lies on the way to its
//! place, is looked up with the rights of whoever the server is, but for the server's own program; and
//! everything is done to what has been opened, whose name may come to mean something else.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid};

use super::{At, Failure, die_with_parent};
use crate::program::Bind;
use crate::spawner::terms::Heir;

/// What nobody writes through, and what gives no rights.
pub(super) const HARMLESS: u64 =
    libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;

/// What a sandbox has of its own, and no job covers.
const OWN: [&str; 2] = ["/dev", "/proc"];

/// A sandbox's root, or what is to be one.
pub(super) struct Root<'a> {
    folder: OwnedFd,
    /// With whose rights names are looked up, if not with this process's.
    heir: Option<&'a Heir>,
}

impl<'a> Root<'a> {
    pub(super) fn open(path: &Path, heir: Option<&'a Heir>) -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty()).at("open the root")?;
        Ok(Self { folder, heir })
    }

    /// What is to be the root at another path.
    pub(super) fn at(&self, path: &Path) -> Result<Self, Failure> {
        Self::open(path, self.heir)
    }

    /// Shows what a job asks for.
    pub(super) fn show(&self, binds: &[Bind]) -> Result<(), Failure> {
        for Bind { from, to } in binds {
            if OWN.iter().any(|own| to.starts_with(own)) {
                return Err(Errno::ACCESS).at(format_args!("bind to {}", to.display()));
            }
            self.bind(from, to)?;
        }
        Ok(())
    }

    /// Shows the folder or file `from` at `to`, read-only, with everything that is mounted below it. With an
    /// heir, it must be one that the heir may read, or the server's own program.
    pub(super) fn bind(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        let opened = self.readable(from);
        let (opened, kind) = opened.at(format_args!("open {}", from.display()))?;
        let tree = clone(&opened).at(format_args!("copy the mount of {}", from.display()))?;
        let restricted = super::root::restrict(tree.as_fd(), c"", HARMLESS, libc::AT_RECURSIVE);
        restricted.at(format_args!("make {} read-only", from.display()))?;
        let place = match kind {
            FileType::Directory => self.folder(to),
            _ => self.file(to),
        };
        place
            .and_then(|place| move_to(&tree, &place))
            .at(format_args!("bind {} to {}", from.display(), to.display()))
    }

    /// Shows again what is at `name` below `other`, at that place here, where something is; `attributes` are
    /// set on that and not on what is mounted below it.
    pub(super) fn show_again(&self, other: &Self, name: &Path, attributes: u64) -> io::Result<()> {
        let tree = clone(&other.existing(name, OFlags::PATH)?)?;
        super::root::restrict(tree.as_fd(), c"", attributes, 0)?;
        move_to(&tree, &self.existing(name, OFlags::PATH)?)
    }

    /// Has a file system that nobody sees yet be at `to`.
    pub(super) fn mount(&self, system: &OwnedFd, to: &Path) -> io::Result<()> {
        move_to(
            system,
            &self.existing(to, OFlags::PATH | OFlags::DIRECTORY)?,
        )
    }

    /// The folder `to`, made where it is missing.
    pub(super) fn folder(&self, to: &Path) -> io::Result<OwnedFd> {
        let (above, name) = split(to)?;
        let mut at = self.folder.try_clone()?;
        for name in above.into_iter().chain([name]) {
            at = match self.step(&at, name, FOLDER) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                    self.step(&at, name, FOLDER)?
                }
                opened => opened?,
            };
        }
        Ok(at)
    }

    /// The file `to`, made empty where it is missing.
    fn file(&self, to: &Path) -> io::Result<OwnedFd> {
        let above = match to.parent().filter(|above| above.parent().is_some()) {
            Some(above) => self.folder(above)?,
            None => self.folder.try_clone()?,
        };
        let (_, name) = split(to)?;
        match self.step(&above, name, OFlags::PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let make = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mode = Mode::from_raw_mode(0o644);
                Ok(rustix::fs::openat(&above, name, make, mode)?)
            }
            opened => opened,
        }
    }

    /// What is at `to`, opened.
    fn existing(&self, to: &Path, how: OFlags) -> io::Result<OwnedFd> {
        let (above, name) = self.above(to)?;
        self.step(&above, name, how)
    }

    /// Removes the empty folder `to`.
    pub(super) fn remove_folder(&self, to: &Path) -> io::Result<()> {
        let (above, name) = self.above(to)?;
        Ok(rustix::fs::unlinkat(&above, name, AtFlags::REMOVEDIR)?)
    }

    /// The folder above `to`, which is there, and the last name.
    fn above<'t>(&self, to: &'t Path) -> io::Result<(OwnedFd, &'t OsStr)> {
        let (above, name) = split(to)?;
        let mut at = self.folder.try_clone()?;
        for name in above {
            at = self.step(&at, name, FOLDER)?;
        }
        Ok((at, name))
    }

    /// What `name` is in a folder, a mount there included, if it is no link.
    fn step(&self, folder: &OwnedFd, name: &OsStr, how: OFlags) -> io::Result<OwnedFd> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let open = || {
            let how = how | OFlags::CLOEXEC;
            Ok(rustix::fs::openat2(
                folder,
                name,
                how,
                Mode::empty(),
                beneath,
            )?)
        };
        match self.heir {
            Some(heir) => heir.lend_rights(open),
            None => open(),
        }
    }

    /// A folder or file of this machine, which the heir may read if there is one, and which of the two it is.
    fn readable(&self, from: &Path) -> io::Result<(OwnedFd, FileType)> {
        let find = || rustix::fs::openat2(CWD, from, FOUND, Mode::empty(), NO_MAGIC);
        let found = match self.heir {
            Some(heir) => match heir.executable(from) {
                Some(own) => own,
                None => heir.lend_rights(|| {
                    let found = find()?;
                    may_read(&found)?;
                    Ok(found)
                })?,
            },
            None => find()?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            kind @ (FileType::Directory | FileType::RegularFile) => Ok((found, kind)),
            // What somebody may be made to wait at, or write to.
            _ => Err(Errno::ACCESS.into()),
        }
    }
}

/// What is found, and not read.
const FOUND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Links that name no path, as `/proc` has them.
const NO_MAGIC: ResolveFlags = ResolveFlags::NO_MAGICLINKS;

/// A folder that is passed on the way.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// What is mounted at what was opened, and below it, once more and nowhere yet.
fn clone(opened: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(opened, "", flags)?)
}

fn move_to(tree: &OwnedFd, place: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(tree, "", place, "", flags)?)
}

/// Whether this process may read what has been found, by the rights to files that it has now.
fn may_read(found: &OwnedFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "rustix refuses to ask this of a descriptor")]
    // SAFETY: the path ends with a zero and outlives the call, which reads nothing else.
    let result = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            found.as_raw_fd(),
            c"".as_ptr(),
            libc::R_OK,
            libc::AT_EACCESS | libc::AT_EMPTY_PATH,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The names on the way to an absolute path that goes nowhere but down, and the last one.
fn split(to: &Path) -> io::Result<(Vec<&OsStr>, &OsStr)> {
    let below = to.strip_prefix("/").map_err(|_| Errno::INVAL)?;
    let name = |part| match part {
        Component::Normal(name) => Ok(name),
        _ => Err(io::Error::from(Errno::INVAL)),
    };
    let mut names = below
        .components()
        .map(name)
        .collect::<io::Result<Vec<_>>>()?;
    let last = names.pop().ok_or(Errno::INVAL)?;
    Ok((names, last))
}

impl Heir {
    /// The server's own program, if that is what `from` names.
    fn executable(&self, from: &Path) -> Option<OwnedFd> {
        if from != self.executable {
            return None;
        }
        let found = rustix::fs::open(from, FOUND, Mode::empty()).ok()?;
        // The name may be made to mean something else. This process is the same program.
        let own = std::fs::metadata("/proc/self/exe").ok()?;
        let stat = rustix::fs::fstat(&found).ok()?;
        (stat.st_dev == own.dev() && stat.st_ino == own.ino()).then_some(found)
    }

    /// Does something with this user's rights, and no others. This process has one thread.
    fn lend_rights<T>(&self, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let own = rustix::thread::capabilities(None)?;
        rustix::thread::set_thread_groups(&groups)?;
        become_for_files(self.user, self.group)?;
        // What is left of root's rights after that would show what `/proc` hides from others.
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            ..own
        };
        rustix::thread::set_capabilities(None, none)?;
        let done = act();
        rustix::thread::set_capabilities(None, own)?;
        become_for_files(0, 0)?;
        rustix::thread::set_thread_groups(&[])?;
        // The kernel forgets it with every such change. If the spawner has ended in between, what ends this
        // process is the end of its groups.
        die_with_parent().map_err(|failure| failure.source)?;
        done
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
