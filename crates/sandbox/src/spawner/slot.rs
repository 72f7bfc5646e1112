//! A sandbox that waits for its job, and the end of every sandbox.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};

use super::process::{Forked, SpawnerProcess};
use super::terms::Request;
use crate::Error;
use crate::group::{Group, Groups};
use crate::init::Report;
use crate::wire;

/// How long the kernel may take to end processes that have been sent SIGKILL. Longer means that one
/// hangs in a system call that cannot be interrupted; it ends when that returns.
const END: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// A sandbox's first process, its groups, and the channel to it. Dropping it kills everything in the
/// sandbox and waits for the end.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) channel: OwnedFd,
    /// The first process.
    pub(crate) pid: Pid,
    handle: OwnedFd,
    pub(crate) group: Group,
    groups: Arc<Groups>,
    ended: bool,
}

impl Slot {
    /// Makes everything but the job. Blocks for a millisecond or some.
    pub(super) fn prepare(
        process: &SpawnerProcess,
        ask: impl FnOnce(u64) -> Request,
        groups: &Arc<Groups>,
    ) -> Result<Self, Error> {
        let group = groups
            .create()
            .map_err(|error| Error::prepare("make control groups", error))?;
        let Forked {
            pid,
            handle,
            channel,
        } = process.fork(ask(group.number)).map_err(|error| {
            groups.remove(&group);
            Error::prepare("make namespaces and join groups", error)
        })?;
        let slot = Self {
            channel,
            pid,
            handle,
            group,
            groups: Arc::clone(groups),
            ended: false,
        };
        let gone = || std::io::Error::other("it has ended without a word");
        let mut message = wire::receive(slot.channel.as_fd())
            .and_then(|message| message.ok_or_else(gone))
            .map_err(|error| Error::prepare("hear of the sandbox", error))?;
        match Report::read(&mut message) {
            Ok(Report::Ready) => {}
            Ok(Report::Failed(failure)) => return Err(Error::prepare(failure.act, failure.source)),
            Ok(Report::Waiting | Report::Started | Report::Exited(..)) | Err(_) => {
                return Err(Error::prepare("hear of the sandbox", gone()));
            }
        }
        rustix::io::ioctl_fionbio(&slot.channel, true)
            .map_err(|error| Error::prepare("watch the channel", error))?;
        Ok(slot)
    }

    /// Sends SIGKILL to the first process, with which the kernel ends the whole sandbox. Does not
    /// wait.
    pub(crate) fn kill(&self) {
        self.group.lift_cpu();
        // A process that is gone needs no signal: failure is no news.
        let _ = rustix::process::pidfd_send_signal(&self.handle, Signal::KILL);
    }

    /// Kills what is left, waits until nothing is, and tells whether memory had run out.
    pub(crate) fn end(mut self) -> bool {
        self.bury()
    }

    fn bury(&mut self) -> bool {
        if std::mem::replace(&mut self.ended, true) {
            return false;
        }
        self.kill();
        // The descriptor becomes readable once the process and with it its namespace is gone.
        let mut fds = [PollFd::from_borrowed_fd(self.handle.as_fd(), PollFlags::IN)];
        let ended = loop {
            match poll(&mut fds, Some(&END)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(0) => break false,
                Ok(_) | Err(_) => break true,
            }
        };
        if !ended {
            tracing::error!(pid = %self.pid, "a killed sandbox does not end");
        }
        let out_of_memory = self.group.ran_out_of_memory();
        self.groups.remove(&self.group);
        out_of_memory
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bury();
    }
}
