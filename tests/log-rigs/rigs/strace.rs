//! Faults put into another process's system calls by strace.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The calls that may change or flush what is on the disk, or tell somebody of it. Not every
/// architecture has each, hence the question marks.
pub(crate) const CALLS: &[&str] = &[
    "openat",
    "?mkdir",
    "mkdirat",
    "flock",
    "pwrite64",
    "write",
    "fallocate",
    "ftruncate",
    "fdatasync",
    "fsync",
    "?rename",
    "?renameat",
    "renameat2",
    "?unlink",
    "unlinkat",
    "?copy_file_range",
];

/// strace, where this machine has it and lets it attach to a process.
pub(crate) fn find() -> Result<PathBuf> {
    let found = log_rigs::program("TIDEMILL_TEST_STRACE", "strace");
    let strace = found.context("strace is not installed")?;
    let mut sleeper = Command::new("sleep").arg("60").spawn()?;
    let attached = Attached::to(&strace, sleeper.id(), &[]);
    sleeper.kill()?;
    sleeper.wait()?;
    attached.context("strace may not attach to processes here")?;
    Ok(strace)
}

/// A strace that is attached to every thread of a process, and ends with it.
#[derive(Debug)]
pub(crate) struct Attached {
    strace: Child,
}

impl Attached {
    /// Attaches; from the return on every call counts.
    pub(crate) fn to(strace: &Path, process: u32, arguments: &[&str]) -> Result<Self> {
        let mut strace = Command::new(strace)
            .args(["-f", "-p", &process.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start strace")?;
        let stderr = strace.stderr.take().context("strace's messages")?;
        let mut lines = BufReader::new(stderr);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        let attached = Self { strace };
        ensure!(line.contains("attached"), "strace says {}", line.trim());
        // Whatever it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(attached)
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(mut self) -> Result<()> {
        self.strace.wait()?;
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// How often the busiest thread made each call, from the trace that `strace -f -o` wrote: strace
/// counts injections for each thread and call.
pub(crate) fn busiest(trace: &str) -> Result<BTreeMap<String, u64>> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            bail!("a trace line without a thread: {line}");
        };
        let Some((name, _)) = call.trim_start().split_once('(') else {
            continue; // Signals, exits and the second halves of calls.
        };
        if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            *counts.entry((thread, name)).or_default() += 1;
        }
    }
    let mut busiest = BTreeMap::new();
    for ((_, name), count) in counts {
        let most: &mut u64 = busiest.entry(name.to_owned()).or_default();
        *most = (*most).max(count);
    }
    Ok(busiest)
}
