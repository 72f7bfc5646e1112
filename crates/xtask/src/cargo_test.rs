//! Running `cargo test` and counting what it ran.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::build_tools;
use crate::checkout::Checkout;
use crate::contract::{self, Export};
use crate::group::{Group, Stop};
use crate::steps::Steps;
use crate::tally::{Tally, skips_in};

/// A test that hangs must not take the report on the others with it.
const LONGEST_RUN: Duration = Duration::from_secs(40 * 60);

/// Which tests to run; the default is all of them.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Selection<'a> {
    pub(crate) package: Option<&'a str>,
    pub(crate) filter: Option<&'a str>,
}

/// What ran, and what came of it.
#[derive(Default)]
pub(crate) struct Ran {
    tally: Tally,
    /// `failed: …` and `skipped: …`, one for each test.
    notes: Vec<String>,
    /// What went wrong besides tests that failed.
    trouble: Option<String>,
}

impl Ran {
    /// Adds this to the run's account.
    pub(crate) fn count_into(self, steps: &mut Steps) {
        steps.counted(self.tally, self.notes);
        if let Some(trouble) = self.trouble {
            steps.fail(&trouble);
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(tally) = Tally::of_line(line) {
            self.tally.add(tally);
        }
        if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.notes.push(format!("failed: {name}"));
        }
    }

    fn skips(&mut self, written: &str) {
        let skips: Vec<&str> = skips_in(written).collect();
        self.tally.passed_were_skipped(skips.len() as u64);
        self.notes
            .extend(skips.into_iter().map(|skip| format!("skipped: {skip}")));
    }
}

/// Runs the selected tests of all binaries, to the end even if some fail.
///
/// # Errors
/// When cargo cannot be started, or on Ctrl-C. Tests that fail are counted instead.
pub(crate) fn run(
    checkout: &Checkout,
    selection: Selection<'_>,
    exports: &[Export],
    interrupted: &AtomicBool,
) -> Result<Ran> {
    let skips = tempfile::NamedTempFile::new().context("make the file for skips")?;
    let mut cargo = checkout.cargo(&["test", "--no-fail-fast"]);
    match selection.package {
        Some(package) => cargo.args(["--package", package]),
        None => cargo.arg("--workspace"),
    };
    if selection.package.is_none_or(|package| package == "server") {
        cargo.args(build_tools::WITH_TLS);
    }
    cargo
        .args(selection.filter)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    cargo
        .envs(exports.iter().map(|(name, value)| (name, value)))
        .env(contract::SKIPS, skips.path());

    let mut group = Group::spawn(&mut cargo, Stop::Terminate)?;
    let output = group
        .child()
        .stdout
        .take()
        .context("take the output of cargo test")?;
    // A thread reads, since a read cannot be given a deadline. It ends with the pipe. The bound is
    // what cargo may print ahead of us: nothing depends on it.
    let (sender, lines) = mpsc::sync_channel(64);
    thread::spawn(move || {
        BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });

    let mut ran = Ran::default();
    let deadline = Instant::now() + LONGEST_RUN;
    loop {
        match lines.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                println!("{line}");
                ran.line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if Instant::now() > deadline {
            ran.trouble = Some(format!(
                "tests: still running after {} minutes, ended",
                LONGEST_RUN.as_secs() / 60
            ));
            break;
        }
    }
    if ran.trouble.is_none() {
        let status = group.child().wait().context("wait for cargo test")?;
        if !status.success() && ran.tally.failed == 0 {
            ran.trouble = Some(format!(
                "tests: cargo test ended with {status}, for another reason than a failing test"
            ));
        }
    }
    ran.skips(&fs::read_to_string(skips.path()).context("read the file of skips")?);
    Ok(ran)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_and_skipping_tests_are_counted_and_named() {
        let mut ran = Ran::default();
        for line in [
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test a::d ... ok",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            ran.line(line);
        }
        ran.skips("skipped: a::d: no Kafka\n");
        assert_eq!(
            ran.tally,
            Tally {
                passed: 1,
                failed: 1,
                skipped: 1
            }
        );
        assert_eq!(ran.notes, ["failed: a::c", "skipped: a::d: no Kafka"]);
    }
}
