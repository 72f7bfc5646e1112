//! A program that runs in its sandbox.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{OnceLock, mpsc};

use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::group::Freezer;
use crate::init::{EXECUTE, Report};
use crate::plain::{Status, Task, children};
use crate::spawner::{EarlySlot, Ready, Slot};
use crate::wire::{self, Message};
use crate::{Ended, Error, Exit, Job, Temporary};

/// How a sandbox's programs have ended, in the order in which they did.
#[derive(Debug)]
struct Exits {
    /// How many programs there are.
    expected: usize,
    /// Which one, 0 for the job's own, and how.
    heard: Vec<(usize, Exit)>,
}

/// A running sandbox. Dropping it kills everything in it.
#[derive(Debug)]
pub struct Sandbox {
    channel: AsyncFd<OwnedFd>,
    /// Present until it is killed.
    slot: Option<Slot>,
    ends: mpsc::Sender<Task>,
    output: OwnedFd,
    companions_output: Option<OwnedFd>,
    listeners: Vec<TcpListener>,
    sockets: Vec<OwnedFd>,
    memory: u64,
    exits: Mutex<Exits>,
    program: OnceLock<Pid>,
    status: OnceLock<Status>,
}

impl Sandbox {
    /// Starts a job in a sandbox that is ready. Where a program waits in it already, that becomes the
    /// job's. `input` is its standard input, where that is not to be empty, and `image` its `/tmp`, where
    /// that is to be on disk.
    pub(crate) async fn start(
        ready: Ready,
        job: &Job,
        input: Option<OwnedFd>,
        image: Option<OwnedFd>,
        ends: mpsc::Sender<Task>,
    ) -> Result<Self, Error> {
        let executable = || job.program.executable.clone();
        let failed = |source| Error::Start {
            executable: executable(),
            source,
        };
        let mut sandbox = Self::around(ready, job, input, image, ends).map_err(failed)?;
        loop {
            let mut message = sandbox
                .heard()
                .await
                .ok_or_else(|| failed(io::Error::other("its sandbox has ended")))?;
            return match Report::read(&mut message).map_err(failed)? {
                // What waits there had not been executed yet.
                Report::Waiting => continue,
                Report::Started => {
                    let mut descriptors = message.descriptors.into_iter();
                    let listeners = descriptors.by_ref().take(job.listen.len());
                    sandbox.listeners = listeners.map(TcpListener::from).collect();
                    sandbox.sockets = descriptors.collect();
                    Ok(sandbox)
                }
                Report::Failed(failure) if failure.act == EXECUTE => Err(failed(failure.source)),
                Report::Failed(failure) => Err(Error::prepare(failure.act, failure.source)),
                Report::Ready | Report::Exited(..) => {
                    Err(failed(io::Error::other("it did not start")))
                }
            };
        }
    }

