//! Control groups for memory: version 1 and version 2, where the server may create them.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal};

use crate::descendants::Held;

mod detect;

pub(crate) use detect::detect;

/// What this machine lets the server limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Whether a tree that passes its memory limit is killed.
    pub memory: MemoryLimit,
}

/// Whether memory is limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// The kernel kills what passes its limit.
    Enforced,
    /// It does not, for this reason, in words for the user.
    NotEnforced(String),
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enforced => f.write_str("enforced"),
            Self::NotEnforced(reason) => write!(f, "not enforced: {reason}"),
        }
    }
}

/// Which interface the kernel offers for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    V1,
    V2,
}

/// The folder below which every tree gets a group of its own.
#[derive(Debug)]
pub(crate) struct Groups {
    interface: Interface,
    base: PathBuf,
    next: AtomicU64,
    /// Groups that were still busy when they were to be removed; tried again at the next removal.
    busy: Mutex<Vec<PathBuf>>,
}

/// The group of one tree.
#[derive(Debug)]
pub(crate) struct Group {
    interface: Interface,
    path: PathBuf,
}

impl Groups {
    fn new(interface: Interface, base: PathBuf) -> Self {
        Self {
            interface,
            base,
            next: AtomicU64::new(0),
            busy: Mutex::default(),
        }
    }

    /// A new group that may use `bytes`.
    pub(crate) fn create(&self, bytes: u64) -> io::Result<Group> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let group = Group {
            interface: self.interface,
            path: self.base.join(number.to_string()),
        };
        fs::create_dir(&group.path)?;
        let limited = group.limit(bytes);
        if limited.is_err() {
            self.remove(&group);
        }
        limited.map(|()| group)
    }

    /// Removes a group whose members are gone. The kernel may take a moment to let go of them.
    pub(crate) fn remove(&self, group: &Group) {
        let mut busy = self.busy.lock();
        busy.push(group.path.clone());
        busy.retain(|path| {
            fs::remove_dir(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for path in self.busy.get_mut() {
            let _ = fs::remove_dir(path);
        }
        let _ = fs::remove_dir(&self.base);
    }
}

impl Group {
    fn limit(&self, bytes: u64) -> io::Result<()> {
        match self.interface {
            Interface::V1 => {
                self.write("memory.limit_in_bytes", bytes)?;
                // Present where the kernel accounts for swap; without swap the first limit is all.
                ignore_missing(self.write("memory.memsw.limit_in_bytes", bytes))
            }
            Interface::V2 => {
                self.write("memory.max", bytes)?;
                ignore_missing(self.write("memory.swap.max", 0))?;
                ignore_missing(self.write("memory.oom.group", 1))
            }
        }
    }

    /// The file through which a process joins by writing `0` to it.
    pub(crate) fn membership(&self) -> io::Result<File> {
        File::options()
            .write(true)
            .open(self.path.join("cgroup.procs"))
    }

    /// Sends SIGKILL to every member, until none is left that could have started another, and
    /// returns the members, some of which may be children of this process.
    pub(crate) fn kill(&self) -> Vec<Held> {
        // A member may fork between reading the list and the signal: read again until the list
        // holds nobody new. Killed members stay on it until they are reaped.
        let mut known: Vec<Held> = Vec::new();
        loop {
            let list = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
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
            let at_once = self.interface == Interface::V2 && self.write("cgroup.kill", 1).is_ok();
            if !at_once {
                new.iter().for_each(|held| held.signal(Signal::KILL));
            }
            known.extend(new);
        }
    }

    /// Whether the kernel has killed a member for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let file = match self.interface {
            Interface::V1 => "memory.oom_control",
            Interface::V2 => "memory.events",
        };
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        let mut kills = text
            .lines()
            .filter_map(|line| line.strip_prefix("oom_kill "));
        kills.any(|count| count.trim() != "0")
    }

    fn write(&self, file: &str, value: u64) -> io::Result<()> {
        write(&self.path.join(file), &value.to_string())
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
