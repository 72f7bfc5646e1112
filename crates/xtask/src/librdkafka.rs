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

use crate::checkout::{Checkout, Profile};
use crate::command;
use crate::peers::{self, Kafka, Peer as _, Tidemill};
use crate::steps::Steps;

use expectations::{Expectations, Verdict};
use runner::Limits;
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

/// Which tests are run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those that fit into a run of everything.
    Quick,
    /// The slow ones too.
    All,
}

/// Builds the suite and the server, and runs it.
///
/// # Errors
/// When something does not build; whatever else goes wrong is counted.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::begin();
    if args.against == Against::Tidemill {
        command::run(&mut checkout.cargo(&["build", "-p", "server"]))?;
    }
    let extent = if args.all || args.filter.is_some() {
        Extent::All
    } else {
        Extent::Quick
    };
    let limits = Limits {
        parallel: args.parallel.max(1),
        ..Limits::default()
    };
    steps_of(
        checkout,
        &mut steps,
        args.against,
        extent,
        args.filter.as_deref(),
        limits,
    );
    Ok(steps.finish())
}

/// The same as part of `cargo xtask test`, with the server that is built already.
pub(crate) fn as_part_of_tests(checkout: &Checkout, steps: &mut Steps) {
    let limits = Limits::default();
    steps_of(
        checkout,
        steps,
        Against::Tidemill,
        Extent::Quick,
        None,
        limits,
    );
}

fn steps_of(
    checkout: &Checkout,
    steps: &mut Steps,
    against: Against,
    extent: Extent,
    filter: Option<&str>,
    limits: Limits,
) {
    let Some(suite) = steps.offer("bring librdkafka's tests", || Suite::installed(checkout)) else {
        return;
    };
    let read = || Expectations::read(&checkout.root().join("tests/librdkafka.toml"));
    let Some(expectations) = steps.require("expectations of librdkafka's tests", read) else {
        return;
    };
    for topics in [Topics::MadeOnUse, Topics::MadeByAdmin] {
        let wanted = suite.tests.iter().filter(|test| {
            test.topics == topics
                && filter.is_none_or(|filter| test.name.contains(filter))
                && (extent == Extent::All || !expectations.is_slow(&test.name))
        });
        let wanted: Vec<_> = wanted.collect();
        if wanted.is_empty() {
            continue;
        }
        let Some(broker) = steps.require("start the broker for librdkafka's tests", || {
            start(checkout, against, topics)
        }) else {
            return;
        };
        let name = format!("librdkafka's tests, topics {}", topics.words());
        let bootstrap = broker.exports[0].1.clone();
        let ran = steps.require(&name, || {
            runner::run(&suite, &wanted, &bootstrap, topics, limits)
        });
        for outcome in ran.into_iter().flatten() {
            match expectations.judge(&outcome) {
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

fn start(checkout: &Checkout, against: Against, topics: Topics) -> Result<peers::Running> {
    // What librdkafka's own clusters are set up with.
    const PARTITIONS: &str = "4";
    match against {
        Against::Tidemill => {
            let create = topics == Topics::MadeOnUse;
            let settings = format!(
                "[kafka]\ndefault_partitions = {PARTITIONS}\nauto_create_topics = {create}\n"
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
