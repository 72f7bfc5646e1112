//! `cargo xtask servers`: the peers of the tests, for a person to work with.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::checkout::Checkout;
use crate::contract;
use crate::peers::{self, Azure, Gcs, Kafka, KafkaCluster, Mariadb, Peer, Postgres, Registry, S3};
use crate::steps::Steps;

/// What `cargo xtask servers` is asked for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which server
    #[arg(default_value = "all")]
    server: Server,
    /// End the servers that the latest `cargo xtask servers` has started
    #[arg(long)]
    stop: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Server {
    /// Azurite, an emulator of Azure Blob Storage, from npm
    Azure,
    /// An emulator of Google Cloud Storage, from PyPI
    Gcs,
    /// Apache Kafka (KRaft, one node), from Maven Central
    Kafka,
    /// Apache Kafka as a cluster of three nodes, replication factor 3
    KafkaCluster,
    /// MariaDB whose log has every row, from Debian
    Mariadb,
    /// PostgreSQL with logical replication on, from Debian
    Postgres,
    /// A registry of container images, from Debian
    Registry,
    /// An S3-compatible store, built through the Go module proxy
    S3,
    /// Kafka with one node, MariaDB, PostgreSQL, the registry, the store and the emulators
    All,
}

impl Server {
    fn peers(self) -> &'static [&'static dyn Peer] {
        match self {
            Self::Azure => &[&Azure],
            Self::Gcs => &[&Gcs],
            Self::Kafka => &[&Kafka],
            Self::KafkaCluster => &[&KafkaCluster],
            Self::Mariadb => &[&Mariadb],
            Self::Postgres => &[&Postgres],
            Self::Registry => &[&Registry],
            Self::S3 => &[&S3],
            Self::All => &[&Azure, &Gcs, &Kafka, &Mariadb, &Postgres, &Registry, &S3],
        }
    }
}

/// Starts servers and keeps them until Ctrl-C, SIGTERM or `--stop`.
///
/// # Errors
/// When one cannot be had or started, or there is nothing to stop.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    let pid_file = checkout.cache().folder().join("servers.pid");
    if args.stop {
        return stop(&pid_file);
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("watch for Ctrl-C")?;
    let mut steps = Steps::begin();
    let mut running = Vec::new();
    for peer in args.server.peers() {
        match peers::provide(*peer, checkout.cache(), &mut steps) {
            Some(server) => running.push(server),
            None => bail!("{} is not running", peer.name()),
        }
    }
    fs::create_dir_all(checkout.cache().folder()).context("make the cache folder")?;
    fs::write(&pid_file, std::process::id().to_string())
        .with_context(|| format!("write {}", pid_file.display()))?;
    println!("\n# Ready. Ctrl-C ends them and removes their data.");
    running
        .iter()
        .for_each(|server| contract::print(&server.exports));
    signals.forever().next();
    drop(running);
    fs::remove_file(&pid_file).with_context(|| format!("remove {}", pid_file.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn stop(pid_file: &Path) -> Result<ExitCode> {
    let Ok(text) = fs::read_to_string(pid_file) else {
        bail!("no servers are running")
    };
    let pid = text
        .trim()
        .parse()
        .ok()
        .and_then(Pid::from_raw)
        .with_context(|| format!("read {}", pid_file.display()))?;
    // The number may have gone to another program since; ours is the one that is called xtask.
    let name =
        fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default();
    if name.trim() != "xtask" {
        fs::remove_file(pid_file)
            .with_context(|| format!("remove stale {}", pid_file.display()))?;
        bail!("no servers are running");
    }
    kill_process(pid, Signal::TERM).context("ask the servers to end")?;
    while test_kill_process(pid).is_ok() {
        thread::sleep(Duration::from_millis(50));
    }
    println!("stopped");
    Ok(ExitCode::SUCCESS)
}
