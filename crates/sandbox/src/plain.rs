//! Processes without walls: trees that are started with limits, watched, and ended completely.
//!
//! They see the same files, network and process table as the server, and run as its user. It is what
//! is left where a user has asked for no isolation.

mod child;
mod descendants;
mod tree;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use rustix::process::Pid;
use tokio::sync::oneshot;

use crate::Error;
use crate::group::{Groups, Limits, detect};
use crate::program::Program;

use tree::{Remains, Root};

pub(crate) use descendants::{Held, Status, children};
pub use tree::Tree;

/// The variable by which processes of a tree are known even after their parents have ended.
const MARK: &str = "SANDBOX_TREE";

/// Numbers the trees of this process, whichever spawner starts them: a mark names one tree.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Starts programs. Cheap to clone; all clones share their threads.
///
/// The threads end when the last clone and the last [`Tree`] are gone. A program is bound to the
/// life of the thread that starts it, so no program can be started from any other.
#[derive(Clone, Debug)]
pub struct PlainSpawner {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    starts: mpsc::Sender<Task>,
    /// Waiting for the end of a process may take milliseconds and must hold up no start.
    ends: mpsc::Sender<Task>,
    limits: Limits,
    pub(crate) groups: Groups,
}

pub(crate) type Task = Box<dyn FnOnce() + Send>;

impl PlainSpawner {
    /// Starts the threads and finds out what can be limited. The process becomes the one that
    /// orphans of its trees fall to.
    ///
    /// # Errors
    /// When a thread cannot be started or the kernel refuses.
    pub fn start() -> Result<Self, Error> {
        let (limits, groups) = detect();
        Self::with(limits, groups)
    }

    /// A spawner as it is on a machine without control groups.
    #[cfg(test)]
    pub(crate) fn without_groups() -> Result<Self, Error> {
        let none = || crate::Limit::NotEnforced("a test".to_owned());
        let limits = Limits {
            memory: none(),
            cpu: none(),
            processes: none(),
            freezing: none(),
            disk: none(),
        };
        Self::with(limits, Groups::default())
    }

    fn with(limits: Limits, groups: Groups) -> Result<Self, Error> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| Error::prepare("adopt orphans", error))?;
        Ok(Self {
            shared: Arc::new(Shared {
                starts: worker("sandbox-start")?,
                ends: worker("sandbox-end")?,
                limits,
                groups,
            }),
        })
    }

    /// What is limited on this machine.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Starts `program` as the root of a new tree, with `input` as its standard input, or nothing. Returns
    /// once it has been executed.
    ///
    /// Cancel safe: a program whose future is dropped is killed.
    ///
    /// # Errors
    /// [`Error::Start`] when the program cannot be executed.
    pub async fn spawn(&self, program: Program, input: Option<OwnedFd>) -> Result<Tree, Error> {
        let executable = program.executable.clone();
        let failed = |source| Error::Start { executable, source };
        let (reply, started) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let job = Box::new(move || {
            // When nobody waits any more, the root comes back and is killed by its drop.
            let _ = reply.send(execute(shared, &program, input));
        });
        let gone = || io::Error::other("the starting thread has ended");
        self.shared
            .starts
            .send(job)
            .map_err(|_| failed.clone()(gone()))?;
        let root = started.await.map_err(|_| failed.clone()(gone()))?;
        root.and_then(Tree::watch).map_err(failed)
    }
}

impl Shared {
    /// Has the ending thread see to what is left of a tree. It ends only after the last tree.
    pub(crate) fn end(&self, job: Task) {
        let _ = self.ends.send(job);
    }
}

pub(crate) fn worker(name: &str) -> Result<mpsc::Sender<Task>, Error> {
    let (sender, jobs) = mpsc::channel::<Task>();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || jobs.into_iter().for_each(|job| job()))
        .map_err(|error| Error::prepare("start a thread", error))?;
    Ok(sender)
}

fn execute(shared: Arc<Shared>, program: &Program, input: Option<OwnedFd>) -> io::Result<Root> {
    let (output, writer) = io::pipe()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mark = format!("{}-{number}", std::process::id());
    let group = shared.groups.create()?;
    let memberships = group
        .limit_memory(program.memory)
        .and_then(|()| group.memberships());
    let mut command = Command::new(&program.executable);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(&program.environment)
        .env(MARK, &mark)
        .current_dir(&program.directory)
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        // One pipe for both keeps the order in which they were written.
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let spawned = memberships.and_then(|memberships| {
        child::confine(&mut command, memberships);
        command.spawn()
    });
    let held = spawned.and_then(|child| {
        let pid = Pid::from_child(&child);
        Held::open(pid).ok_or_else(io::Error::last_os_error)
    });
    match held {
        Ok(root) => Ok(Root {
            remains: Some(Remains::new(shared, root, group, format!("{MARK}={mark}"))),
            output: output.into(),
        }),
        Err(error) => {
            shared.groups.remove(&group);
            Err(error)
        }
    }
}
