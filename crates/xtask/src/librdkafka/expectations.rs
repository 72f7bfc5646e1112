//! Which of librdkafka's tests are not expected to pass, and why.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::GroupProtocol;
use super::runner::{Outcome, State};

/// The table in the repository.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expectations {
    /// Tests that do not pass.
    #[serde(default)]
    excluded: Vec<Entry>,
    /// Tests that pass and take long.
    #[serde(default)]
    slow: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    test: String,
    reason: String,
    /// The group protocol in which this holds; any when absent.
    group_protocol: Option<GroupProtocol>,
}

/// What an outcome means for the run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    /// It passed although the table says that it does not.
    PassedAgain(String),
    /// As the table says: neither a pass nor a skip that the run should be judged by.
    Excluded,
    Failed(String),
    Skipped(String),
}

impl Expectations {
    /// Reads the table.
    ///
    /// # Errors
    /// When it cannot be read or has another shape.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("read {}", path.display()))
    }

    /// Whether a test is kept for runs that take their time.
    pub(super) fn is_slow(&self, test: &str) -> bool {
        self.slow.iter().any(|entry| entry.test == test)
    }

    /// What an outcome means.
    pub(super) fn judge(&self, outcome: &Outcome, protocol: GroupProtocol) -> Verdict {
        let name = &outcome.test;
        let mut excluded = self.excluded.iter();
        let excluded = excluded.find(|entry| {
            let holds = entry.group_protocol.is_none_or(|only| only == protocol);
            holds && entry.test == *name
        });
        match (&outcome.state, excluded) {
            (State::Passed, None) => Verdict::Passed,
            (State::Passed, Some(entry)) => Verdict::PassedAgain(format!(
                "librdkafka {name} passes although tests/librdkafka.toml says: {}",
                entry.reason
            )),
            (State::Failed(_) | State::Skipped(_), Some(_)) => Verdict::Excluded,
            (State::Failed(why), None) => Verdict::Failed(format!("librdkafka {name}: {why}")),
            (State::Skipped(why), None) => Verdict::Skipped(format!("librdkafka {name}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_table_names_may_fail() {
        let table = "[[excluded]]\ntest = \"0001_a\"\nreason = \"not offered\"\n\
                     group_protocol = \"classic\"\n";
        let table: Expectations = toml::from_str(table).unwrap();
        let judge = |test: &str, state: State, protocol| {
            let test = test.to_owned();
            table.judge(&Outcome { test, state }, protocol)
        };
        let failed = || State::Failed("no answer".to_owned());
        let classic = GroupProtocol::Classic;
        assert_eq!(judge("0001_a", failed(), classic), Verdict::Excluded);
        assert!(matches!(
            judge("0001_a", State::Passed, classic),
            Verdict::PassedAgain(why) if why.contains("not offered")
        ));
        for (test, protocol) in [("0002_b", classic), ("0001_a", GroupProtocol::Consumer)] {
            assert!(matches!(
                judge(test, failed(), protocol),
                Verdict::Failed(why) if why.contains("no answer")
            ));
            assert_eq!(judge(test, State::Passed, protocol), Verdict::Passed);
        }
    }
}
