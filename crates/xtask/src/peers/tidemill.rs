//! Our own server, for suites that know nothing of it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Running, Start, free_ports, kafka, temporary_folder};
use crate::contract;
use crate::group::{Group, Stop};

/// The server built from this checkout.
pub(crate) struct Tidemill {
    binary: PathBuf,
}

impl Tidemill {
    /// The server in that file.
    pub(crate) fn at(binary: PathBuf) -> Self {
        Self { binary }
    }

    /// Starts it on an empty folder with `settings` in TOML; its Kafka port is the first export.
    ///
    /// # Errors
    /// As [`super::Peer::start`].
    pub(crate) fn start(&self, settings: &str) -> Result<Running> {
        let folder = temporary_folder()?;
        let config = folder.path().join("tidemill.toml");
        fs::write(&config, settings).context("write tidemill.toml")?;
        let [http, port] = free_ports()?;
        let mut server = Group::command(&self.binary, Stop::Terminate);
        server
            .arg("serve")
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .args(["--http", &format!("127.0.0.1:{http}")])
            .args(["--kafka", &format!("127.0.0.1:{port}")])
            .arg("--config")
            .arg(config);
        let exports = vec![(contract::KAFKA, format!("127.0.0.1:{port}"))];
        Start {
            name: "tidemill",
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut server, exports, || kafka::answers(port))
    }
}
