//! Control groups: memory, processor time, number of processes, and standing still, on version 1,
//! version 2 and machines that have some of each.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal};

use crate::plain::Held;

mod detect;
mod family;

pub(crate) use detect::{detect, own_folder};
pub(crate) use family::Family;

/// Memory that comes with one processor's time, in MiB (AWS Lambda, 2026).
const MIB_PER_PROCESSOR: u64 = 1769;

/// The period over which processor time is counted, in microseconds (AWS Lambda's, as measured).
const PERIOD: u64 = 20_000;

/// The least quota in a period that the kernel takes, in microseconds.
const LEAST_QUOTA: u64 = 1_000;

/// Processes and threads of a group: those of AWS Lambda (quota of 2026), and two of ours.
const PROCESSES: u64 = 1024 + 2;

/// What this machine lets the server limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whether what passes its memory limit is killed.
    pub memory: Limit,
    /// Whether processor time is given out in proportion to memory.
    pub cpu: Limit,
    /// Whether the number of processes and threads is bounded.
    pub processes: Limit,
    /// Whether what waits between two invocations is made to stand still.
    pub freezing: Limit,
    /// Whether temporary files can be kept on disk, within their size.
    pub disk: Limit,
}

/// Whether something is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The kernel enforces it.
    Enforced,
    /// It does not, for this reason, in words for the user.
    NotEnforced(String),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced => f.write_str("enforced"),
            Self::NotEnforced(reason) => write!(f, "not enforced: {reason}"),
        }
    }
}

/// Which interface the kernel offers for a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    V1,
    V2,
}

/// A folder of control files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    interface: Interface,
    path: PathBuf,
}

/// The folders below which every tree gets a group of its own: for each purpose the place where it
/// is served, which may be the same.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    memory: Option<Place>,
    cpu: Option<Place>,
    pids: Option<Place>,
    /// Version 2, with or without controllers: it can kill and freeze a group at once.
    unified: Option<Place>,
    next: AtomicU64,
    /// Groups that were still busy when they were to be removed; tried again at the next removal.
    busy: Mutex<Vec<PathBuf>>,
}

/// The group of one tree, in every hierarchy.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its name among its siblings.
    pub(crate) number: u64,
    memory: Option<Place>,
    cpu: Option<Place>,
    pids: Option<Place>,
    unified: Option<Place>,
}

