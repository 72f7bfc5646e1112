//! `cargo xtask bench`: the benchmarks of record.

use std::process::ExitCode;

use anyhow::Result;

use crate::checkout::{Checkout, Profile};
use crate::clients::Client;
use crate::command;
use crate::contract::Export;
use crate::peers::{self, FlushingKafka, Kafka, Nats, Peer, Postgres, Running, S3, Streams};
use crate::steps::Steps;

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
    let mut steps = Steps::begin();
    let running: Vec<Running> = peers_of(&args.harness)
        .into_iter()
        .filter_map(|peer| peers::provide(peer, checkout.cache(), &mut steps))
        .collect();
    let programs: Vec<Export> = clients_of(&args.harness)
        .iter()
        .filter_map(|client| {
            steps.offer(&format!("bring {}", client.name()), || {
                client.installed(checkout.cache())
            })
        })
        .flatten()
        .collect();
    let theirs = running.iter().flat_map(|server| server.exports.clone());
    let mut harness = checkout.cargo(&["run", "--quiet", "--release", "-p", "benches", "--"]);
    command::run(
        harness
            .args(&args.harness)
            .envs(checkout.exports(Profile::Release)?)
            .envs(theirs)
            .envs(programs),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn runs(benchmarks: &[String], name: &str) -> bool {
    benchmarks.is_empty() || benchmarks.iter().any(|given| given == name)
}

/// The programs that the benchmarks of these names start; no name means all of them.
fn clients_of(benchmarks: &[String]) -> Vec<Client> {
    let mut clients = Vec::new();
    if runs(benchmarks, "instances") {
        clients.extend([
            Client::Python,
            Client::Rie,
            Client::CargoLambda,
            Client::Crun,
            Client::Podman,
        ]);
    }
    if runs(benchmarks, "put") {
        clients.push(Client::Minio);
    }
    if runs(benchmarks, "tables") {
        clients.push(Client::Debezium);
    }
    clients
}

/// The servers that the benchmarks of these names measure beside ours; no name means all of them.
fn peers_of(benchmarks: &[String]) -> Vec<&'static dyn Peer> {
    let runs = |name| runs(benchmarks, name);
    let mut peers: Vec<&'static dyn Peer> = Vec::new();
    if runs("peers") || runs("clients") {
        peers.push(&Kafka);
    }
    if runs("peers") {
        peers.extend([&FlushingKafka as &dyn Peer, &Nats, &Streams]);
    }
    if runs("objects") {
        peers.push(&S3);
    }
    if runs("tables") {
        peers.push(&Postgres);
    }
    peers
}
