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
pub(crate) mod terms;
mod workshop;

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use crate::disk::Disk;
use crate::group::{Groups, Limit, Limits, detect, own_folder};
use crate::plain::{Status, Task, worker};
use crate::{Account, Early, Error, Job, Sandbox, Temporary};

pub(crate) use early::EarlySlot;
use process::SpawnerProcess;
pub(crate) use slot::Slot;
use terms::{Heir, Privilege, Terms};
use workshop::{Plan, Workshop};

/// Spawner processes, at most. The kernel makes more namespaces at a time no faster: they wait for one
/// another there.
const PROCESSES: usize = 4;

/// Where, and how many.
#[derive(Clone, Debug)]
pub struct SpawnerConfig {
    /// A folder that belongs to the spawner and stays empty; it is made where it is missing. One that has an
    /// heir uses a folder of root's below `/run` instead.
    pub mount_point: PathBuf,
    /// A folder that belongs to the spawner, for temporary files that are kept on disk. Whatever it holds
    /// at the start is removed.
    pub disk: PathBuf,
    /// How many sandboxes are kept ready at first. Each costs about 0.7 MiB, most of it the kernel's.
    pub spares: usize,
    /// How many are at most. Whenever a job finds none ready, twice as many are kept from then on: starts
    /// from those that are ready are several times as many in a second.
    pub spares_at_most: usize,
    /// How many of each early program are kept waiting, beside them, once a job has named it.
    pub early: usize,
}

/// Starts programs in sandboxes. Cheap to clone; all clones share the spawner processes.
///
/// When the last clone is gone, the spawner processes end, and so does everything they have started.
#[derive(Clone, Debug)]
pub struct Spawner {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    workshop: Arc<Workshop>,
    threads: Vec<JoinHandle<()>>,
    /// They outlive the threads: the first that ends removes what all of them have made.
    processes: Vec<Arc<SpawnerProcess>>,
    ends: mpsc::Sender<Task>,
    limits: Limits,
    /// Whether the kernel tells this process about those in sandboxes.
    sees: bool,
    /// Present where [`Limits::disk`] is enforced.
    disk: Option<Arc<Disk>>,
}

/// Spawner processes that have been started, and what else takes rights that the server may have given up
/// by the time at which it makes sandboxes.
#[derive(Debug)]
pub struct Prepared {
    config: SpawnerConfig,
    ways: Ways,
    processes: Vec<SpawnerProcess>,
    limits: Limits,
    groups: Groups,
    /// What makes disks, or why there are none.
    disk: Result<PathBuf, String>,
}

/// With which rights sandboxes may be made.
#[derive(Clone, Copy, Debug)]
enum Ways {
    Root,
    /// Root of a container is often not allowed what a user is.
    RootElseUser,
    User,
}

/// Where folders of root's are that last as long as the machine runs.
const RUN: &str = "/run";

/// What a job can be started in.
pub(crate) enum Ready {
    Empty(Slot),
    Early(EarlySlot),
}

impl Spawner {
    /// Does all that starts a spawner: [`Spawner::prepare`], then [`Prepared::start`].
    ///
    /// # Errors
    /// Those of both.
    pub fn start(config: SpawnerConfig) -> Result<Self, Error> {
        Self::prepare(config, None)?.start()
    }

