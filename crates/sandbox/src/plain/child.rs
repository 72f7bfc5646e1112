//! What a new process does to itself between fork and exec.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Resource, Signal};

use crate::confinement::{OPEN_FILES, close_on_exec, limit};

/// Has the program that `command` starts limit itself. `memberships` are the `cgroup.procs` files of
/// the groups to join, open for writing.
///
/// The kernel kills the program when the *thread* that spawns it ends, not only when the server
/// does: spawn from a thread that lives as long as the server.
pub(crate) fn confine(command: &mut Command, memberships: Vec<File>) {
    let server = rustix::process::getpid();
    let hook = move || prepare(server, &memberships);
    #[expect(
        unsafe_code,
        reason = "std offers no safe way to act between fork and exec"
    )]
    // SAFETY: the hook runs in a forked child of a process with threads, where only
    // async-signal-safe calls are sound. `prepare` makes system calls and nothing else: it neither
    // allocates nor locks, and what it captures was allocated before the fork.
    unsafe {
        command.pre_exec(hook);
    }
}

fn prepare(server: Pid, memberships: &[File]) -> io::Result<()> {
    // A session of its own keeps the server's terminal, and the signals it sends, out of reach.
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The server may have died before the line above took effect.
    if rustix::process::getppid() != Some(server) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // What loses its parent inside the tree becomes a child of the root instead of the server, so
    // that a walk from the root finds it.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, OPEN_FILES)?;
    for file in memberships {
        // "0" is the writer itself. Before exec, so that no memory is used outside the group.
        rustix::io::write(file, b"0")?;
    }
    close_on_exec()
}
