//! A running program and everything it has started.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::Shared;
use super::descendants::{Held, Status, belongs, children, freeze};
use crate::group::Group;
use crate::{Ended, Exit};

/// How long the kernel may take to end a process that has been sent SIGKILL. Longer means that it
/// hangs in a system call that cannot be interrupted; it ends when that returns.
const END: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// A running tree. Dropping it kills all of it.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    exit: AsyncFd<OwnedFd>,
    status: OnceLock<Status>,
}

/// A tree that is not watched yet.
#[derive(Debug)]
pub(crate) struct Root {
    /// Present until the tree is killed.
    pub(crate) remains: Option<Remains>,
    pub(crate) output: OwnedFd,
}

/// What has to be seen to when a tree ends.
pub(crate) struct Remains {
    shared: Arc<Shared>,
    root: Held,
    /// Found below the root when it was killed.
    below: Vec<Held>,
    group: Group,
    /// The variable that marks the tree's processes, `NAME=value`.
    mark: String,
}

impl Tree {
    /// Registers the root with the runtime.
    pub(crate) fn watch(root: Root) -> io::Result<Self> {
        let handle = root.remains().root.handle.try_clone()?;
        #[expect(
            unsafe_code,
            reason = "the runtime's only way to wait for a descriptor"
        )]
        // SAFETY: the descriptor is open, owned by the `AsyncFd` alone, and `OwnedFd` answers with
        // the same one until it is dropped; nothing here takes it out or replaces it.
        let exit = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }?;
        Ok(Self {
            root,
            exit,
            status: OnceLock::new(),
        })
    }

    /// The root's process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.root.remains().root.pid.as_raw_nonzero().get()
    }

    /// The reading end of the pipe that is the root's standard output and standard error.
    ///
    /// # Errors
    /// When the descriptor cannot be copied.
    pub fn output(&self) -> io::Result<OwnedFd> {
        self.root.output.try_clone()
    }

    /// Waits for the root to end by itself. What it has started may still run: [`Tree::kill`] it.
    /// Cancel safe.
    pub async fn exited(&self) -> Exit {
        loop {
            // An error means that the runtime is going away, and this future with it.
            if let Ok(mut ready) = self.exit.readable().await {
                if let Some(exit) = self.has_exited() {
                    return exit;
                }
                ready.clear_ready();
            }
        }
    }

    /// How the root ended, if it has.
    #[must_use]
    pub fn has_exited(&self) -> Option<Exit> {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let handle = WaitId::PidFd(self.root.remains().root.handle.as_fd());
        match rustix::process::waitid(handle, how) {
            Ok(status) => status.as_ref().map(Exit::from_wait),
            // Somebody else in this process has reaped it: it is gone, and how is not known.
            Err(_) => Some(Exit::Signal(libc::SIGKILL)),
        }
    }

    /// The most memory that the root has had resident, in bytes; `None` once it has ended.
    ///
    /// From `VmHWM`, which begins anew at exec. The maximum that `wait4` reports does not: it
    /// includes the server's own memory from before exec.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        let status = match self.status.get() {
            Some(status) => status,
            None => {
                let opened = Status::open(self.root.remains().root.pid)?;
                self.status.get_or_init(|| opened)
            }
        };
        status.peak_memory()
    }

    /// Kills the whole tree at once and returns when nothing of it is left.
    pub async fn kill(mut self) -> Ended {
        let (reply, ended) = oneshot::channel();
        self.root.kill(Some(reply));
        // The ending thread answers every job; without an answer it has died, and so will we.
        ended.await.unwrap_or(Ended {
            exit: Exit::Signal(libc::SIGKILL),
            companion: None,
            out_of_memory: false,
        })
    }
}

impl Root {
    fn remains(&self) -> &Remains {
        let remains = self.remains.as_ref();
        remains.expect("taken only by `kill`, which consumes the tree, and by drop")
    }

    fn kill(&mut self, reply: Option<oneshot::Sender<Ended>>) {
        if let Some(mut remains) = self.remains.take() {
            remains.kill();
            let shared = Arc::clone(&remains.shared);
            shared.end(Box::new(move || {
                let ended = remains.bury();
                if let Some(reply) = reply {
                    let _ = reply.send(ended);
                }
            }));
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        self.kill(None);
    }
}

impl Remains {
    pub(crate) fn new(shared: Arc<Shared>, root: Held, group: Group, mark: String) -> Self {
        Self {
            shared,
            root,
            below: Vec::new(),
            group,
            mark,
        }
    }

    /// Sends SIGKILL to everything that can be found. Does not wait.
    fn kill(&mut self) {
        // The family is held still first: what is killed one by one could start others meanwhile.
        self.root.signal(Signal::STOP);
        self.below = freeze(self.root.pid);
        self.root.signal(Signal::KILL);
        for held in &self.below {
            held.signal(Signal::KILL);
        }
        // The group also knows those that have left the family.
        self.below.extend(self.group.kill());
    }

    /// Waits for the end of everything that was killed, and looks for what was missed.
    fn bury(mut self) -> Ended {
        let out_of_memory = self.group.ran_out_of_memory();
        let exit = reap(&self.root).unwrap_or_else(|| {
            tracing::error!(pid = %self.root.pid, "a killed process does not end");
            Exit::Signal(libc::SIGKILL)
        });
        for held in self.below.drain(..) {
            reap(&held);
        }
        // The root is gone, so what it left behind has become a child of this process.
        let server = rustix::process::getpid();
        loop {
            let left: Vec<Held> = children(server)
                .into_iter()
                .filter(|pid| belongs(*pid, self.root.pid, &self.mark))
                .filter_map(Held::open)
                .collect();
            for held in &left {
                held.signal(Signal::KILL);
                for below in freeze(held.pid) {
                    below.signal(Signal::KILL);
                }
            }
            if left.iter().filter_map(reap).count() == 0 {
                break;
            }
        }
        self.shared.groups.remove(&self.group);
        Ended {
            exit,
            companion: None,
            out_of_memory,
        }
    }
}

impl std::fmt::Debug for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remains")
            .field("root", &self.root.pid)
            .finish_non_exhaustive()
    }
}

/// Waits for a process that has been killed. `None` when it is not a child of this process (its
/// own parent reaps it), or does not end.
fn reap(held: &Held) -> Option<Exit> {
    await_end(held.handle.as_fd());
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = rustix::process::waitid(WaitId::PidFd(held.handle.as_fd()), how).ok()??;
    Some(Exit::from_wait(&status))
}

fn await_end(handle: BorrowedFd<'_>) {
    let mut fds = [PollFd::from_borrowed_fd(handle, PollFlags::IN)];
    while let Err(rustix::io::Errno::INTR) = poll(&mut fds, Some(&END)) {}
}
