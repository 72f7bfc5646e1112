//! Azurite (MIT), Microsoft's emulator of Azure Blob Storage, from npm.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::clients;
use crate::contract;
use crate::group::{Group, Stop};

/// The last that the Node.js of Debian runs: 3.37 wants Node.js 22.
const PACKAGE: &str = "azurite@3.35.0";
const ACCOUNT: &str = "tidemilltest";
const KEY: &str = "dGlkZW1pbGwtdGVzdC1zZWNyZXQtb2YtYXp1cmU=";

/// The service for blobs alone, with one account.
pub(crate) struct Azure;

impl Peer for Azure {
    fn name(&self) -> &'static str {
        "Azurite 3.35.0"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        let modules = clients::node_modules(cache, "azurite", PACKAGE)?;
        Ok(modules.join(".bin/azurite-blob"))
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let mut server = Group::command(installed, Stop::Terminate);
        server.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        server.args(["--silent", "--disableTelemetry", "--location"]);
        server.arg(folder.path());
        server.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
        let exports = vec![
            (
                contract::AZURE,
                format!("http://127.0.0.1:{port}/{ACCOUNT}"),
            ),
            (contract::AZURE_KEY, KEY.to_owned()),
        ];
        let request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
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