    /// Starts the spawner processes, with the rights that the caller has, and makes folders for groups.
    /// Blocks for some milliseconds; starts no thread. `heir` is who the caller will be when it goes on:
    /// then it is root now, and sandboxes are made by root's rights or not at all.
    ///
    /// # Errors
    /// [`Error::Prepare`] when it cannot be done.
    pub fn prepare(config: SpawnerConfig, heir: Option<&Account>) -> Result<Prepared, Error> {
        let (limits, groups) = detect();
        let (mount_point, heir) = match heir {
            None => (config.mount_point.clone(), None),
            Some(heir) => {
                let given = groups.give_to(heir.user());
                given.map_err(|error| Error::prepare("hand control groups over", error))?;
                let place = folder_of_roots()
                    .map_err(|error| Error::prepare("make a folder in /run", error))?;
                let heir = Heir {
                    user: heir.user(),
                    group: heir.group(),
                    groups: heir.groups().to_vec(),
                    executable: std::env::current_exe()
                        .map_err(|error| Error::prepare("find this program", error))?,
                };
                (place, Some(heir))
            }
        };
        let ways = match (rustix::process::geteuid().is_root(), &heir) {
            (_, Some(_)) => Ways::Root,
            (true, None) => Ways::RootElseUser,
            (false, None) => Ways::User,
        };
        std::fs::create_dir_all(&mount_point)
            .map_err(|error| Error::prepare("make the folder for sandboxes", error))?;
        let terms = Terms {
            mount_point,
            groups: groups.family(),
            heir,
        };
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let processes = (0..processors.min(PROCESSES)).map(|_| SpawnerProcess::start(&terms));
        Ok(Prepared {
            ways,
            processes: processes.collect::<Result<_, _>>()?,
            limits,
            groups,
            disk: Disk::tool(),
            config,
        })
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
        if self.shared.workshop.plan.privilege == Privilege::User {
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
        if !self.shared.sees {
            weaker.push(
                "/proc hides processes of other users from the server (hidepid): extensions are not \
                 asked to end before they are killed, and reports say nothing of the memory that was \
                 used. Mount /proc with gid=GROUP as well, and put the server's user into that group"
                    .to_owned(),
            );
        }
        weaker
    }

    /// Has as many of an early program wait as are kept, before a job names it. Returns when they do, or
    /// are about to, or cannot be started; the next job tries again.
    pub async fn expect(&self, early: &Early) {
        self.shared.workshop.expect(early).await;
    }

    /// Starts a job in a sandbox of its own. Returns once its program has been executed.
    ///
    /// Cancel safe: a program whose future is dropped is killed.
    ///
    /// # Errors
    /// [`Error::Start`] when the program cannot be executed, [`Error::Prepare`] when its sandbox
    /// cannot be completed.
    pub async fn spawn(&self, job: Job) -> Result<Sandbox, Error> {
        self.spawn_with(job, None).await
    }

    /// The same, with something that is the program's standard input; else that is empty. What is started
    /// early reads other things there, so such a job starts anew.
    ///
    /// # Errors
    /// Those of [`spawn`](Self::spawn).
    pub async fn spawn_with(&self, job: Job, input: Option<OwnedFd>) -> Result<Sandbox, Error> {
        let workshop = &self.shared.workshop;
        let _underway = workshop.begin();
        if let (Some(early), None) = (&job.early, &input)
            && let Some(ready) = workshop.take_early(early)
        {
            match self.shared.start(Ready::Early(ready), &job, None).await {
                Ok(sandbox) => return Ok(sandbox),
                // Whatever it was: if the job is to blame, it will fail again.
                Err(error) => {
                    let error = error.into_io();
                    tracing::warn!(%error, "what was started early could not be used");
                }
            }
        }
        let ready = Ready::Empty(workshop.take().await?);
        self.shared.start(ready, &job, input).await
    }
}

/// A new folder that is root's and in which nobody else makes anything.
fn folder_of_roots() -> io::Result<PathBuf> {
    std::fs::create_dir_all(RUN)?;
    let folder = own_folder(Path::new(RUN))?;
    std::fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
    Ok(folder)
}

impl Prepared {
    /// Makes a first sandbox, which shows whether this machine allows it, and keeps others ready from then
    /// on. Blocks for some milliseconds.
    ///
    /// # Errors
    /// [`Error::Prepare`] when no sandbox can be made here; it says what the machine refuses.
    pub fn start(self) -> Result<Spawner, Error> {
        let Self {
            config,
            ways,
            processes,
            mut limits,
            groups,
            disk,
        } = self;
        let nobody = || Error::prepare("make sandboxes", io::ErrorKind::NotFound);
        let first = processes.first().ok_or_else(nobody)?;
        let privilege = match ways {
            Ways::Root | Ways::RootElseUser => Privilege::Root,
            Ways::User => Privilege::User,
        };
        let mut plan = Plan::new(privilege, groups);
        let first = match (plan.make(first), ways) {
            (Err(error), Ways::RootElseUser) => {
                tracing::debug!(%error, "no sandbox can be made as root of the machine");
                plan.privilege = Privilege::User;
                plan.make(first)?
            }
            (made, _) => made?,
        };
        let sees = Status::open(first.pid).is_some();
        let disk = match plan.privilege {
            Privilege::Root => disk.and_then(|tool| Disk::over(config.disk.clone(), tool)),
            Privilege::User => Err("only root may mount them".to_owned()),
        };
        let (disk, enforced) = match disk {
            Ok(disk) => (Some(Arc::new(disk)), Limit::Enforced),
            Err(reason) => (None, Limit::NotEnforced(reason)),
        };
        limits.disk = enforced;
        let mut shared = Shared {
            workshop: Arc::new(Workshop::new(plan, first, &config)),
            threads: Vec::new(),
            ends: worker("sandbox-end")?,
            limits,
            sees,
            disk,
            processes: Vec::new(),
        };
        for process in processes {
            shared.add_thread(Arc::new(process))?;
        }
        Ok(Spawner {
            shared: Arc::new(shared),
        })
    }
}

#[cfg(test)]
impl Spawner {
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        let processes = self.shared.processes.iter();
        processes.map(|process| process.id()).collect()
    }

    /// Waits until each early program has printed something, or cannot any more.
    pub(crate) fn until_early_ones_speak(&self) {
        self.shared.workshop.until_early_ones_speak();
    }

    pub(crate) fn group_folders(&self) -> Vec<PathBuf> {
        self.shared.workshop.plan.groups.family().folders().to_vec()
    }
}

impl Shared {
    /// Has `process` make sandboxes on a thread of its own.
    fn add_thread(&mut self, process: Arc<SpawnerProcess>) -> Result<(), Error> {
        self.processes.push(Arc::clone(&process));
        let workshop = Arc::clone(&self.workshop);
        let thread = thread::Builder::new()
            .name("sandbox-start".to_owned())
            .spawn(move || workshop.run(&process))
            .map_err(|error| Error::prepare("start a thread", error))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Starts a job in a sandbox that is ready, with a disk if it needs one.
    async fn start(
        &self,
        ready: Ready,
        job: &Job,
        input: Option<OwnedFd>,
    ) -> Result<Sandbox, Error> {
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
        Sandbox::start(ready, job, input, image, self.ends.clone()).await
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What is ready ends before the spawner processes, and so in order.
        self.workshop.close();
        for thread in self.threads.drain(..) {
            // Each ends after what it is making. One that has panicked has ended too.
            let _ = thread.join();
        }
    }
}
