//! Running librdkafka's tests: one process for each number, several at once.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::GroupProtocol;
use super::suite::{Suite, Test, Topics};
use crate::command::last_lines;
use crate::group::{Group, Stop};

/// The version of Kafka that a broker is taken for.
const BROKER_VERSION: &str = "4.3.1";

/// What a run may take.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Tests that run at once. They wait far more than they compute.
    pub(super) parallel: usize,
    /// How long one process may take before it counts as hung. The suite has limits of its own,
    /// which end a test earlier.
    pub(super) each: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parallel: 6,
            each: Duration::from_secs(240),
        }
    }
}

/// Where tests run, and how.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The broker's address.
    pub(super) bootstrap: &'a str,
    pub(super) protocol: GroupProtocol,
    pub(super) topics: Topics,
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) test: String,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Passed,
    /// With what it said.
    Failed(String),
    /// It skipped itself, with its reason.
    Skipped(String),
}

/// A process of the suite.
struct Process {
    /// The number that it was told to run, and the tests of that number.
    number: String,
    tests: Vec<String>,
    group: Group,
    log: PathBuf,
    began: Instant,
}

/// Runs `tests` at `place`; prints a line for each as it ends.
///
/// # Errors
/// When the runner cannot be started.
pub(super) fn run(
    suite: &Suite,
    tests: &[&Test],
    place: Place<'_>,
    limits: Limits,
) -> Result<Vec<Outcome>> {
    let Place { bootstrap, .. } = place;
    let home = tempfile::tempdir().context("make a folder for logs")?;
    let config = home.path().join("test.conf");
    // Names are random so that a test finds nothing that another has left. The suite's own limits
    // are meant for a machine that runs one test at a time.
    let settings = format!(
        "bootstrap.servers={bootstrap}\nbroker.address.family=v4\n\
         test.topic.random=true\ntest.timeout.multiplier=2\n"
    );
    fs::write(&config, settings).context("write test.conf")?;

    let mut waiting = by_number(tests);
    // The order of the list, from its end.
    waiting.reverse();
    let mut running: Vec<Process> = Vec::new();
    let mut outcomes = Vec::new();
    while !(waiting.is_empty() && running.is_empty()) {
        while running.len() < limits.parallel
            && let Some((number, tests)) = waiting.pop()
        {
            let log = home.path().join(format!("{number}.log"));
            let group = start(suite, &number, &config, &log, place)?;
            running.push(Process {
                number,
                tests,
                group,
                log,
                began: Instant::now(),
            });
        }
        thread::sleep(Duration::from_millis(50));
        let mut index = 0;
        while index < running.len() {
            let ended = running[index].group.ended()?;
            let hung = ended.is_none() && running[index].began.elapsed() > limits.each;
            if ended.is_none() && !hung {
                index += 1;
                continue;
            }
            let process = running.swap_remove(index);
            let how = match ended {
                Some(status) => format!("its process ended with {status}"),
                None => format!("it was still running after {} s", limits.each.as_secs()),
            };
            outcomes.extend(process.finish(&how));
        }
    }
    Ok(outcomes)
}

/// Tests of one number run in one process, since the suite selects by number.
fn by_number(tests: &[&Test]) -> Vec<(String, Vec<String>)> {
    let mut numbers = Vec::<(String, Vec<String>)>::new();
    for test in tests {
        let number = test.name.split('_').next().unwrap_or_default();
        match numbers.last_mut() {
            Some((last, names)) if last == number => names.push(test.name.clone()),
            _ => numbers.push((number.to_owned(), vec![test.name.clone()])),
        }
    }
    numbers
}

