//! `cargo xtask`: every chore of this repository in one place.
//!
//! It is the only way tests are run (`cargo xtask test` is what the README and CI call), so that a
//! newcomer's machine, a maintainer's and CI's do the same thing. It brings what the tests need to
//! the machine, starts the real servers that they compare with, and hands the tests their addresses
//! in the environment (see [`contract`] for the names). It knows cargo, Debian's packages and the
//! peers; it knows nothing of Tidemill's insides and depends on none of its crates, so that it
//! compiles in seconds.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a command-line tool: it prints, reads the environment, times its steps and waits for servers"
)]

mod bench;
mod build_tools;
mod cache;
mod cargo_test;
mod checkout;
mod clients;
mod command;
mod contract;
mod crash;
mod debian;
mod fuzz;
mod golang;
mod group;
mod librdkafka;
mod lint;
mod needs;
mod peers;
mod readme;
mod servers;
mod steps;
mod tally;
mod test;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use checkout::Checkout;

/// Tests, lints and measures Tidemill, and starts the servers that its tests run against.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Builds go to $CARGO_TARGET_DIR, or else to tidemill/target in your cache folder, one \
    checkout at a time; downloaded servers and clients go to tidemill/peers beside it. Deleting either \
    is safe."
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run everything that must hold; ends with `N passed, N failed, N skipped`
    Test(test::Args),
    /// Check formatting, lints, licences and what the README claims
    Lint(lint::Args),
    /// Run the benchmarks of record and print their table
    Bench(bench::Args),
    /// Kill the server, or break the log's process, calls or disk, and check the accounts
    Crash(crash::Args),
    /// Look for bytes that break what holds for any bytes
    Fuzz(fuzz::Args),
    /// Run librdkafka's own tests against the Kafka port
    Librdkafka(librdkafka::Args),
    /// Start the real servers that tests run against, until Ctrl-C
    Servers(servers::Args),
    /// Bring clients that tests use to this machine
    Clients(clients::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Checkout::of_this_run().and_then(|checkout| {
        checkout.claim()?;
        match cli.task {
            Task::Test(args) => test::run(&checkout, &args),
            Task::Lint(args) => lint::run(&checkout, &args),
            Task::Bench(args) => bench::run(&checkout, &args),
            Task::Crash(args) => crash::run(&checkout, &args),
            Task::Fuzz(args) => fuzz::run(&checkout, &args),
            Task::Librdkafka(args) => librdkafka::run(&checkout, &args),
            Task::Servers(args) => servers::run(&checkout, &args),
            Task::Clients(args) => clients::run(&checkout, &args),
        }
    });
    match outcome {
        Ok(code) => code,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
