//! Starting programs, from a thread that lives as long as anything they start.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

use rustix::process::Pid;
use tokio::sync::oneshot;

use crate::descendants::Held;
use crate::group::{Groups, Limits, MemoryLimit, detect};
use crate::tree::{Remains, Root};
use crate::{Tree, child};

/// The variable by which processes of a tree are known even after their parents have ended.
const MARK: &str = "SANDBOX_TREE";

/// Numbers the trees of this process, whichever spawner starts them: a mark names one tree.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What to start.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file to execute: an absolute path.
    pub executable: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<PathBuf>,
    /// Its whole environment, to which `SANDBOX_TREE` is added.
    pub environment: BTreeMap<String, String>,
    /// Its working directory.
    pub directory: PathBuf,
    /// The memory its tree may use, in bytes, where [`Limits::memory`] is enforced.
    pub memory: u64,
}

/// Why a program was not started, or the spawner not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spawner cannot run on this machine.
    #[error("could not prepare for starting programs")]
    Prepare(#[source] io::Error),
    /// The program could not be executed, or the machine is short of something.
    #[error("could not start {}", executable.display())]
    Start {
        /// The program's file.
        executable: PathBuf,
        /// What the machine said.
        #[source]
        source: io::Error,
    },
}

/// Starts programs. Cheap to clone; all clones share their threads.
///
/// The threads end when the last clone and the last [`Tree`] are gone. A program is bound to the
/// life of the thread that starts it, so no program can be started from any other.
#[derive(Clone, Debug)]
pub struct Spawner {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    starts: mpsc::Sender<Job>,
    /// Waiting for the end of a process may take milliseconds and must hold up no start.
    ends: mpsc::Sender<Job>,
    limits: Limits,
    pub(crate) groups: Option<Groups>,
}

type Job = Box<dyn FnOnce() + Send>;

impl Spawner {
    /// Starts the threads and finds out what can be limited. The process becomes the one that
    /// orphans of its trees fall to.
    ///
    /// # Errors
    /// When a thread cannot be started or the kernel refuses.
    pub fn start() -> Result<Self, Error> {
        let (memory, groups) = detect();
        Self::with(memory, groups)
    }

    /// A spawner as it is on a machine without control groups.
    #[cfg(test)]
    pub(crate) fn without_groups() -> Result<Self, Error> {
        Self::with(MemoryLimit::NotEnforced("a test".to_owned()), None)
    }

    fn with(memory: MemoryLimit, groups: Option<Groups>) -> Result<Self, Error> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| Error::Prepare(error.into()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                starts: worker("sandbox-start")?,
                ends: worker("sandbox-end")?,
                limits: Limits { memory },
                groups,
            }),
        })
    }

    /// What is limited on this machine.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Starts `program` as the root of a new tree. Returns once it has been executed.
    ///
    /// Cancel safe: a program whose future is dropped is killed.
    ///
    /// # Errors
    /// [`Error::Start`] when the program cannot be executed.
    pub async fn spawn(&self, program: Program) -> Result<Tree, Error> {
        let executable = program.executable.clone();
        let failed = |source| Error::Start { executable, source };
        let (reply, started) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let job = Box::new(move || {
            // When nobody waits any more, the root comes back and is killed by its drop.
            let _ = reply.send(execute(shared, &program));
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
    pub(crate) fn end(&self, job: Job) {
        let _ = self.ends.send(job);
    }
}

fn worker(name: &str) -> Result<mpsc::Sender<Job>, Error> {
    let (sender, jobs) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || jobs.into_iter().for_each(|job| job()))
        .map_err(Error::Prepare)?;
    Ok(sender)
}

fn execute(shared: Arc<Shared>, program: &Program) -> io::Result<Root> {
    let (output, writer) = io::pipe()?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mark = format!("{}-{number}", std::process::id());
    let group = match &shared.groups {
        Some(groups) => Some(groups.create(program.memory)?),
        None => None,
    };
    let membership = group
        .as_ref()
        .map(crate::group::Group::membership)
        .transpose();
    let mut command = Command::new(&program.executable);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(&program.environment)
        .env(MARK, &mark)
        .current_dir(&program.directory)
        .stdin(Stdio::null())
        // One pipe for both keeps the order in which they were written.
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let spawned = membership.and_then(|membership| {
        child::confine(&mut command, membership);
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
            if let (Some(groups), Some(group)) = (&shared.groups, &group) {
                groups.remove(group);
            }
            Err(error)
        }
    }
}
