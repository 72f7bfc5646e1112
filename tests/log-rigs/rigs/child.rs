//! The workload as a child process.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use log_rigs::{Job, Oracle, Said};

/// A workload that says nothing for this long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running workload. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Workload {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Workload {
    /// Starts it.
    pub(crate) fn start(job: &Job) -> Result<Self> {
        Self::start_under(&[], job)
    }

    /// Starts it as the last arguments of another command.
    pub(crate) fn start_under(command: &[&str], job: &Job) -> Result<Self> {
        let job = serde_json::to_string(job)?;
        let program = env!("CARGO_BIN_EXE_log-workload");
        let words = [command, &[program, &job]].concat();
        let (first, rest) = words.split_first().context("a program")?;
        let mut child = Command::new(first)
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("start {first}"))?;
        let stdout = child.stdout.take().context("the workload's output")?;
        // A thread reads, since a read cannot be given a deadline. The bound is what may be said
        // while the rig is busy with the crash: nothing depends on it.
        let (sender, lines) = mpsc::sync_channel(1024);
        std::thread::spawn(move || {
            BufReader::new(stdout)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Ok(Self {
            stdin: child.stdin.take(),
            child,
            lines,
        })
    }

    /// The next line, which the oracle hears too; `None` when the process has ended.
    pub(crate) fn next(&mut self, oracle: &mut Oracle) -> Result<Option<Said>> {
        let said = self.next_unjudged()?;
        said.iter().try_for_each(|said| oracle.hear(said))?;
        Ok(said)
    }

    /// The next line, with no oracle.
    pub(crate) fn next_unjudged(&mut self) -> Result<Option<Said>> {
        match self.lines.recv_timeout(PATIENCE) {
            // The last line of a process that died in the middle of it was not said.
            Ok(line) => Ok(serde_json::from_str(&line).ok()),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => bail!("the workload hangs"),
        }
    }

    /// Listens up to a line.
    pub(crate) fn until(
        &mut self,
        oracle: &mut Oracle,
        wanted: impl Fn(&Said) -> bool,
    ) -> Result<Option<Said>> {
        while let Some(said) = self.next(oracle)? {
            if wanted(&said) {
                return Ok(Some(said));
            }
        }
        Ok(None)
    }

    /// Hears what has been said by now.
    pub(crate) fn hear_so_far(&mut self, oracle: &mut Oracle) -> Result<()> {
        for line in self.lines.try_iter() {
            if let Ok(said) = serde_json::from_str(&line) {
                oracle.hear(&said)?;
            }
        }
        Ok(())
    }

    /// Kills a process whose disk has lost power, and hears the rest: of what it said since,
    /// nothing is a promise.
    pub(crate) fn end_late(mut self, oracle: &mut Oracle) -> Result<()> {
        self.child.kill()?;
        for line in self.lines.iter() {
            if let Ok(said) = serde_json::from_str(&line) {
                oracle.hear_late(&said);
            }
        }
        self.child.wait()?;
        Ok(())
    }

    /// Tells a workload that waits to begin.
    pub(crate) fn begin(&mut self) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the workload's input")?;
        Ok(stdin.write_all(b"begin\n")?)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Hears everything that is left, and waits for the end. Everything said before was said:
    /// it is in the pipe even when the process is no more.
    pub(crate) fn finish(mut self, oracle: &mut Oracle) -> Result<ExitStatus> {
        while self.next(oracle)?.is_some() {}
        Ok(self.child.wait()?)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
