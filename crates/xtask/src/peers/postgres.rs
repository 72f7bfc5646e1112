//! PostgreSQL, from Debian's packages.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{Peer, Running, Start, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::command::output;
use crate::contract;
use crate::debian;
use crate::group::{Group, Stop};

/// Where Debian puts what clients must not find on their path.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The account that Debian's package makes; PostgreSQL refuses to run as root.
const ACCOUNT: &str = "postgres";

/// A server with a fresh, empty cluster that logical replication can read from.
pub(crate) struct Postgres;

impl Peer for Postgres {
    fn name(&self) -> &'static str {
        "PostgreSQL 15"
    }

    fn install(&self, _cache: &Cache) -> Result<PathBuf> {
        let programs = PathBuf::from(PROGRAMS);
        if !programs.join("postgres").is_file() {
            debian::install("postgresql-15")?;
        }
        Ok(programs)
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let data = folder.path().join("data");
        if is_root() {
            chown(folder.path(), Some(id_of("-u")?), Some(id_of("-g")?))
                .context("give the data folder away")?;
        }
        let init = [
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ];
        output(
            as_account(&installed.join("initdb"))
                .args(init)
                .arg("--pgdata")
                .arg(&data),
        )?;

        let mut server = as_account(&installed.join("postgres"));
        server.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "wal_level=logical",
            "max_replication_slots=32",
            "max_wal_senders=32",
        ] {
            server.args(["-c", setting]);
        }
        let exports = vec![
            (
                contract::POSTGRES,
                format!("postgres://postgres@127.0.0.1:{port}/postgres"),
            ),
            (contract::POSTGRES_PROGRAMS, installed.display().to_string()),
        ];
        let ready = installed.join("pg_isready");
        Start {
            name: self.name(),
            folder,
            stop: Stop::Interrupt,
        }
        .until(&mut server, exports, || answers(&ready, port))
    }
}

fn answers(pg_isready: &Path, port: u16) -> bool {
    let port = port.to_string();
    Command::new(pg_isready)
        .args(["--quiet", "--host=127.0.0.1", "--port", &port])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn as_account(program: &Path) -> Command {
    let mut command = if is_root() {
        Group::command_as(ACCOUNT, program, Stop::Interrupt)
    } else {
        Group::command(program, Stop::Interrupt)
    };
    // The account may not enter the folder that we were started in.
    command.current_dir("/");
    command
}

fn id_of(which: &str) -> Result<u32> {
    output(Command::new("id").args([which, ACCOUNT]))?
        .trim()
        .parse()
        .context("read the id of the postgres account")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
