//! The `tidemill` binary: parses, loads, wires, runs, drains.
//!
//! Only this crate reads configuration and environment; everything else is handed what it needs.
//! `serve` is the server; `demo` is the server with a job to do; the other commands are clients
//! that find a running server.

mod admin;
mod backing;
mod cli;
mod client;
mod code_source;
mod commands;
mod config;
mod connectors;
mod credentials;
mod demo;
mod front;
mod function_logs;
mod images;
mod kafka_port;
mod notifications;
mod operator;
mod overview;
mod registry_feed;
mod serve;
mod status;
mod telemetry;
mod topics;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;

use crate::cli::{Cli, Command};

/// A request of one record takes dozens of small allocations; this takes a tenth off the whole.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        // A worker has threads of its own, and nothing of the server's.
        Command::WasmWorker(arguments) => Ok(commands::wasm_worker::run(arguments)),
        Command::Serve(arguments) => match commands::serve::prepare(&arguments)? {
            Some((config, footing)) => block_on(commands::serve::run(config, footing)),
            None => Ok(ExitCode::SUCCESS),
        },
        Command::Demo(arguments) => block_on(demo::run(arguments)),
        Command::Logs(arguments) => block_on(commands::logs::run(arguments)),
        Command::Billing(arguments) => block_on(commands::billing::run(arguments)),
        Command::Status(arguments) => block_on(commands::status::run(arguments)),
        Command::Connector(arguments) => block_on(commands::connector::run(arguments)),
        Command::Log(arguments) => commands::log::run(&arguments),
    }
}

/// How long a call that waits on a thread of its own may hold up the end of the process.
const LAST_QUESTIONS: Duration = Duration::from_millis(100);

/// Does a command with as many threads as there are processors.
fn block_on(job: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    // The one TLS implementation in the binary, for clients of stores; nothing else may choose one.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        bail!("another TLS implementation is installed");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tidemill")
        .build()
        .context("start the runtime")?;
    let done = runtime.block_on(job);
    // Everything has ended but, perhaps, a question to a foreign broker that does not answer.
    runtime.shutdown_timeout(LAST_QUESTIONS);
    done
}

/// One line for people: what failed, then why.
#[expect(clippy::print_stderr, reason = "the command line's own error output")]
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("tidemill: {error:#}");
    ExitCode::FAILURE
}
