//! Finding the processes of a tree in `/proc`.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

/// How often, and how far apart, a process is looked at that executes a program just now.
const EXECUTING: u32 = 1_000;
const LOOK: Duration = Duration::from_millis(1);

/// How much of a process's status is read: the memory stands before the middle (proc(5)), but after the
/// groups of the process, of which there may be hundreds.
const STATUS: usize = 4096;

/// A process that is held by descriptor, so that a signal cannot reach a later owner of its id.
pub(crate) struct Held {
    pub(crate) pid: Pid,
    pub(crate) handle: OwnedFd,
}

impl Held {
    /// `None` when the process is gone.
    pub(crate) fn open(pid: Pid) -> Option<Self> {
        let handle = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some(Self { pid, handle })
    }

    /// A process that is gone needs no signal: failure is no news.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.handle, signal);
    }
}

/// What the kernel tells of a process, kept open: it is asked after every invocation. Whatever becomes of
/// the process's id, it tells of no other.
#[derive(Debug)]
pub(crate) struct Status(File);

impl Status {
    /// `None` when the process is gone.
    pub(crate) fn open(process: Pid) -> Option<Self> {
        let path = format!("/proc/{}/status", process.as_raw_nonzero());
        File::open(path).ok().map(Self)
    }

    /// The most memory that it has had resident since it was executed, in bytes; `None` once it has ended.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let mut text = [0; STATUS];
        let read = rustix::io::pread(&self.0, &mut text, 0).ok()?;
        let text = String::from_utf8_lossy(&text[..read]);
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
}

/// Stops `root` and everything below it, generation by generation, and returns what is below.
/// Stopped processes start no further ones, so the walk ends.
pub(crate) fn freeze(root: Pid) -> Vec<Held> {
    let mut found: Vec<Held> = Vec::new();
    loop {
        let known = found.len();
        let parents: Vec<Pid> = [root]
            .into_iter()
            .chain(found.iter().map(|held| held.pid))
            .collect();
        for child in parents.into_iter().flat_map(children) {
            if found.iter().all(|held| held.pid != child)
                && let Some(held) = Held::open(child)
            {
                held.signal(Signal::STOP);
                found.push(held);
            }
        }
        if found.len() == known {
            return found;
        }
    }
}

/// The children of `parent`, of all its threads.
pub(crate) fn children(parent: Pid) -> Vec<Pid> {
    let path = format!("/proc/{parent}/task");
    let Ok(threads) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(list.split_whitespace().filter_map(parse)),
            // The thread has just ended; or the kernel was built without these files.
            Err(_) if thread.path().exists() => return children_by_search(parent),
            Err(_) => {}
        }
    }
    found
}

/// The same by looking at every process, for kernels without `/proc/*/task/*/children`.
fn children_by_search(parent: Pid) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|process| parse(process.file_name().to_str()?))
        .filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == Some(parent)))
        .collect()
}

/// Whether `pid` was started by the tree of `root`, whose environment holds `mark`: by its session,
/// or by the environment it was started with.
pub(crate) fn belongs(pid: Pid, root: Pid, mark: &str) -> bool {
    let by_session = stat(pid).is_some_and(|stat| stat.session == Some(root));
    by_session
        || environment(pid).is_some_and(|environment| {
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
}

/// What a process was started with; `None` when it has ended, or was started with nothing.
///
/// In the middle of executing a program a process shows none, and no arguments either, which every
/// program has: it is looked at again.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when another process has executed; this runs where trees are buried, and nobody waits for it"
)]
fn environment(pid: Pid) -> Option<Vec<u8>> {
    let read = |what| fs::read(format!("/proc/{pid}/{what}")).ok();
    for _ in 0..EXECUTING {
        let environment = read("environ")?;
        if !environment.is_empty() || stat(pid)?.is_dead {
            return Some(environment);
        }
        // Between two that are empty, arguments say that it was started with none.
        if !read("cmdline")?.is_empty() && read("environ")?.is_empty() {
            return None;
        }
        thread::sleep(LOOK);
    }
    None
}

struct Stat {
    is_dead: bool,
    parent: Option<Pid>,
    session: Option<Pid>,
}

/// Fields 3, 4 and 6 of `/proc/PID/stat`. The name before them is in brackets and may hold anything.
fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next().and_then(parse);
    let session = fields.nth(1).and_then(parse);
    Some(Stat {
        is_dead,
        parent,
        session,
    })
}

fn parse(digits: &str) -> Option<Pid> {
    Pid::from_raw(digits.parse().ok()?)
}
