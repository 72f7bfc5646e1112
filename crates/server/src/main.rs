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

use clap::Parser;

use crate::cli::{Cli, Command};

/// A request of one record takes dozens of small allocations; this takes a tenth off the whole.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A worker has threads of its own, and nothing of the server's.
    if let Command::WasmWorker(arguments) = cli.command {
        return commands::wasm_worker::run(arguments);
    }
    // The one TLS implementation in the binary, for clients of stores; nothing else may choose one.
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return failed(&anyhow::anyhow!("another TLS implementation is installed"));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tidemill")
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::new(error).context("start the runtime")),
    };
    let code = match runtime.block_on(run(cli)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    };
    // Everything has ended but, perhaps, a question to a foreign broker that does not answer.
    runtime.shutdown_timeout(LAST_QUESTIONS);
    code
}

/// How long a call that waits on a thread of its own may hold up the end of the process.
const LAST_QUESTIONS: Duration = Duration::from_millis(100);

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Serve(arguments) => commands::serve::run(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Logs(arguments) => commands::logs::run(arguments).await,
        Command::Billing(arguments) => commands::billing::run(arguments).await,
        Command::Status(arguments) => commands::status::run(arguments).await,
        Command::Connector(arguments) => commands::connector::run(arguments).await,
        Command::Log(arguments) => commands::log::run(&arguments),
        Command::WasmWorker(arguments) => Ok(commands::wasm_worker::run(arguments)),
    }
}

/// One line for people: what failed, then why.
#[expect(clippy::print_stderr, reason = "the command line's own error output")]
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("tidemill: {error:#}");
    ExitCode::FAILURE
}
