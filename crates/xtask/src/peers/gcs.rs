//! An emulator of Google Cloud Storage: gcp-storage-emulator (BSD-3-Clause), from PyPI.
//!
//! It shows a listing on one page. fake-gcs-server, which has pages, takes a minute and a half of a
//! processor to build, and this one two seconds to fetch.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::clients::Client;
use crate::command;
use crate::contract;
use crate::group::{Group, Stop};

const PACKAGES: [&str; 2] = ["gcp-storage-emulator==2026.7.19", "google-crc32c==1.9.0"];

/// The JSON API over memory.
pub(crate) struct Gcs;

impl Peer for Gcs {
    fn name(&self) -> &'static str {
        "gcp-storage-emulator 2026.7.19"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        let clients = Client::Python.installed(cache)?;
        let python = clients.iter().find(|(name, _)| *name == contract::PYTHON);
        let (_, python) = python.context("the Python of the clients")?;
        let folder = cache.fetched("gcp-storage-emulator", &PACKAGES.concat(), |folder| {
            let mut pip = Command::new(python);
            pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
            command::run(pip.arg(folder).args(PACKAGES))
        })?;
        Ok(folder.join("bin/gcp-storage-emulator"))
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let packages = installed.ancestors().nth(2);
        let mut server = Group::command(installed, Stop::Terminate);
        server.args(["start", "--in-memory", "--host", "127.0.0.1"]);
        server.args(["--port", &port.to_string()]);
        server
            .env("PYTHONPATH", packages.context("the emulator's packages")?)
            .current_dir(folder.path());
        let exports = vec![(contract::GCS, format!("http://127.0.0.1:{port}"))];
        let request = b"GET /storage/v1/b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
        Start {
            name: self.name(),
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut server, exports, || {
            ask::<5>(port, request) == Some(*b"HTTP/")
        })
    }
}
