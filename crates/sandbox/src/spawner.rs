//! Starting programs in sandboxes, and keeping some sandboxes ready.
//!
//! What is dear about a sandbox (its namespaces, its network with the loopback interface up, its
//! groups, most of its mounts) is done before it is needed, off the path: a start takes a ready
//! sandbox, adds the job's own files, and executes. Each sandbox serves one job and is never used again.
//!
//! What a program itself takes to start can be done ahead too, where the same is started for many jobs:
//! see [`Early`].

mod early;
pub(crate) mod process;
mod slot;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::group::{Groups, Limit, Limits, detect};
use crate::plain::{Task, worker};
use crate::{Early, Error, Job, Sandbox, Temporary};

pub(crate) use early::EarlySlot;
use early::Stock;
use process::{Order, Privilege, SpawnerProcess};
pub(crate) use slot::Slot;

/// The first user id of this machine that sandboxes take as theirs when the server is root: beyond
/// what distributions and container engines give out (systemd ends at 1,879,048,191).
const FIRST_USER: u32 = 2_000_000_000;

/// After this many sandboxes, user ids are used again. Each takes two.
const USERS: u32 = 1_000_000;

/// Where, and how many.
#[derive(Clone, Debug)]
pub struct SpawnerConfig {
    /// A folder that belongs to the spawner and stays empty.
    pub mount_point: PathBuf,
    /// A folder that belongs to the spawner, for temporary files that are kept on disk. Whatever it holds
    /// at the start is removed.
    pub disk: PathBuf,
    /// How many sandboxes are kept ready.
    pub spares: usize,
    /// How many of each early program are kept waiting, beside them, once a job has named it.
    pub early: usize,
}

/// Starts programs in sandboxes. Cheap to clone; all clones share one spawner process.
///
/// When the last clone is gone, the spawner process ends, and so does everything it has started.
#[derive(Clone, Debug)]
pub struct Spawner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    starts: mpsc::Sender<Task>,
    ends: mpsc::Sender<Task>,
    /// Dropped before the process, so that ready sandboxes end in order.
    state: Mutex<State>,
    early: Stock,
    process: Mutex<SpawnerProcess>,
    privilege: Privilege,
    mount_point: PathBuf,
    limits: Limits,
    /// Present where [`Limits::disk`] is enforced.
    disk: Option<Arc<Disk>>,
    groups: Arc<Groups>,
    next: AtomicU32,
}

/// What a job can be started in.
pub(crate) enum Ready {
    Empty(Slot),
    Early(EarlySlot),
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Slot>,
    /// Whoever came when none was ready, first come first served.
    waiting: VecDeque<oneshot::Sender<Result<Slot, Error>>>,
}

impl Spawner {
    /// Starts the spawner process and makes a first sandbox, which shows whether this machine allows
    /// it. Blocks for some milliseconds. Must run inside the runtime that is to watch sandboxes.
    ///
    /// # Errors
    /// [`Error::Prepare`] when no sandbox can be made here; it says what the machine refuses.
    pub fn start(config: SpawnerConfig) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.mount_point)
            .map_err(|error| Error::prepare("make the folder for sandboxes", error))?;
        let (limits, groups) = detect();
        let process = SpawnerProcess::start()?;
        let privilege = match rustix::process::geteuid().is_root() {
            true => Privilege::Root,
            false => Privilege::User,
        };
        let mut shared = Shared {
            starts: worker("sandbox-start")?,
            ends: worker("sandbox-end")?,
            state: Mutex::default(),
            process: Mutex::new(process),
            privilege,
            mount_point: config.mount_point,
            limits,
            disk: None,
            groups: Arc::new(groups),
            next: AtomicU32::new(0),
            early: Stock::of(config.early),
        };
        let first = match (shared.prepare(), privilege) {
            // Root of a container is often not allowed what a user is.
            (Err(error), Privilege::Root) => {
                tracing::debug!(%error, "no sandbox can be made as root of the machine");
                shared.privilege = Privilege::User;
                shared.prepare()?
            }
            (prepared, _) => prepared?,
        };
        shared.state.lock().ready.push_back(first);
        let disk = match shared.privilege {
            Privilege::Root => Disk::over(config.disk),
            Privilege::User => Err("only root may mount them".to_owned()),
        };
        (shared.disk, shared.limits.disk) = match disk {
            Ok(disk) => (Some(Arc::new(disk)), Limit::Enforced),
            Err(reason) => (None, Limit::NotEnforced(reason)),
        };
        let shared = Arc::new(shared);
        for _ in 1..config.spares {
            shared.prepare_another();
        }
        Ok(Self { shared })
    }

    /// What is limited on this machine.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// What holds here less than on a machine where the server is root and has every kind of group,
    /// each in a sentence for the user. Empty when nothing does.
    #[must_use]
    pub fn weaknesses(&self) -> Vec<String> {
        let mut weaker = Vec::new();
        if self.shared.privilege == Privilege::User {
            weaker.push(
                "every function runs as the server's own user, inside a user namespace: what broke \
                 out of one would have this user's rights. Start the server as root to give each \
                 instance a user of its own"
                    .to_owned(),
            );
        }
        let limits = &self.shared.limits;
        for (what, limit) in [
            ("the memory size of functions is billed but", &limits.memory),
            ("processor time in proportion to memory is", &limits.cpu),
            (
                "the number of processes is bounded for each user only; for each instance it is",
                &limits.processes,
            ),
            (
                "functions may run on between invocations: freezing is",
                &limits.freezing,
            ),
            (
                "what functions write to /tmp counts towards their memory, whatever its size: a disk \
                 for it is",
                &limits.disk,
            ),
        ] {
            match limit {
                Limit::Enforced => {}
                Limit::NotEnforced(_) => weaker.push(format!("{what} {limit}")),
            }
        }
        weaker
    }

    /// Has as many of an early program wait as are kept, before a job names it. Returns when they do, or
    /// are about to, or cannot be started; the next job tries again.
    pub async fn expect(&self, early: &Early) {
        self.shared.restock(early);
        let (reply, reached) = oneshot::channel();
        let task = Box::new(move || {
            // Whoever has asked may have gone.
            let _ = reply.send(());
        });
        // The thread ends only with the last of us, and does what it is given in order.
        let _ = self.shared.starts.send(task);
        let _ = reached.await;
    }

    /// Starts a job in a sandbox of its own. Returns once its program has been executed.
    ///
    /// Cancel safe: a program whose future is dropped is killed.
    ///
    /// # Errors
    /// [`Error::Start`] when the program cannot be executed, [`Error::Prepare`] when its sandbox
    /// cannot be completed.
    pub async fn spawn(&self, job: Job) -> Result<Sandbox, Error> {
        if let Some(early) = &job.early {
            let taken = self.shared.early.take(early);
            self.shared.restock(early);
            if let Some(ready) = taken {
                match self.shared.start(Ready::Early(ready), &job).await {
                    Ok(sandbox) => return Ok(sandbox),
                    // Whatever it was: if the job is to blame, it will fail again.
                    Err(error) => {
                        let error = error.into_io();
                        tracing::warn!(%error, "what was started early could not be used");
                    }
                }
            }
        }
        let ready = Ready::Empty(self.shared.take().await?);
        self.shared.start(ready, &job).await
    }
}

