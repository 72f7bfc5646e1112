//! `cargo xtask crash`: the crash tests for as many rounds as one has patience for.

use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::checkout::{Checkout, Profile};
use crate::clients::Client;
use crate::peers::{KafkaCluster, Peer as _, S3};
use crate::{build_tools, command, contract};

/// What `cargo xtask crash` is asked for.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask crash --rounds 200
  cargo xtask crash --rig power --rounds 10000 --release
  cargo xtask crash --rig damage --rounds 524288 --release
  cargo xtask crash --rig cluster --rounds 10
  cargo xtask crash --rig store --rounds 20

The rigs other than `server`, `cluster` and `store` take the embedded log by itself, through a workload that says what it \
attempts and what was acknowledged; each ends with what it did and what zero failures are worth. \
`power` and `sync` need root, loop devices and ext4; `syscall` and `sync` need strace.")]
pub(crate) struct Args {
    /// What is broken
    #[arg(long, value_enum, default_value_t = Rig::Server)]
    rig: Rig,
    /// How often
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Break an optimised program instead of one with debug assertions
    #[arg(long)]
    release: bool,
}

/// A way to fail.
#[derive(Clone, Copy, ValueEnum)]
enum Rig {
    /// SIGKILL to a whole server at random moments under load
    Server,
    /// On three Kafka nodes, three of ours: each round kills a broker and a node, pauses a node beyond
    /// its session and stops one, under load
    Cluster,
    /// SIGKILL to another S3-compatible store and to our server while objects are written, with none, half
    /// and all of the notifications lost
    Store,
    /// SIGKILL at named points around every change to the disk
    Kill,
    /// SIGKILL at every system call, of a workload and of recovery
    Syscall,
    /// Syncs that fail, and a power cut right after
    Sync,
    /// Power cuts on a real file system, with lost and torn writes
    Power,
    /// Flipped bits and other damage to stored segments
    Damage,
}

impl Rig {
    /// The tests of the log's rigs that belong to it; `None` for whole servers.
    fn tests(self) -> Option<&'static str> {
        match self {
            Self::Server | Self::Cluster | Self::Store => None,
            Self::Kill => Some("kill::"),
            Self::Syscall => Some("syscall::"),
            Self::Sync => Some("sync_error::"),
            Self::Power => Some("power::"),
            Self::Damage => Some("damage::"),
        }
    }

    fn clients(self) -> &'static [Client] {
        match self {
            Self::Server | Self::Cluster | Self::Store | Self::Kill | Self::Damage => &[],
            Self::Syscall => &[Client::Strace],
            Self::Sync => &[Client::Strace, Client::XfsIo, Client::MkfsExt4],
            Self::Power => &[Client::XfsIo, Client::MkfsExt4],
        }
    }
}

/// Builds what is to be broken, and breaks it.
///
/// # Errors
/// When something does not build, or a round leaves the accounts wrong.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    let profile = if args.release {
        Profile::Release
    } else {
        Profile::Debug
    };
    build_tools::install()?;
    let mut exports = Vec::new();
    for client in args.rig.clients() {
        exports.extend(client.installed(checkout.cache())?);
    }
    let mut store = None;
    let whole = match args.rig {
        Rig::Cluster => {
            exports.extend(KafkaCluster::parts(checkout.cache())?);
            let running = S3.start(&S3.install(checkout.cache())?)?;
            exports.extend(running.exports.iter().cloned());
            store = Some(running);
            &["cluster"][..]
        }
        Rig::Store => {
            let running = S3.start(&S3.install(checkout.cache())?)?;
            exports.extend(running.exports.iter().cloned());
            store = Some(running);
            &["e2e", "connectors::notifications"]
        }
        Rig::Server | Rig::Kill | Rig::Syscall | Rig::Sync | Rig::Power | Rig::Damage => {
            &["e2e", "crash"]
        }
    };
    let mut test = match args.rig.tests() {
        Some(tests) => {
            let mut test = checkout.cargo(&["test", "-p", "log-rigs", "--test", "rigs"]);
            test.args(profile.flags()).arg(tests);
            test
        }
        None => {
            let mut build = checkout.cargo(&["build", "-p", "server", "-p", "order-total"]);
            command::run(build.args(build_tools::WITH_TLS).args(profile.flags()))?;
            exports.extend(checkout.exports(profile)?);
            let mut test = checkout.cargo(&["test", "-p", "tests", "--test"]);
            test.args(whole);
            test
        }
    };
    test.args(["--", "--nocapture"])
        .envs(exports)
        .env(contract::CRASH_ROUNDS, args.rounds.to_string());
    command::run(&mut test)?;
    drop(store);
    Ok(ExitCode::SUCCESS)
}