    /// Hands the job over.
    fn around(
        ready: Ready,
        job: &Job,
        input: Option<OwnedFd>,
        image: Option<OwnedFd>,
        ends: mpsc::Sender<Task>,
    ) -> io::Result<Self> {
        let mut beside = Vec::new();
        let mut piped = || -> io::Result<OwnedFd> {
            let (output, writer) = io::pipe()?;
            beside.push(OwnedFd::from(writer));
            Ok(output.into())
        };
        let (slot, output) = match ready {
            Ready::Empty(slot) => (slot, piped()?),
            Ready::Early(EarlySlot { slot, output }) => (slot, output),
        };
        let companions_output = match job.companions.as_slice() {
            [] => None,
            [..] => Some(piped()?),
        };
        slot.group.limit_memory(job.program.memory)?;
        let temporary = match (job.temporary, &image) {
            (Temporary::Disk(bytes), None) => Temporary::Memory(bytes),
            (temporary, _) => temporary,
        };
        let message = job.write(temporary, input.as_ref());
        beside.extend(input);
        beside.extend(image);
        wire::send(slot.channel.as_fd(), &message, &wire::lend(&beside))?;
        drop(beside);
        let channel = slot.channel.try_clone()?;
        #[expect(
            unsafe_code,
            reason = "the runtime's only way to wait for a descriptor"
        )]
        // SAFETY: the descriptor is open, owned by the `AsyncFd` alone, and `OwnedFd` answers with
        // the same one until it is dropped; nothing here takes it out or replaces it.
        let channel = unsafe { AsyncFd::register_with_interest(channel, Interest::READABLE) }?;
        Ok(Self {
            channel,
            slot: Some(slot),
            ends,
            output,
            companions_output,
            listeners: Vec::new(),
            sockets: Vec::new(),
            memory: job.program.memory,
            exits: Mutex::new(Exits {
                expected: 1 + job.companions.len(),
                heard: Vec::new(),
            }),
            program: OnceLock::new(),
            status: OnceLock::new(),
        })
    }

    /// The listeners inside, in the job's order, not blocking. They are handed out once.
    pub fn take_listeners(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.listeners)
    }

    /// The sockets of the sandbox's network that are connected to nothing, not blocking. They are
    /// handed out once.
    pub fn take_sockets(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.sockets)
    }

    /// The reading end of the pipe that is the standard output and standard error of all companions.
    /// It is handed out once, and only where there are any.
    pub fn take_companions_output(&mut self) -> Option<OwnedFd> {
        self.companions_output.take()
    }

    /// The reading end of the pipe that is the program's standard output and standard error.
    ///
    /// # Errors
    /// When the descriptor cannot be copied.
    pub fn output(&self) -> io::Result<OwnedFd> {
        self.output.try_clone()
    }

    /// Waits for the program, or one of its companions, to end by itself. What a program has started
    /// ends with the last of them. Cancel safe.
    pub async fn exited(&self) -> Exit {
        self.until(Self::has_exited).await
    }

    /// Waits until the program and all of its companions have ended. Cancel safe.
    pub async fn all_exited(&self) {
        let all = |sandbox: &Self| {
            sandbox.hear();
            let exits = sandbox.exits.lock();
            (exits.heard.len() >= exits.expected).then_some(())
        };
        self.until(all).await;
    }

    async fn until<T>(&self, come: impl Fn(&Self) -> Option<T>) -> T {
        loop {
            if let Some(it) = come(self) {
                return it;
            }
            // An error means that the runtime is going away, and this future with it.
            if let Ok(mut ready) = self.channel.readable().await {
                if let Some(it) = come(self) {
                    return it;
                }
                ready.clear_ready();
            }
        }
    }

    /// How the first to end of the program and its companions ended, if one has.
    #[must_use]
    pub fn has_exited(&self) -> Option<Exit> {
        if self.exits.lock().heard.is_empty() {
            self.hear();
        }
        self.exits.lock().heard.first().map(|(_, exit)| *exit)
    }

    /// Takes in what the first process has told.
    fn hear(&self) {
        let mut exits = self.exits.lock();
        while exits.heard.len() < exits.expected {
            let heard = match wire::receive(self.channel.get_ref().as_fd()) {
                Ok(Some(mut message)) => match Report::read(&mut message) {
                    Ok(Report::Exited(which, exit)) => (which, exit),
                    Ok(Report::Failed(failure)) => {
                        tracing::warn!(error = %failure.source, "{} failed", failure.act);
                        (0, Exit::KILLED)
                    }
                    Ok(Report::Ready | Report::Waiting | Report::Started) | Err(_) => continue,
                },
                // Killed before it could tell.
                Ok(None) => {
                    let expected = exits.expected;
                    exits.heard.resize(expected, (0, Exit::KILLED));
                    return;
                }
                Err(_) => return,
            };
            exits.heard.push(heard);
        }
    }

    /// Asks the program to end (SIGTERM). Its companions are not asked.
    pub fn terminate(&self) {
        self.hear();
        let gone = self.exits.lock().heard.iter().any(|(which, _)| *which == 0);
        let Some(program) = self.program().filter(|_| !gone) else {
            return;
        };
        // The id is held by a descriptor before it is known to be the program's still.
        if let Ok(handle) = rustix::process::pidfd_open(program, PidfdFlags::empty())
            && self
                .slot
                .as_ref()
                .is_some_and(|slot| children(slot.pid).contains(&program))
        {
            // One that has just ended needs no signal.
            let _ = rustix::process::pidfd_send_signal(handle, Signal::TERM);
        }
    }

    /// The program's id outside: the first process forks it before its companions.
    fn program(&self) -> Option<Pid> {
        let slot = self.slot.as_ref()?;
        match self.program.get() {
            Some(pid) => Some(*pid),
            None => {
                let first = *children(slot.pid).first()?;
                Some(*self.program.get_or_init(|| first))
            }
        }
    }

    /// The most memory that the program's first process has had resident, in bytes; `None` once it
    /// has ended.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        if let Some(status) = self.status.get() {
            return status.peak_memory();
        }
        let opened = Status::open(self.program()?)?;
        self.status.get_or_init(|| opened).peak_memory()
    }

    /// From now on the program gets processor time in proportion to its memory. Until then it has
    /// all it can use.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit_cpu(&self) -> io::Result<()> {
        match &self.slot {
            Some(slot) => slot.group.limit_cpu(self.memory),
            None => Ok(()),
        }
    }

    /// What has everything inside stand still; `None` where groups cannot be frozen.
    #[must_use]
    pub fn freezer(&self) -> Option<Freezer> {
        self.slot.as_ref()?.group.freezer()
    }

    #[cfg(test)]
    pub(crate) fn frozen_state(&self) -> String {
        self.slot.as_ref().unwrap().group.events()
    }

    /// Kills everything inside at once and returns when nothing of it is left.
    pub async fn kill(mut self) -> Ended {
        // Before the blow: what is heard afterwards says no more than that.
        let exit = self.has_exited();
        let first = self.exits.lock().heard.first().copied();
        let (reply, ended) = oneshot::channel();
        self.end(Some(reply));
        // The ending thread answers every task; without an answer it has died, and so will we.
        let out_of_memory = ended.await.unwrap_or(false);
        Ended {
            exit: exit.unwrap_or(Exit::KILLED),
            companion: first.and_then(|(which, _)| which.checked_sub(1)),
            out_of_memory,
        }
    }

    fn end(&mut self, reply: Option<oneshot::Sender<bool>>) {
        if let Some(slot) = self.slot.take() {
            slot.kill();
            // Waiting may take milliseconds; the thread ends only after the last sandbox.
            let _ = self.ends.send(Box::new(move || {
                let out_of_memory = slot.end();
                if let Some(reply) = reply {
                    let _ = reply.send(out_of_memory);
                }
            }));
        }
    }

    /// The next message; `None` when the first process is gone. Cancel safe.
    async fn heard(&self) -> Option<Message> {
        loop {
            let mut ready = self.channel.readable().await.ok()?;
            match wire::receive(self.channel.get_ref().as_fd()) {
                Ok(message) => return message,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.end(None);
    }
}
