//! A process that is to be a program, and waits to be told which.
//!
//! It has already what every program has: its own user, no rights, the limits, the filter. All of that
//! takes time and depends on no job, so that it is done while a sandbox is made ready. What it is told
//! it executes, and nothing else is left of it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Resource, Signal, WaitOptions};
use rustix::thread::{Gid, Uid};

use super::program::{GROUP, USER, drop_capabilities, write_maps};
use super::{At, EXECUTE, Failure};
use crate::confinement::{OPEN_FILES, close_on_exec, limit};
use crate::program::Program;
use crate::seccomp;
use crate::spawner::process::fork_program;
use crate::spawner::terms::{Order, Privilege};
use crate::wire::{self, Writer};

/// What a program may have of a resource, soft and hard. Descriptors and processes as in AWS Lambda
/// (quotas of 2026); the rest keeps it from locking memory and from leaving its memory on disk.
const LIMITS: [(Resource, u64); 4] = [
    (Resource::Nofile, OPEN_FILES),
    (Resource::Nproc, 1024),
    (Resource::Core, 0),
    (Resource::Memlock, 64 * 1024),
];

/// The first process's end of it.
pub(super) struct Parked {
    pid: i32,
    channel: OwnedFd,
    failure: io::PipeReader,
}

/// One that has been told what to execute.
pub(super) struct Begun {
    pid: i32,
    failure: io::PipeReader,
}

/// Forks one, whose root is `root`: the mount there is, or becomes, the root of all. Returns while it may
/// still be at its preparations.
pub(super) fn park(order: &Order, root: &Path) -> Result<Parked, Failure> {
    let (channel, theirs) = wire::pair().at("make a channel")?;
    let (failure, report) = io::pipe().at("make a pipe")?;
    let (go, mut release) = io::pipe().at("make a pipe")?;
    // Its path means something else once the root is another, which may be before the process gets there.
    let place = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .at("open the new root")?;
    let Some((pid, _handle)) = fork_program(order.privilege).at("fork the program")? else {
        drop((channel, failure, release));
        wait(&place, &theirs, go, report)
    };
    drop((theirs, report, go));
    if order.privilege == Privilege::Root {
        // The sandbox's own table, for the id is.
        write_maps(&root.join("proc").join(pid.to_string()), order)?;
    }
    release.write_all(b"!").at("release the program")?;
    Ok(Parked {
        pid,
        channel,
        failure,
    })
}

impl Parked {
    /// Ends it, for nothing will come. Returns when it is gone.
    pub(super) fn dismiss(self) -> Result<(), Failure> {
        let pid = Pid::from_raw(self.pid)
            .ok_or(io::ErrorKind::InvalidInput)
            .at("name the program's process")?;
        let killed = rustix::process::kill_process(pid, Signal::KILL);
        killed.at("end the program's process")?;
        let waited = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        waited.at("end the program's process")?;
        Ok(())
    }

    /// Has it execute a program, which writes to `output` and reads from `input` or nothing.
    pub(super) fn execute(
        self,
        program: &Program,
        output: &OwnedFd,
        input: Option<OwnedFd>,
    ) -> Result<Begun, Failure> {
        let mut with = vec![output.as_fd()];
        with.extend(input.as_ref().map(AsFd::as_fd));
        let told = wire::send(
            self.channel.as_fd(),
            &program.write(Writer::default()),
            &with,
        );
        let begun = Begun {
            pid: self.pid,
            failure: self.failure,
        };
        match told {
            Ok(()) => Ok(begun),
            // It has failed before, and says at what.
            Err(error) => Err(begun.executed(EXECUTE).err().unwrap_or(Failure {
                act: "tell the program's process".to_owned(),
                source: error,
            })),
        }
    }
}

impl Begun {
    /// Waits until it has been executed, and returns its id. `execute` is what the failure of that is
    /// called.
    pub(super) fn executed(mut self, execute: &str) -> Result<i32, Failure> {
        let mut told = Vec::new();
        self.failure
            .read_to_end(&mut told)
            .at("hear of the program")?;
        let Some((errno, act)) = told.split_first_chunk() else {
            return Ok(self.pid);
        };
        let act = match String::from_utf8_lossy(act) {
            act if act == EXECUTE => execute.into(),
            act => act,
        };
        Err(io::Error::from_raw_os_error(i32::from_ne_bytes(*errno))).at(act)
    }
}

/// What the process does until it is a program.
fn wait(root: &OwnedFd, channel: &OwnedFd, go: io::PipeReader, mut report: io::PipeWriter) -> ! {
    let failed = match prepare(root, go).and_then(|()| become_program(channel)) {
        // There is nobody any more who could tell what to be.
        Ok(()) => std::process::exit(0),
        Err(failure) => failure,
    };
    let errno = failed.source.raw_os_error().unwrap_or(libc::EIO);
    let mut message = errno.to_ne_bytes().to_vec();
    message.extend(failed.act.as_bytes());
    // When nobody reads it, the sandbox is ending.
    let _ = report.write_all(&message);
    std::process::exit(0)
}

/// Takes on all that every program has.
fn prepare(root: &OwnedFd, mut go: io::PipeReader) -> Result<(), Failure> {
    // Until the first process has said who this one is.
    go.read_exact(&mut [0]).at("wait for the user's map")?;
    rustix::process::fchdir(root).at("enter the new root")?;
    rustix::process::chroot(".").at("enter the new root")?;
    rustix::process::setpgid(None, None).at("leave the process group")?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(GROUP));
    rustix::thread::set_thread_res_gid(group, group, group).at("change the group")?;
    rustix::thread::set_thread_res_uid(user, user, user).at("change the user")?;
    for (resource, to) in LIMITS {
        limit(resource, to).at("set limits")?;
    }
    drop_capabilities().at("drop capabilities")?;
    rustix::thread::set_no_new_privs(true).at("forbid new privileges")?;
    close_on_exec().at("close descriptors")?;
    seccomp::program().install().at("filter system calls")
}

/// Executes what it is told to; returns if that is nothing.
fn become_program(channel: &OwnedFd) -> Result<(), Failure> {
    let received = wire::receive(channel.as_fd()).at("hear of the program")?;
    let Some(mut message) = received else {
        return Ok(());
    };
    let program = Program::read(&mut message).at("read the program")?;
    let mut descriptors = message.descriptors.into_iter();
    let missing = io::Error::from(io::ErrorKind::InvalidInput);
    let output = descriptors.next().ok_or(missing).at("find the output")?;
    let errors = output.try_clone().at("copy the output")?;
    let mut command = Command::new(&program.executable);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(&program.environment)
        .current_dir(&program.directory)
        .stdin(descriptors.next().map_or_else(Stdio::null, Stdio::from))
        // One pipe for both keeps the order in which they were written.
        .stdout(output)
        .stderr(errors);
    Err(command.exec()).at(EXECUTE)
}