impl Groups {
    /// A new group without limits but on the number of its members.
    pub(crate) fn create(&self) -> io::Result<Group> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = number.to_string();
        let below = |place: &Option<Place>| {
            place.as_ref().map(|place| Place {
                interface: place.interface,
                path: place.path.join(&name),
            })
        };
        let group = Group {
            number,
            memory: below(&self.memory),
            cpu: below(&self.cpu),
            pids: below(&self.pids),
            unified: below(&self.unified),
        };
        let made = group
            .folders()
            .into_iter()
            .try_for_each(fs::create_dir)
            .and_then(|()| match &group.pids {
                Some(place) => place.write("pids.max", PROCESSES),
                None => Ok(()),
            });
        if made.is_err() {
            self.remove(&group);
        }
        made.map(|()| group)
    }

    /// Removes a group whose members are gone. The kernel may take a moment to let go of them.
    pub(crate) fn remove(&self, group: &Group) {
        let mut busy = self.busy.lock();
        busy.extend(group.folders().into_iter().map(Path::to_owned));
        busy.retain(|path| {
            fs::remove_dir(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
    }

    /// The folders that its groups are below.
    pub(crate) fn family(&self) -> Family {
        Family::of(self.places().map(|place| place.path.clone()).collect())
    }

    /// Lets another user make groups, by whom they are limited then.
    pub(crate) fn give_to(&self, user: u32) -> io::Result<()> {
        let family = self.family();
        let mut folders = family.folders().iter();
        folders.try_for_each(|folder| std::os::unix::fs::chown(folder, Some(user), None))
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        [&self.memory, &self.cpu, &self.pids, &self.unified]
            .into_iter()
            .flatten()
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for path in self.busy.get_mut() {
            let _ = fs::remove_dir(path);
        }
        for place in self.places() {
            // The same folder may serve several purposes.
            let _ = fs::remove_dir(&place.path);
        }
    }
}

impl Group {
    /// Each folder once.
    fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> = Vec::new();
        for place in [&self.memory, &self.cpu, &self.pids, &self.unified]
            .into_iter()
            .flatten()
        {
            if !folders.contains(&place.path.as_path()) {
                folders.push(&place.path);
            }
        }
        folders
    }

    /// Lets the group use `bytes` of memory, and a share of a busy machine in proportion.
    pub(crate) fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        if let Some(place) = &self.memory {
            match place.interface {
                Interface::V1 => {
                    // Present where the kernel accounts for swap; else the other limit is all. It is
                    // never the lower of the two, so that it goes first when a limit is raised.
                    let with_swap = || place.write("memory.memsw.limit_in_bytes", bytes);
                    let _ = with_swap();
                    place.write("memory.limit_in_bytes", bytes)?;
                    ignore_missing(with_swap())?;
                }
                Interface::V2 => {
                    place.write("memory.max", bytes)?;
                    ignore_missing(place.write("memory.swap.max", 0))?;
                    ignore_missing(place.write("memory.oom.group", 1))?;
                }
            }
        }
        match &self.cpu {
            Some(place) => {
                let (file, one) = match place.interface {
                    Interface::V1 => ("cpu.shares", 1024),
                    Interface::V2 => ("cpu.weight", 100),
                };
                let weight = (bytes >> 20) * one / MIB_PER_PROCESSOR;
                place.write(file, weight.clamp(2, 10_000))
            }
            None => Ok(()),
        }
    }

    /// Lets every other group go first on a busy machine, until the memory is limited anew.
    pub(crate) fn stand_back(&self) -> io::Result<()> {
        match &self.cpu {
            Some(place) => match place.interface {
                Interface::V1 => place.write("cpu.shares", 2),
                Interface::V2 => place.write("cpu.weight", 1),
            },
            None => Ok(()),
        }
    }

    /// Gives the group processor time in proportion to `bytes` of memory.
    pub(crate) fn limit_cpu(&self, bytes: u64) -> io::Result<()> {
        let quota = ((bytes >> 20) * PERIOD / MIB_PER_PROCESSOR).max(LEAST_QUOTA);
        match &self.cpu {
            Some(place) => match place.interface {
                Interface::V1 => {
                    place.write("cpu.cfs_period_us", PERIOD)?;
                    place.write("cpu.cfs_quota_us", quota)
                }
                Interface::V2 => write(&place.path.join("cpu.max"), &format!("{quota} {PERIOD}")),
            },
            None => Ok(()),
        }
    }

    /// Lets the group use all the processor time there is: what is being killed ends sooner.
    pub(crate) fn lift_cpu(&self) {
        // Nothing is lost but speed.
        let _ = match &self.cpu {
            Some(place) => match place.interface {
                Interface::V1 => write(&place.path.join("cpu.cfs_quota_us"), "-1"),
                Interface::V2 => write(&place.path.join("cpu.max"), "max"),
            },
            None => Ok(()),
        };
    }

    /// What stops and starts all members at once.
    pub(crate) fn freezer(&self) -> Option<Freezer> {
        let place = self.unified.as_ref()?;
        place
            .path
            .join("cgroup.freeze")
            .exists()
            .then(|| Freezer(place.clone()))
    }

    #[cfg(test)]
    pub(crate) fn events(&self) -> String {
        let place = self.unified.as_ref().unwrap();
        fs::read_to_string(place.path.join("cgroup.events")).unwrap()
    }

    /// The `cgroup.procs` files through which a process joins by writing `0` to each.
    pub(crate) fn memberships(&self) -> io::Result<Vec<File>> {
        self.folders()
            .into_iter()
            .map(|folder| {
                File::options()
                    .write(true)
                    .open(folder.join("cgroup.procs"))
            })
            .collect()
    }

    /// Sends SIGKILL to every member, until none is left that could have started another, and
    /// returns the members, some of which may be children of this process.
    pub(crate) fn kill(&self) -> Vec<Held> {
        match self.folders().first() {
            Some(folder) => kill(folder, self.unified.as_ref().map(|place| &*place.path)),
            None => Vec::new(),
        }
    }

    /// Whether the kernel has killed a member for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some(place) = &self.memory else {
            return false;
        };
        let file = match place.interface {
            Interface::V1 => "memory.oom_control",
            Interface::V2 => "memory.events",
        };
        let text = fs::read_to_string(place.path.join(file)).unwrap_or_default();
        let mut kills = text
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "));
        kills.any(|count| count.trim() != "0")
    }
}

/// Has everything in a sandbox stand still, or go on. Killing works on what stands still too.
#[derive(Clone, Debug)]
pub struct Freezer(Place);

impl Freezer {
    /// Stops everything inside until [`Freezer::thaw`]. Returns before the last has stopped.
    ///
    /// # Errors
    /// When the kernel refuses, or the sandbox is gone.
    pub fn freeze(&self) -> io::Result<()> {
        self.0.write("cgroup.freeze", 1)
    }

    /// Has everything inside go on.
    ///
    /// # Errors
    /// When the kernel refuses, or the sandbox is gone.
    pub fn thaw(&self) -> io::Result<()> {
        self.0.write("cgroup.freeze", 0)
    }
}

impl Place {
    fn write(&self, file: &str, value: u64) -> io::Result<()> {
        write(&self.path.join(file), &value.to_string())
    }
}

/// Sends SIGKILL to every member of the group with this folder, as [`Group::kill`]; `at_once` is the folder
/// through which the kernel may do that, of the same group.
fn kill(folder: &Path, at_once: Option<&Path>) -> Vec<Held> {
    // A member may fork between reading the list and the signal: read again until the list
    // holds nobody new. Killed members stay on it until they are reaped.
    let mut known: Vec<Held> = Vec::new();
    loop {
        let list = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        let members = list
            .lines()
            .filter_map(|line| Pid::from_raw(line.parse().ok()?));
        let new: Vec<Held> = members
            .filter(|member| known.iter().all(|held| held.pid != *member))
            .filter_map(Held::open)
            .collect();
        if new.is_empty() {
            return known;
        }
        let killed = at_once.is_some_and(|group| write(&group.join("cgroup.kill"), "1").is_ok());
        if !killed {
            new.iter().for_each(|held| held.signal(Signal::KILL));
        }
        known.extend(new);
    }
}

/// Control files are written in one call and must exist.
fn write(path: &Path, value: &str) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}

fn ignore_missing(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
