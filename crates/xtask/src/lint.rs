//! `cargo xtask lint`: what can be said of the code without running it.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::checkout::{Checkout, Profile};
use crate::command::{self, find};
use crate::steps::Steps;
use crate::{build_tools, readme, tree};

const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// What `cargo xtask lint` is asked for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install cargo-deny where it is missing (this compiles for minutes)
    #[arg(long)]
    deny: bool,
}

/// Runs every check; the dependencies' licences only where cargo-deny is installed.
///
/// # Errors
/// Never: what fails is counted.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::begin();
    steps.require("build tools", build_tools::install);
    steps.require("formatting", || formatting(checkout));
    steps.require("lints", || clippy(checkout));
    steps.require("source tree", || tree::check(checkout.root()));
    steps.require("README", || {
        let mut build = checkout.cargo(&["build", "--quiet", "-p", "server"]);
        command::run(build.args(build_tools::WITH_TLS))?;
        readme::check(
            checkout.root(),
            &checkout.binary(Profile::Debug, "tidemill"),
        )
    });
    if args.deny && find("cargo-deny").is_none() {
        steps.require("bring cargo-deny", || {
            command::run(&mut checkout.cargo(&["install", "--locked", CARGO_DENY]))
        });
    }
    steps.offer("licences, bans and sources", || {
        deny(checkout, &["licenses", "bans", "sources"])
    });
    // Needs the advisory database from the network, which not every machine reaches.
    steps.offer("advisories", || deny(checkout, &["advisories"]));
    Ok(steps.finish())
}

/// Whether every file is formatted.
///
/// # Errors
/// When one is not.
pub(crate) fn formatting(checkout: &Checkout) -> Result<()> {
    command::run(&mut checkout.cargo(&["fmt", "--all", "--check"]))
}

/// Whether clippy has nothing to say.
///
/// # Errors
/// When it has.
pub(crate) fn clippy(checkout: &Checkout) -> Result<()> {
    let mut clippy = checkout.cargo(&["clippy", "--workspace", "--all-targets"]);
    let strict = ["--", "-D", "warnings"];
    command::run(clippy.args(build_tools::WITH_TLS).args(strict))
}

fn deny(checkout: &Checkout, checks: &[&str]) -> Result<()> {
    if find("cargo-deny").is_none() {
        bail!("cargo-deny is not installed; `cargo xtask lint --deny` installs it");
    }
    command::run(checkout.cargo(&["deny", "check"]).args(checks))
}
