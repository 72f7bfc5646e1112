//! `cargo xtask test`: everything that must hold, counted in one closing line.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::SIGINT;

use crate::cargo_test::{self, Selection};
use crate::checkout::{Checkout, Profile};
use crate::command;
use crate::steps::Steps;
use crate::{build_tools, librdkafka, lint, needs, readme, tree};

/// What `cargo xtask test` is asked for; nothing means everything.
#[derive(clap::Args)]
#[command(after_help = "\
Without FILTER and --package it also checks formatting, lints and the README.

Tests find the servers and clients started for them under TIDEMILL_TEST_* in the environment. \
A test that cannot run for want of one appends a line `skipped: <test>: <reason>` to the file \
$TIDEMILL_SKIPS and returns; it is counted as skipped, and under CI=true a skip fails the run. \
The names are listed in crates/xtask/src/contract.rs, and which package needs what in needs.rs \
beside it.")]
pub(crate) struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Only the tests of this package
    #[arg(long, short, value_name = "NAME")]
    package: Option<String>,
}

/// Runs the tests.
///
/// # Errors
/// When the run cannot begin or is interrupted; whatever else goes wrong is counted.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    // Ctrl-C ends cargo, which shares our terminal; the flag lets us end the servers and go.
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGINT, Arc::clone(&interrupted)).context("watch for Ctrl-C")?;
    let go_on = || {
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted")
        } else {
            Ok(())
        }
    };

    let mut steps = Steps::begin();
    let selection = Selection {
        package: args.package.as_deref(),
        filter: args.filter.as_deref(),
    };
    let everything = selection == Selection::default();
    steps.require("build tools", build_tools::install);
    if everything {
        steps.require("formatting", || lint::formatting(checkout));
        steps.require("lints", || lint::clippy(checkout));
        steps.require("source tree", || tree::check(checkout.root()));
        go_on()?;
    }
    if needs::any(selection.package)
        && steps
            .require("build", || build(checkout, everything))
            .is_none()
    {
        return Ok(steps.finish());
    }
    if everything {
        let bin = checkout.binary(Profile::Debug, "tidemill");
        steps.require("README", || readme::check(checkout.root(), &bin));
    }
    go_on()?;
    let provided = needs::provide(selection.package, checkout, &mut steps)?;
    go_on()?;
    if let Some(ran) = steps.require("tests", || {
        cargo_test::run(checkout, selection, &provided.exports, &interrupted)
    }) {
        ran.count_into(&mut steps);
    }
    drop(provided);
    if everything {
        go_on()?;
        librdkafka::as_part_of_tests(checkout, &mut steps);
    }
    Ok(steps.finish())
}

/// Compiles what tests start as separate programs.
///
/// For a full run that is everything at once: cargo then chooses each dependency's features as it
/// will for the tests themselves, and compiles none twice.
fn build(checkout: &Checkout, everything: bool) -> Result<()> {
    let what: &[&str] = if everything {
        &["build", "--workspace", "--all-targets"]
    } else {
        &["build", "-p", "server", "-p", "order-total"]
    };
    command::run(checkout.cargo(what).args(build_tools::WITH_TLS))
}
