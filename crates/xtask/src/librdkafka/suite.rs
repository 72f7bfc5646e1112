//! librdkafka's tests: their sources, their binary and what they are called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::checkout::Checkout;
use crate::command;
use crate::debian;

/// The package that ships librdkafka's sources.
const PACKAGE: &str = "rdkafka-sys";
/// How it is built. Without curl there is one test less, of a login that we do not offer.
const CONFIGURE: &[&str] = &["--disable-curl"];

/// Headers that the suite is built with.
const RAPIDJSON: Headers = Headers {
    file: "/usr/include/rapidjson/schema.h",
    package: "rapidjson-dev",
};

struct Headers {
    file: &'static str,
    package: &'static str,
}

/// The suite, built.
pub(super) struct Suite {
    /// The folder of tests, with the program `test-runner`.
    pub(super) folder: PathBuf,
    /// Those that need a broker, in their own order.
    pub(super) tests: Vec<Test>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// Its full name, `0045_subscribe_update`.
    pub(super) name: String,
    /// What it expects of the broker.
    pub(super) topics: Topics,
}

/// Where topics come from. The suite calls this a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    /// Naming a topic is enough.
    MadeOnUse,
    /// Only an explicit request creates one.
    MadeByAdmin,
}

impl Topics {
    /// The suite's name for it.
    pub(super) fn scenario(self) -> &'static str {
        match self {
            Self::MadeOnUse => "default",
            Self::MadeByAdmin => "noautocreate",
        }
    }

    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::MadeOnUse => "made on use",
            Self::MadeByAdmin => "made on request",
        }
    }
}

impl Suite {
    /// Builds the suite from the sources that cargo has fetched, once per version.
    ///
    /// # Errors
    /// When it does not build, or its list of tests has changed its form.
    pub(super) fn installed(checkout: &Checkout) -> Result<Self> {
        let (sources, version) = sources(checkout)?;
        let recipe = format!("{PACKAGE} {version} {}", CONFIGURE.join(" "));
        // Tests that read statistics skip themselves without it.
        if !Path::new(RAPIDJSON.file).exists() {
            debian::install(RAPIDJSON.package)?;
        }
        let folder = checkout.cache().fetched("librdkafka", &recipe, |folder| {
            let mut copy = Command::new("cp");
            command::run(copy.arg("-r").arg(sources.join("librdkafka/.")).arg(folder))?;
            let configure = folder.join("configure");
            command::run(Command::new(configure).args(CONFIGURE).current_dir(folder))?;
            let make = |arguments: &[&str]| {
                let quiet = ["--silent"].iter().chain(arguments);
                command::run(Command::new("make").args(quiet).current_dir(folder))
            };
            make(&["-j2", "libs"])?;
            make(&["-C", "tests", "build"])
        })?;
        let folder = folder.join("tests");
        let source = fs::read_to_string(folder.join("test.c")).context("read the list of tests")?;
        let tests = tests_in(&source);
        ensure!(
            tests.len() > 100,
            "only {} tests were found in test.c",
            tests.len()
        );
        Ok(Self { folder, tests })
    }
}

/// Where cargo has put the package, and its version.
fn sources(checkout: &Checkout) -> Result<(PathBuf, String)> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        manifest_path: PathBuf,
    }
    let mut cargo = checkout.cargo(&["metadata", "--format-version", "1", "--locked"]);
    let metadata: Metadata =
        serde_json::from_str(&command::output(&mut cargo)?).context("read cargo's metadata")?;
    let mut packages = metadata.packages.into_iter();
    let package = packages
        .find(|package| package.name == PACKAGE)
        .with_context(|| format!("{PACKAGE} is not among the dependencies"))?;
    let folder = package
        .manifest_path
        .parent()
        .context("a package has a folder")?;
    Ok((folder.to_owned(), package.version))
}

/// The tests in the table of `test.c` that need a broker and no hand.
///
/// An entry is `_TEST(name, flags, .field = value, …)`.
fn tests_in(source: &str) -> Vec<Test> {
    let table = source
        .split_once("struct test tests[] = {")
        .and_then(|(_, rest)| rest.split_once("{NULL}"))
        .map_or("", |(table, _)| table);
    let entries = table.split("_TEST(").skip(1);
    let tests = entries.filter_map(|entry| {
        let (name, rest) = entry.split_once(',')?;
        let flags = rest.split(',').next()?;
        // Some need no broker, some a person; some fail everywhere.
        let left_out = ["TEST_F_LOCAL", "TEST_F_MANUAL", "TEST_F_KNOWN_ISSUE"];
        let left_out = flags
            .split('|')
            .any(|flag| left_out.contains(&flag.trim().trim_end_matches(')')));
        let topics = if entry.contains("noautocreate") {
            Topics::MadeByAdmin
        } else {
            Topics::MadeOnUse
        };
        let name = name.trim().to_owned();
        (!left_out).then_some(Test { name, topics })
    });
    tests.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_need_a_broker_are_found_in_the_table() {
        let source = r#"
            struct test tests[] = {
                {.name = "<MAIN>", .flags = TEST_F_LOCAL},
                _TEST(0001_multiobj, 0),
                _TEST(0004_conf, TEST_F_LOCAL),
                _TEST(0011_produce_batch,
                      0,
                      /* LOCAL in a comment */
                      _THRES(.ucpu = 40.0, .scpu = 8.0)),
            #if WITH_SOCKEM
                _TEST(0049_consume_conn_close, TEST_F_SOCKEM, TEST_BRKVER(0, 9, 0, 0)),
            #endif
                _TEST(0107_topic_recreate, 0, TEST_BRKVER_TOPIC_ADMINAPI, .scenario = "noautocreate"),
                _TEST(0047_partial_buf_tmout, TEST_F_KNOWN_ISSUE),
                _TEST(0055_producer_latency, TEST_F_KNOWN_ISSUE_WIN32),
                _TEST(8000_idle, TEST_F_MANUAL),
                {NULL}};"#;
        let found: Vec<_> = tests_in(source)
            .into_iter()
            .map(|test| (test.name, test.topics))
            .collect();
        assert_eq!(
            found,
            [
                ("0001_multiobj".to_owned(), Topics::MadeOnUse),
                ("0011_produce_batch".to_owned(), Topics::MadeOnUse),
                ("0049_consume_conn_close".to_owned(), Topics::MadeOnUse),
                ("0107_topic_recreate".to_owned(), Topics::MadeByAdmin),
                ("0055_producer_latency".to_owned(), Topics::MadeOnUse),
            ]
        );
    }
}
