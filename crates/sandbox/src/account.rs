//! Becoming another user of this machine, for good.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Room for what the user database says of one user.
const ENTRY: usize = 16 * 1024;

/// A user of this machine.
#[derive(Clone, Debug)]
pub struct Account {
    name: String,
    user: u32,
    group: u32,
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
        Ok(Self {
            name: name.to_owned(),
            user: entry.pw_uid,
            group: entry.pw_gid,
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is root, of whom nothing is given up by becoming it.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.user == 0
    }

    pub(crate) fn user(&self) -> u32 {
        self.user
    }

    /// Makes a file or folder its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::chown(path, Some(self.user), Some(self.group))
    }

    /// Whether a file or folder is its own.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn owns(&self, path: &Path) -> io::Result<bool> {
        Ok(std::fs::metadata(path)?.uid() == self.user)
    }

    /// Makes this process, which is root's, this user's: with its groups, and with no right of root's but
    /// to end processes (`CAP_KILL`), for those in sandboxes are other users'. Nothing that it executes
    /// has even that, and nothing gives it back.
    ///
    /// Rights are each thread's own: call it while there is one.
    ///
    /// # Errors
    /// When the kernel refuses. Some rights may have been given up by then.
    pub fn assume(&self) -> io::Result<()> {
        let name = CString::new(self.name.as_str())?;
        for capability in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << capability);
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // The last that this kernel has was the one before.
                Err(rustix::io::Errno::INVAL) => break,
                removed => removed?,
            }
        }
        rustix::thread::clear_ambient_capability_set()?;
        rustix::thread::set_keep_capabilities(true)?;
        #[expect(
            unsafe_code,
            reason = "neither std nor rustix sets the user of a process"
        )]
        // SAFETY: the name ends with a zero; the other calls take integers.
        let changed = unsafe {
            libc::initgroups(name.as_ptr(), self.group) == 0
                && libc::setresgid(self.group, self.group, self.group) == 0
                && libc::setresuid(self.user, self.user, self.user) == 0
        };
        if !changed {
            return Err(io::Error::last_os_error());
        }
        let kill = CapabilitySet::KILL;
        rustix::thread::set_capabilities(
            None,
            CapabilitySets {
                effective: kill,
                permitted: kill,
                inheritable: CapabilitySet::empty(),
            },
        )?;
        rustix::thread::set_keep_capabilities(false)?;
        rustix::thread::set_no_new_privs(true)?;
        Ok(())
    }
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
