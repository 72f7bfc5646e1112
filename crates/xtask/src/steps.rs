//! The steps of a run: progress lines, timings, and what came of each.

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::tally::Tally;

/// A run in steps, and what has come of it so far.
pub(crate) struct Steps {
    began: Instant,
    tally: Tally,
    /// `failed: …` and `skipped: …` lines, printed again at the end.
    notes: Vec<String>,
}

impl Steps {
    /// A run that begins now.
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            tally: Tally::default(),
            notes: Vec::new(),
        }
    }

    /// Does a step that must succeed; where it does not it counts as a failure, and `None` comes back.
    pub(crate) fn require<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        timed(name, work).map_err(|why| self.fail(&why)).ok()
    }

    /// Does a step that not every machine can do; where it fails it counts as skipped, and `None` comes back.
    pub(crate) fn offer<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        timed(name, work).map_err(|why| self.skip(&why)).ok()
    }

    /// Counts one success.
    pub(crate) fn pass(&mut self) {
        self.tally.passed += 1;
    }

    /// Counts one failure.
    pub(crate) fn fail(&mut self, why: &str) {
        self.tally.failed += 1;
        self.notes.push(format!("failed: {why}"));
    }

    /// Has a line printed again at the end.
    pub(crate) fn note(&mut self, line: String) {
        self.notes.push(line);
    }

    /// Takes in what others have counted, with lines that name it.
    pub(crate) fn counted(&mut self, tally: Tally, notes: impl IntoIterator<Item = String>) {
        self.tally.add(tally);
        self.notes.extend(notes);
    }

    /// Prints what failed and was skipped, and the closing line; tells how to exit.
    ///
    /// Under `CI=true` a skip fails the run.
    pub(crate) fn finish(self) -> ExitCode {
        println!();
        for note in &self.notes {
            println!("{note}");
        }
        let strict = env::var_os("CI").is_some_and(|ci| ci == "true") && self.tally.skipped > 0;
        if strict {
            println!("under CI=true nothing may be skipped");
        }
        println!("finished after {:.0} s", self.began.elapsed().as_secs_f64());
        println!("{}", self.tally);
        if strict || self.tally.failed > 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    /// Counts one skip.
    pub(crate) fn skip(&mut self, why: &str) {
        self.tally.skipped += 1;
        self.notes.push(format!("skipped: {why}"));
    }
}

/// Does `work` between two progress lines; an error comes back as text that begins with `name`.
fn timed<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T, String> {
    println!("==> {name}");
    let began = Instant::now();
    let outcome = work().map_err(|error| format!("{name}: {error:#}"));
    let seconds = began.elapsed().as_secs_f64();
    match &outcome {
        Ok(_) => println!("    {name}: {seconds:.1} s"),
        Err(why) => println!("    {why} (after {seconds:.1} s)"),
    }
    outcome
}
