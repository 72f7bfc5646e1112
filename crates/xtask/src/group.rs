//! A child process that cannot outlive us.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a process group may take to end by itself once asked.
const GRACE: Duration = Duration::from_secs(10);

/// How a program is asked to end.
#[derive(Clone, Copy)]
pub(crate) enum Stop {
    /// SIGTERM, the usual way.
    Terminate,
    /// SIGINT: what PostgreSQL takes as "disconnect everybody and end", where SIGTERM would wait for clients.
    Interrupt,
}

impl Stop {
    fn signal(self) -> Signal {
        match self {
            Self::Terminate => Signal::TERM,
            Self::Interrupt => Signal::INT,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
        }
    }
}

/// A running program with all its descendants that stay in its process group.
///
/// Dropping it ends the group, politely first. Should xtask itself be killed, the kernel ends the
/// program (`setpriv --pdeathsig`), so that no server is left behind on anybody's machine.
pub(crate) struct Group {
    child: Child,
    stop: Stop,
}

impl Group {
    /// A command for `program` that [`Group::spawn`] takes; the caller adds arguments and output.
    pub(crate) fn command(program: impl AsRef<OsStr>, stop: Stop) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", stop.name()]).arg(program);
        command
    }

    /// The same, as the unprivileged system user `user`; we must be root.
    pub(crate) fn command_as(user: &str, program: impl AsRef<OsStr>, stop: Stop) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                user,
                "--regid",
                user,
                "--init-groups",
                "--pdeathsig",
                stop.name(),
            ])
            .arg(program);
        command
    }

    /// Starts `command` in a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(command: &mut Command, stop: Stop) -> Result<Self> {
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
        Ok(Self { child, stop })
    }

    /// The program itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .context("ask whether a child has ended")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // The only failure is a group that is already gone, which is what we want.
        let _ = kill_process_group(pid, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(self.stop.signal());
        let deadline = Instant::now() + GRACE;
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(20));
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn dropping_a_group_ends_grandchildren_too() {
        let mut command = Group::command("sh", Stop::Terminate);
        command
            .args(["-c", "sleep 600 & echo started; wait"])
            .stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command, Stop::Terminate).unwrap();
        let mut lines = BufReader::new(group.child().stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "started");
        drop(group);
        // The grandchild holds the pipe's other end: it closes only when the grandchild is gone.
        assert!(lines.next().is_none());
    }
}
