//! `cargo xtask bench`: the benchmarks of record.

use std::process::ExitCode;

use anyhow::Result;

use crate::checkout::{Checkout, Profile};
use crate::command;

/// What `cargo xtask bench` is asked for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Passed on to the harness; `-- --help` lists what it takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    harness: Vec<String>,
}

/// Builds the server and the compiled example with optimisations, and runs the harness, which prints its table.
///
/// # Errors
/// When something does not build, or the harness fails.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    command::run(&mut checkout.cargo(&[
        "build",
        "--release",
        "-p",
        "server",
        "-p",
        "order-total",
        "-p",
        "benches",
    ]))?;
    let mut harness = checkout.cargo(&["run", "--quiet", "--release", "-p", "benches", "--"]);
    command::run(
        harness
            .args(&args.harness)
            .envs(checkout.exports(Profile::Release)?),
    )?;
    Ok(ExitCode::SUCCESS)
}
