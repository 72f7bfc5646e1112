//! `cargo xtask crash`: the crash test for as many rounds as one has patience for.

use std::process::ExitCode;

use anyhow::Result;

use crate::checkout::{Checkout, Profile};
use crate::{command, contract};

/// What `cargo xtask crash` is asked for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often the server is killed at a random moment under load
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Kill an optimised server instead of one with debug assertions
    #[arg(long)]
    release: bool,
}

/// Builds the server and runs the crash test against it.
///
/// # Errors
/// When something does not build, or a round leaves the accounts wrong.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    let profile = if args.release {
        Profile::Release
    } else {
        Profile::Debug
    };
    command::run(
        checkout
            .cargo(&["build", "-p", "server", "-p", "order-total"])
            .args(profile.flags()),
    )?;
    let mut test = checkout.cargo(&[
        "test",
        "-p",
        "tests",
        "--test",
        "e2e",
        "crash",
        "--",
        "--nocapture",
    ]);
    test.envs(checkout.exports(profile)?)
        .env(contract::CRASH_ROUNDS, args.rounds.to_string());
    command::run(&mut test)?;
    Ok(ExitCode::SUCCESS)
}
