//! An S3-compatible store that is not ours: the Versity S3 Gateway (Apache-2.0), from its Go module.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::contract;
use crate::golang;
use crate::group::{Group, Stop};

const MODULE: &str = "github.com/versity/versitygw/cmd/versitygw@v1.8.0";
const ACCESS_KEY: &str = "tidemill-test";
const SECRET_KEY: &str = "tidemill-test-secret";

/// A gateway over a folder, with versioning available, and with object metadata in files beside
/// the objects so that the folder's file system needs no extended attributes.
pub(crate) struct S3;

impl Peer for S3 {
    fn name(&self) -> &'static str {
        "Versity S3 Gateway 1.8.0"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        // Outside the closure: a fetch may not begin another one.
        let go = golang::Go::installed(cache)?;
        let folder = cache.fetched("versitygw", MODULE, |folder| go.install(MODULE, folder))?;
        Ok(folder.join("versitygw"))
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let address = format!("127.0.0.1:{port}");
        let mut gateway = Group::command(installed, Stop::Terminate);
        gateway.args(["--access", ACCESS_KEY, "--secret", SECRET_KEY]);
        gateway.args([
            "--region",
            "us-east-1",
            "--port",
            &address,
            "--quiet",
            "posix",
        ]);
        for (flag, name) in [("--versioning-dir", "versions"), ("--sidecar", "metadata")] {
            let below = folder.path().join(name);
            fs::create_dir(&below).context("make a folder for the store")?;
            gateway.arg(flag).arg(below);
        }
        let objects = folder.path().join("objects");
        fs::create_dir(&objects).context("make a folder for the store")?;
        gateway.arg(objects);
        let exports = vec![
            (contract::S3, format!("http://{address}")),
            (contract::S3_ACCESS_KEY, ACCESS_KEY.to_owned()),
            (contract::S3_SECRET_KEY, SECRET_KEY.to_owned()),
            (contract::S3_PROGRAM, installed.display().to_string()),
        ];
        Start {
            name: self.name(),
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut gateway, exports, || answers(port))
    }
}

/// Whether it speaks HTTP; an unsigned request is refused, and that is answer enough.
fn answers(port: u16) -> bool {
    ask::<9>(
        port,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n",
    ) == Some(*b"HTTP/1.1 ")
}
