//! What a new process does to itself before it becomes somebody else's program, with walls around it or
//! without.
//!
//! All of it may run between fork and exec: it makes system calls, and neither allocates nor locks.

use std::io;

use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Descriptors that a program may open, as in AWS Lambda (quota of 2026).
pub(crate) const OPEN_FILES: u64 = 1024;

/// Lets this process, and whatever it becomes, have so much of a resource and never more.
pub(crate) fn limit(resource: Resource, to: u64) -> io::Result<()> {
    let both = Rlimit {
        current: Some(to),
        maximum: Some(to),
    };
    Ok(rustix::process::setrlimit(resource, both)?)
}

/// Marks every descriptor but the standard three; what is received later is marked as it comes. Libraries
/// in other languages open theirs without the flag. Marking instead of closing keeps the pipe by which a
/// failed exec is told.
pub(crate) fn close_on_exec() -> io::Result<()> {
    #[expect(unsafe_code, reason = "neither std nor rustix has close_range")]
    // SAFETY: the call takes three integers; with this flag it closes nothing before exec.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3_u32,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has nothing that this process executes get any right of root's from its file.
///
/// # Errors
/// `PERM` where the set is not this process's to change.
pub(crate) fn empty_bounding_set() -> rustix::io::Result<()> {
    // Up to the last that this kernel has.
    for capability in 0..64 {
        let one = CapabilitySet::from_bits_retain(1 << capability);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Err(rustix::io::Errno::INVAL) => break,
            removed => removed?,
        }
    }
    Ok(())
}

/// Gives up every right of root's but those `kept`, which nothing that this process executes has.
pub(crate) fn keep_capabilities(kept: CapabilitySet) -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

/// Leaves the keys of whoever started this process: to hold them is to be allowed to read them.
pub(crate) fn forget_keys() -> io::Result<()> {
    #[expect(unsafe_code, reason = "neither std nor rustix has keyctl")]
    // SAFETY: the call makes a new session keyring for no name, and reads nothing.
    let joined =
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, 0_usize) };
    let error = io::Error::last_os_error();
    match (joined, error.raw_os_error()) {
        // A kernel without keys, or a container that forbids them, has none to leave.
        (0.., _) | (_, Some(libc::ENOSYS | libc::EPERM)) => Ok(()),
        _ => Err(error),
    }
}
