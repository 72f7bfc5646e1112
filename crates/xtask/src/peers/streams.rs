//! The durable-streams server, built from its crate.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::command;
use crate::contract;
use crate::group::{Group, Stop};

const CRATE: &str = "durable-streams";
const VERSION: &str = "0.1.5";

/// A single server with its write-ahead log on, as its own figures of record were taken.
pub(crate) struct Streams;

impl Peer for Streams {
    fn name(&self) -> &'static str {
        "durable-streams 0.1.5"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        let folder = cache.fetched("durable-streams", VERSION, |folder| {
            let mut install = Command::new("cargo");
            install.args([
                "install",
                "--quiet",
                "--locked",
                CRATE,
                "--version",
                VERSION,
            ]);
            command::run(install.arg("--root").arg(folder))
        })?;
        Ok(folder.join("bin/durable-streams-server"))
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let mut server = Group::command(installed, Stop::Terminate);
        server.args(["--durability", "wal", "--wal-shards", "1"]);
        server.args(["--worker-threads", "2", "--port", &port.to_string()]);
        server.arg("--data-dir").arg(folder.path().join("data"));
        let exports = vec![(contract::BENCH_STREAMS, format!("127.0.0.1:{port}"))];
        let request =
            b"GET /v1/stream/none HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        Start {
            name: self.name(),
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut server, exports, || {
            ask::<9>(port, request) == Some(*b"HTTP/1.1 ")
        })
    }
}