fn start(
    suite: &Suite,
    number: &str,
    config: &Path,
    log: &Path,
    place: Place<'_>,
) -> Result<Group> {
    let output = File::create(log).context("make a test's log")?;
    let mut command = Group::command("./test-runner", Stop::Terminate);
    command
        .args(["-p1", "-Q", "-L", "-s", place.topics.scenario()])
        .current_dir(&suite.folder)
        .env("LD_LIBRARY_PATH", "../src:../src-cpp")
        .env("RDKAFKA_TEST_CONF", config)
        .env("TESTS", number)
        .env("TEST_CONSUMER_GROUP_PROTOCOL", place.protocol.name())
        // Tests of what older brokers lack skip themselves without this.
        .env("TEST_KAFKA_VERSION", BROKER_VERSION)
        // The suite takes another set of limits when it sees this.
        .env_remove("CI")
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("share a test's log")?)
        .stderr(output);
    Group::spawn(&mut command, Stop::Terminate)
}

impl Process {
    fn finish(self, how: &str) -> Vec<Outcome> {
        drop(self.group);
        let log = fs::read(&self.log).unwrap_or_default();
        let log = plain(&String::from_utf8_lossy(&log));
        let mut outcomes: Vec<_> = log.lines().filter_map(outcome_of_line).collect();
        outcomes.retain(|outcome| self.tests.contains(&outcome.test));
        for test in &self.tests {
            if !outcomes.iter().any(|outcome| outcome.test == *test) {
                let said = what_failed(&log).unwrap_or_else(|| last_lines(&log, 15));
                let state = State::Failed(format!("{how}: {said}"));
                let test = test.clone();
                outcomes.push(Outcome { test, state });
            }
        }
        // A test that times out has the summary printed twice, the first time as it runs.
        outcomes.reverse();
        outcomes.sort_by(|one, other| one.test.cmp(&other.test));
        outcomes.dedup_by(|one, other| one.test == other.test);
        let seconds = self.began.elapsed().as_secs_f64();
        for Outcome { test, state } in &outcomes {
            let (word, why) = match state {
                State::Passed => ("ok", ""),
                State::Failed(why) => ("FAILED ", why.as_str()),
                State::Skipped(why) => ("skipped ", why.as_str()),
            };
            println!("librdkafka {test} ... {word}{why} ({seconds:.0} s)");
        }
        if outcomes
            .iter()
            .any(|outcome| matches!(outcome.state, State::Failed(_)))
        {
            keep(&self.number, &self.log);
        }
        outcomes
    }
}

/// What the first failing assertion said: it follows a line `### Test "name" failed at …`.
fn what_failed(log: &str) -> Option<String> {
    let mut lines = log
        .lines()
        .skip_while(|line| !line.starts_with("### Test \""));
    let place = lines.next()?;
    let place = place.split(" failed at ").nth(1)?.split(' ').next()?;
    Some(format!("{place} {}", lines.next()?))
}

/// Leaves the log of a failing test where one can read it.
fn keep(number: &str, log: &Path) {
    let kept = std::env::temp_dir().join(format!("librdkafka-{number}.log"));
    match fs::copy(log, &kept) {
        Ok(_) => println!("    its log: {}", kept.display()),
        Err(error) => println!("    its log is lost: {error}"),
    }
}

/// Reads a line of the suite's summary: `| 0001_multiobj | PASSED | 0.123s | what it said`.
fn outcome_of_line(line: &str) -> Option<Outcome> {
    let mut columns = line.strip_prefix('|')?.splitn(4, '|').map(str::trim);
    let (test, state, _) = (columns.next()?, columns.next()?, columns.next()?);
    let said = columns.next().unwrap_or_default().to_owned();
    let state = match state {
        "PASSED" => State::Passed,
        "SKIPPED" => State::Skipped(said),
        "FAILED" => State::Failed(said),
        _ => return None,
    };
    Some(Outcome {
        test: test.to_owned(),
        state,
    })
}

/// Text without the colours of a terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A colour ends with the first letter.
        let end = part.find(|letter: char| letter.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_the_suite_is_read() {
        let line = "|\x1b[31m 0011_produce_batch                       |     FAILED |   1.500s \
                    \x1b[0m|\x1b[31m test_x():1: no \x1b[0m";
        assert_eq!(
            outcome_of_line(&plain(line)),
            Some(Outcome {
                test: "0011_produce_batch".to_owned(),
                state: State::Failed("test_x():1: no".to_owned()),
            })
        );
        assert_eq!(outcome_of_line("| anything"), None);
    }
}
