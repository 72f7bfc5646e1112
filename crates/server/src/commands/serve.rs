//! `tidemill serve`.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli;
use crate::config::Config;
use crate::serve::{Footing, Running};
use crate::telemetry;

/// What is done before there is more than one thread. `None` when that was all.
///
/// # Errors
/// The settings are wrong, or this machine or the data folder refuse what is needed.
#[expect(clippy::print_stdout, reason = "the command's own output")]
pub(crate) fn prepare(arguments: &cli::Serve) -> anyhow::Result<Option<(Config, Footing)>> {
    let config = Config::load(arguments)?;
    if arguments.print_config {
        print!("{}", toml::to_string_pretty(&config)?);
        return Ok(None);
    }
    telemetry::start_log(&config.telemetry)?;
    let footing = Footing::find(&config)?;
    if rustix::process::geteuid().is_root() {
        tracing::warn!(
            "the server itself keeps root's rights. Have it give them up: name an account for it, \
             user = \"NAME\" in its settings or --user NAME"
        );
    }
    Ok(Some((config, footing)))
}

/// Runs the server until it is told to stop.
#[expect(clippy::print_stdout, reason = "the command's own output")]
pub(crate) async fn run(config: Config, footing: Footing) -> anyhow::Result<ExitCode> {
    let running = Running::start(config, footing).await?;
    print!("{}", running.exports());
    until_told_or_failed(running).await
}

/// Waits for SIGTERM, Ctrl-C or the failure of a part, then drains.
pub(crate) async fn until_told_or_failed(mut running: Running) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for Ctrl-C")?;
    let failure = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failure = running.failed() => Some(failure),
    };
    tracing::info!("stopping: running invocations may finish");
    // A second signal means it.
    tokio::select! {
        () = running.stop() => {}
        _ = terminate.recv() => return Ok(ExitCode::FAILURE),
        _ = interrupt.recv() => return Ok(ExitCode::FAILURE),
    }
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(failure),
    }
}
