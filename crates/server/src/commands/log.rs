//! `tidemill log`: what is in the log of a server that has stopped.

mod check;
mod dump;
mod stat;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clock::{SharedClock, SystemClock};
use event_log::Error;
use event_log::inspect::{Depth, Inspection};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{self, LogCommand};

/// Looks into the log.
pub(crate) fn run(arguments: &cli::Log) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = match &arguments.command {
        LogCommand::Check => check::run(arguments, &mut out),
        LogCommand::Dump(dump) => dump::run(arguments, dump, &mut out),
        LogCommand::Stat => stat::run(arguments, &mut out),
    };
    match written.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        // Whoever read the output has had enough.
        Err(error) if is_closed_pipe(&error) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let source = error.downcast_ref::<io::Error>();
    source.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Opens the log of the data folder, with a bar on a terminal while that takes its time.
fn open(arguments: &cli::Log, depth: Depth, bar: &ProgressBar) -> anyhow::Result<Inspection> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let dir = arguments.data_dir.join("log");
    let moved = bar.clone();
    let progress = Arc::new(move |bytes| moved.inc(bytes));
    Inspection::open(&dir, depth, &clock, progress).map_err(|error| match error {
        Error::Locked { .. } => anyhow!(
            "a server runs on {}: stop it first (`tidemill status` tells what it does, and any Kafka client reads its topics)",
            arguments.data_dir.display()
        ),
        error @ Error::Io { .. } if !dir.is_dir() => anyhow::Error::new(error).context(format!(
            "{} is not the data folder of a server: name it with --data-dir",
            arguments.data_dir.display()
        )),
        other => anyhow::Error::new(other),
    })
}

/// A bar over `bytes` bytes; drawn on a terminal only.
fn bar(bytes: u64, message: &'static str) -> anyhow::Result<ProgressBar> {
    let style = "{msg} {wide_bar} {bytes} of {total_bytes}, {eta} to go";
    let bar = ProgressBar::new(bytes);
    bar.set_style(ProgressStyle::with_template(style).context("a sound template")?);
    bar.set_message(message);
    Ok(bar)
}

/// Bytes that a check of the folder reads, as far as its files tell.
fn bytes_in(arguments: &cli::Log) -> u64 {
    let journals =
        ["events", "long-lived"].map(|journal| arguments.data_dir.join("log").join(journal));
    let files = journals
        .iter()
        .filter_map(|dir| dir.read_dir().ok())
        .flatten();
    let lengths = files.flatten().filter_map(|file| file.metadata().ok());
    lengths.map(|file| file.len()).sum()
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}
