//! A shell that starts commands where container runtimes find control groups of one version only.
//!
//! crun refuses a machine that has both, so the shell has a view of the mounts of its own, without those of
//! version 2 beside version 1. It forks and executes like any other: what it adds to a start is a line
//! through a pipe.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

const SCRIPT: &str = "
    umount /sys/fs/cgroup/unified 2> /dev/null
    while read -r line; do eval \"$line\" < /dev/null; echo \" $?\"; done
";

/// Takes one command after another; ends with this.
pub(super) struct Shell {
    lines: ChildStdin,
    output: BufReader<ChildStdout>,
    process: Child,
}

impl Shell {
    pub(super) fn start() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", SCRIPT]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("start unshare")?;
        Ok(Self {
            lines: process.stdin.take().context("the shell's input")?,
            output: BufReader::new(process.stdout.take().context("the shell's output")?),
            process,
        })
    }

    /// Has a command run to its end. How long it took until its first byte.
    pub(super) fn first_byte(&mut self, line: &str) -> Result<Duration> {
        let begun = Instant::now();
        writeln!(self.lines, "{line}")?;
        self.output.read_exact(&mut [0])?;
        let took = begun.elapsed();
        let mut rest = String::new();
        self.output.read_line(&mut rest)?;
        ensure!(rest == " 0\n", "{line} ended with{rest}");
        Ok(took)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Between commands, it has nothing to lose.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