#[cfg(test)]
impl Spawner {
    pub(crate) fn process_id(&self) -> u32 {
        self.shared.process.lock().id()
    }

    /// Waits until each early program has printed something, or cannot any more.
    pub(crate) fn until_early_ones_speak(&self) {
        self.shared.early.until_all_speak();
    }

    pub(crate) fn group_folders(&self) -> Vec<PathBuf> {
        self.shared.groups.folders()
    }
}

impl Shared {
    /// Starts a job in a sandbox that is ready, with a disk if it needs one.
    async fn start(&self, ready: Ready, job: &Job) -> Result<Sandbox, Error> {
        let failed = |source| Error::prepare("make a disk for /tmp", source);
        let image = match (job.temporary, &self.disk) {
            (Temporary::Disk(bytes), Some(disk)) => {
                let disk = Arc::clone(disk);
                let made = tokio::task::spawn_blocking(move || disk.image(bytes));
                let made = made.await.map_err(|error| failed(error.into()))?;
                Some(made.map_err(failed)?)
            }
            (Temporary::Memory(_), _) | (Temporary::Disk(_), None) => None,
        };
        Sandbox::start(ready, job, image, self.ends.clone()).await
    }

    /// A ready sandbox; another takes its place.
    async fn take(self: &Arc<Self>) -> Result<Slot, Error> {
        let taken = {
            let mut state = self.state.lock();
            match state.ready.pop_front() {
                Some(slot) => Ok(slot),
                None => {
                    let (sender, receiver) = oneshot::channel();
                    state.waiting.push_back(sender);
                    Err(receiver)
                }
            }
        };
        self.prepare_another();
        match taken {
            Ok(slot) => Ok(slot),
            Err(receiver) => receiver.await.unwrap_or_else(|_| {
                Err(Error::prepare(
                    "take a ready sandbox",
                    std::io::Error::other("the starting thread has ended"),
                ))
            }),
        }
    }

    /// Has the starting thread make one more, for whoever waits first.
    fn prepare_another(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        let task = Box::new(move || {
            let mut prepared = shared.prepare();
            loop {
                let mut state = shared.state.lock();
                // Who has given up waiting hands it on.
                match (state.waiting.pop_front(), prepared) {
                    (Some(waiting), result) => match waiting.send(result) {
                        Ok(()) => return,
                        Err(returned) => prepared = returned,
                    },
                    (None, Ok(slot)) => return state.ready.push_back(slot),
                    (None, Err(error)) => {
                        return tracing::warn!(%error, "no sandbox could be kept ready");
                    }
                }
            }
        });
        // The thread ends only with the last of us.
        let _ = self.starts.send(task);
    }

    /// Has the starting thread start as many of an early program as are to wait.
    fn restock(self: &Arc<Self>, early: &Early) {
        for _ in 0..self.early.missing(early) {
            self.start_early(early.clone());
        }
    }

    fn start_early(self: &Arc<Self>, early: Early) {
        let shared = Arc::clone(self);
        let task = Box::new(move || {
            // Whoever waits for a sandbox comes first; what will serve them is on the list already.
            if !shared.state.lock().waiting.is_empty() {
                return shared.start_early(early);
            }
            let started = shared.prepare().and_then(|slot| {
                EarlySlot::start(slot, &early).map_err(|source| Error::Start {
                    executable: early.program.executable.clone(),
                    source,
                })
            });
            match started {
                Ok(started) => shared.early.add(early, started),
                Err(error) => {
                    tracing::warn!(%error, "nothing could be started early");
                    shared.early.give_up(&early);
                }
            }
        });
        let _ = self.starts.send(task);
    }

    fn prepare(&self) -> Result<Slot, Error> {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % USERS;
        let (user, keeper) = match self.privilege {
            Privilege::Root => (FIRST_USER + 2 * number, FIRST_USER + 2 * number + 1),
            Privilege::User => {
                let own = rustix::process::geteuid().as_raw();
                (own, own)
            }
        };
        let order = Order {
            privilege: self.privilege,
            mount_point: self.mount_point.clone(),
            user,
            keeper,
        };
        Slot::prepare(&self.process, &order, &self.groups)
    }
}
