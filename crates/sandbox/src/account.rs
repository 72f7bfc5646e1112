//! Becoming another user of this machine, for good.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{CapabilitySet, Gid};

use crate::confinement::{empty_bounding_set, forget_keys, keep_capabilities};

/// Room for what the user database says of one user.
const ENTRY: usize = 16 * 1024;

/// Groups of a user, at most: what the kernel takes (Linux, `NGROUPS_MAX`).
const MOST_GROUPS: usize = 65_536;

/// A user of this machine.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    user: u32,
    group: u32,
    /// All that it is a member of.
    groups: Vec<u32>,
    home: PathBuf,
}

impl Account {
    /// The user of this name in the machine's user database.
    ///
    /// # Errors
    /// `NotFound` when there is none; whatever the database answers.
    pub fn named(name: &str) -> io::Result<Self> {
        let c_name = CString::new(name)?;
        let mut entry = MaybeUninit::uninit();
        let mut room = vec![0; ENTRY];
        let mut found = std::ptr::null_mut();
        #[expect(unsafe_code, reason = "neither std nor rustix asks the user database")]
        // SAFETY: every pointer is to something that outlives the call; the name ends with a zero, and
        // the room is as long as is said. What is found points into `entry`.
        let result = unsafe {
            libc::getpwnam_r(
                c_name.as_ptr(),
                entry.as_mut_ptr(),
                room.as_mut_ptr(),
                room.len(),
                &raw mut found,
            )
        };
        if result != 0 {
            return Err(io::Error::from_raw_os_error(result));
        }
        if found.is_null() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "this machine has no such user",
            ));
        }
        #[expect(
            unsafe_code,
            reason = "C tells by a pointer that it has filled the entry"
        )]
        // SAFETY: the call has succeeded and found somebody, so that the entry is filled.
        let entry = unsafe { entry.assume_init() };
        #[expect(unsafe_code, reason = "C knows text by where it begins")]
        // SAFETY: the call ends it with a zero, in the room, which is not touched before it is copied.
        let home = unsafe { CStr::from_ptr(entry.pw_dir) };
        Ok(Self {
            name: name.to_owned(),
            user: entry.pw_uid,
            group: entry.pw_gid,
            groups: groups(&c_name, entry.pw_gid)?,
            home: PathBuf::from(OsStr::from_bytes(home.to_bytes())),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is root or of root's group, of whom nothing, or not enough, is given up by becoming it.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.user == 0 || self.groups.contains(&0)
    }

    pub(crate) fn user(&self) -> u32 {
        self.user
    }

    pub(crate) fn group(&self) -> u32 {
        self.group
    }

    pub(crate) fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// Makes what is open its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn give(&self, file: impl AsFd) -> io::Result<()> {
        std::os::unix::fs::fchown(file, Some(self.user), Some(self.group))
    }

    /// Whether a file or folder is its own.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn owns(&self, path: &Path) -> io::Result<bool> {
        Ok(std::fs::metadata(path)?.uid() == self.user)
    }

    /// Whether it may put something else in the place of what is in a folder and not its own.
    ///
    /// # Errors
    /// When the folder cannot be looked at.
    pub fn may_replace_in(&self, folder: &Path) -> io::Result<bool> {
        let metadata = std::fs::metadata(folder)?;
        let mode = metadata.mode();
        let of_its_group = mode & 0o020 != 0 && self.groups.contains(&metadata.gid());
        let sticky = mode & 0o1000 != 0;
        Ok(metadata.uid() == self.user || (mode & 0o002 != 0 || of_its_group) && !sticky)
    }

    /// Makes this process, which is root's, this user's: with its groups, its home, and no right of root's but
    /// to end processes (`CAP_KILL`), for those in sandboxes are other users'. Nothing that it executes
    /// has even that, and nothing gives it back. What is open stays open, and where the process is it stays.
    ///
    /// # Errors
    /// When there is more than one thread, since rights are each thread's own, or the kernel refuses. Some
    /// rights may have been given up by then.
    pub fn assume(&self) -> io::Result<()> {
        if fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("more than one thread runs already"));
        }
        self.take_over()?;
        #[expect(unsafe_code, reason = "another thread could be reading them")]
        // SAFETY: there is no other thread.
        unsafe {
            std::env::set_var("HOME", &self.home);
            std::env::set_var("USER", &self.name);
            std::env::set_var("LOGNAME", &self.name);
        }
        Ok(())
    }

    /// What of that concerns rights.
    pub(crate) fn take_over(&self) -> io::Result<()> {
        empty_bounding_set()?;
        forget_keys()?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_keep_capabilities(true)?;
        #[expect(
            unsafe_code,
            reason = "neither std nor rustix sets the user of a process"
        )]
        // SAFETY: the calls take integers.
        let changed = unsafe {
            libc::setresgid(self.group, self.group, self.group) == 0
                && libc::setresuid(self.user, self.user, self.user) == 0
        };
        if !changed {
            return Err(io::Error::last_os_error());
        }
        keep_capabilities(CapabilitySet::KILL)?;
        rustix::thread::set_keep_capabilities(false)?;
        Ok(rustix::thread::set_no_new_privs(true)?)
    }
}

/// The groups of a user whose own is `group`.
fn groups(name: &CStr, group: u32) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; MOST_GROUPS];
    let mut count = libc::c_int::try_from(groups.len()).map_err(io::Error::other)?;
    #[expect(unsafe_code, reason = "neither std nor rustix asks the user database")]
    // SAFETY: the name ends with a zero, and there is room for as many as are said.
    let found =
        unsafe { libc::getgrouplist(name.as_ptr(), group, groups.as_mut_ptr(), &raw mut count) };
    if found < 0 {
        return Err(io::Error::other("it is a member of too many groups"));
    }
    groups.truncate(usize::try_from(count).map_err(io::Error::other)?);
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name() {
        let root = Account::named("root").unwrap();
        assert!(root.is_root() && root.owns(Path::new("/")).unwrap());
        let nobody = Account::named("nobody").unwrap();
        assert!(!nobody.is_root() && !nobody.owns(Path::new("/")).unwrap());
        let error = Account::named("nobody of this name").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(Account::named("\0").is_err());
    }
}
