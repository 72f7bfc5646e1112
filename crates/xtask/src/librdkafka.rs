//! `cargo xtask librdkafka`: the test suite of librdkafka, run against our Kafka port.
//!
//! Nobody here has written these tests, and they hold a broker to what the most used client
//! expects of it. They come with the sources that the tests' own client is built from, and are
//! built and run unchanged. What does not pass is listed with its reason in
//! `tests/librdkafka.toml`; anything else that fails fails the run.

mod expectations;
mod runner;
mod suite;

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;
use serde::Deserialize;

use crate::checkout::{Checkout, Profile};
use crate::peers::{self, Kafka, Peer as _, Tidemill};
use crate::steps::Steps;
use crate::{build_tools, command};

use expectations::{Expectations, Verdict};
use runner::{Limits, Outcome, Place, State};
use suite::{Suite, Topics};

/// What `cargo xtask librdkafka` is asked for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Slow tests too
    #[arg(long)]
    all: bool,
    /// Which broker
    #[arg(long, value_enum, default_value_t = Against::Tidemill)]
    against: Against,
    /// The group protocol of the suite's consumers
    #[arg(long, value_enum, default_value_t = GroupProtocol::Classic)]
    group_protocol: GroupProtocol,
    /// How many tests run at once
    #[arg(long, default_value_t = Limits::default().parallel, value_name = "TESTS")]
    parallel: usize,
}

/// The broker that the suite judges.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    /// The server built from this checkout.
    Tidemill,
    /// Apache Kafka: what fails there too is the suite's fault or the machine's.
    Kafka,
}

/// How the suite's consumers form groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GroupProtocol {
    /// The older protocol: consumers assign.
    Classic,
    /// The newer one: the broker assigns.
    Consumer,
}

impl GroupProtocol {
    /// The suite's name for it, and `group.protocol`'s.
    fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// Which tests are run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those that fit into a run of everything.
    Quick,
    /// The slow ones too.
    All,
}

/// One run of the suite.
#[derive(Clone, Copy)]
struct Plan<'a> {
    against: Against,
    protocol: GroupProtocol,
    extent: Extent,
    filter: Option<&'a str>,
    limits: Limits,
}

/// Builds the suite and the server, and runs it.
///
/// # Errors
/// When something does not build; whatever else goes wrong is counted.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::begin();
    if args.against == Against::Tidemill {
        let mut build = checkout.cargo(&["build", "-p", "server"]);
        command::run(build.args(build_tools::WITH_TLS))?;
    }
    let plan = Plan {
        against: args.against,
        protocol: args.group_protocol,
        extent: if args.all || args.filter.is_some() {
            Extent::All
        } else {
            Extent::Quick
        },
        filter: args.filter.as_deref(),
        limits: Limits {
            parallel: args.parallel.max(1),
            ..Limits::default()
        },
    };
    plan.carry_out(checkout, &mut steps);
    Ok(steps.finish())
}

/// The same as part of `cargo xtask test`, with the server that is built already.
pub(crate) fn as_part_of_tests(checkout: &Checkout, steps: &mut Steps) {
    let plan = Plan {
        against: Against::Tidemill,
        protocol: GroupProtocol::Classic,
        extent: Extent::Quick,
        filter: None,
        limits: Limits::default(),
    };
    plan.carry_out(checkout, steps);
}

impl Plan<'_> {
    fn carry_out(self, checkout: &Checkout, steps: &mut Steps) {
        let bring = || Suite::installed(checkout);
        let Some(suite) = steps.offer("bring librdkafka's tests", bring) else {
            return;
        };
        let read = || Expectations::read(&checkout.root().join("tests/librdkafka.toml"));
        let Some(expectations) = steps.require("expectations of librdkafka's tests", read) else {
            return;
        };
        for topics in [Topics::MadeOnUse, Topics::MadeByAdmin] {
            let wanted = suite.tests.iter().filter(|test| {
                test.topics == topics
                    && self.filter.is_none_or(|filter| test.name.contains(filter))
                    && (self.extent == Extent::All || !expectations.is_slow(&test.name))
            });
            let wanted: Vec<_> = wanted.collect();
            if wanted.is_empty() {
                continue;
            }
            let started = steps.require("start the broker for librdkafka's tests", || {
                start(checkout, self.against, topics)
            });
            let Some(broker) = started else {
                return;
            };
            let bootstrap = broker.exports[0].1.clone();
            let place = Place {
                bootstrap: &bootstrap,
                protocol: self.protocol,
                topics,
            };
            let name = format!("librdkafka's tests, topics {}", topics.words());
            let run = || runner::run(&suite, &wanted, place, self.limits);
            let Some(outcomes) = steps.require(&name, run) else {
                continue;
            };
            let fails = |outcome: &Outcome| {
                let verdict = expectations.judge(outcome, self.protocol);
                matches!(verdict, Verdict::Failed(_))
            };
            let (failed, mut outcomes): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(fails);
            let again = wanted.iter().copied();
            let again = again.filter(|test| failed.iter().any(|one| one.test == test.name));
            let again: Vec<_> = again.collect();
            if !again.is_empty() {
                // The suite counts on its timing: what fails beside others is judged alone.
                let alone = Limits {
                    parallel: 1,
                    ..self.limits
                };
                let run = || runner::run(&suite, &again, place, alone);
                let ran = steps.require("librdkafka's tests that failed, one by one", run);
                let ran = ran.into_iter().flatten();
                outcomes.extend(ran.inspect(|outcome| {
                    if outcome.state == State::Passed {
                        steps.note(format!("librdkafka {}: passed alone only", outcome.test));
                    }
                }));
            }
            for outcome in outcomes {
                match expectations.judge(&outcome, self.protocol) {
                    Verdict::Passed => steps.pass(),
                    Verdict::PassedAgain(why) => {
                        steps.pass();
                        steps.note(why);
                    }
                    Verdict::Excluded => {}
                    Verdict::Failed(why) => steps.fail(&why),
                    Verdict::Skipped(why) => steps.skip(&why),
                }
            }
        }
    }
}

fn start(checkout: &Checkout, against: Against, topics: Topics) -> Result<peers::Running> {
    // What librdkafka's own clusters are set up with.
    const PARTITIONS: &str = "4";
    match against {
        Against::Tidemill => {
            let create = topics == Topics::MadeOnUse;
            // The suite was made for three brokers and asks for as many replicas.
            let settings = format!(
                "[kafka]\ndefault_partitions = {PARTITIONS}\nauto_create_topics = {create}\n\
                 any_replication_factor = true\n"
            );
            Tidemill::at(checkout.binary(Profile::Debug, "tidemill")).start(&settings)
        }
        Against::Kafka => {
            let create = topics == Topics::MadeOnUse;
            let settings =
                format!("num.partitions={PARTITIONS}\nauto.create.topics.enable={create}\n");
            Kafka.start_with(&Kafka.install(checkout.cache())?, &settings)
        }
    }
}
