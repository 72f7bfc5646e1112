//! MariaDB, from Debian's packages.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::command::output;
use crate::contract;
use crate::debian::Tool;
use crate::group::{Group, Stop};

/// What the package brings for a new data folder.
const SYSTEM_TABLES: &str = "/usr/share/mysql";
/// The account that every machine has; MariaDB refuses to run as root.
const ACCOUNT: &str = "65534";

/// A server whose log has every row, and a folder from which others are made.
pub(crate) struct Mariadb;

impl Peer for Mariadb {
    fn name(&self) -> &'static str {
        "MariaDB"
    }

    fn install(&self, _cache: &Cache) -> Result<PathBuf> {
        // The package with the server alone: the other one would start it as a service.
        Tool {
            program: "mariadbd",
            package: "mariadb-server-core",
        }
        .installed()
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let [port] = free_ports()?;
        let (template, data) = (folder.path().join("template"), folder.path().join("data"));
        make(installed, folder.path(), &template)?;
        output(Command::new("cp").arg("-a").arg(&template).arg(&data))?;
        let mut server = as_account(installed);
        server.args(settings(&data)).args([
            "--bind-address=127.0.0.1",
            "--socket=",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--log-bin=binlog",
            "--server-id=1",
            "--binlog-format=ROW",
            "--binlog-row-image=FULL",
            "--binlog-row-metadata=FULL",
        ]);
        server.arg(format!("--port={port}"));
        let exports = vec![
            (
                contract::MARIADB,
                format!("mysql://root@127.0.0.1:{port}/mysql"),
            ),
            (contract::MARIADB_PROGRAM, installed.display().to_string()),
            (contract::MARIADB_TEMPLATE, template.display().to_string()),
        ];
        Start {
            name: self.name(),
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut server, exports, || answers(port))
    }
}

/// Makes a data folder: the script that comes with the server does no more, and wants the client, too.
fn make(program: &Path, folder: &Path, data: &Path) -> Result<()> {
    let mut sql = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n".to_owned();
    for part in [
        "mysql_system_tables.sql",
        "mysql_performance_tables.sql",
        "mysql_system_tables_data.sql",
    ] {
        let path = Path::new(SYSTEM_TABLES).join(part);
        sql += &fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    }
    let input = folder.join("bootstrap.sql");
    fs::write(&input, sql).context("write the system tables")?;
    fs::create_dir(data).context("make the data folder")?;
    if is_root() {
        let id = Some(ACCOUNT.parse().context("read the account")?);
        for given in [folder, data] {
            chown(given, id, id).context("give the data folder away")?;
        }
    }
    let made = as_account(program)
        .args(settings(data))
        .arg("--bootstrap")
        .stdin(File::open(input).context("read the system tables")?)
        .output()
        .context("make the system tables")?;
    let said = String::from_utf8_lossy(&made.stderr);
    ensure!(made.status.success(), "make the system tables: {said}");
    Ok(())
}

fn settings(data: &Path) -> [String; 5] {
    [
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        format!("--lc-messages-dir={SYSTEM_TABLES}"),
        "--innodb-log-file-size=8M".to_owned(),
        "--innodb-buffer-pool-size=16M".to_owned(),
    ]
}

/// A server speaks first: a packet with its number, 0, and the protocol's version, 10.
fn answers(port: u16) -> bool {
    ask::<5>(port, &[]).is_some_and(|answer| answer[3..] == [0, 10])
}

fn as_account(program: &Path) -> Command {
    let mut command = Group::command(program, Stop::Terminate);
    if is_root() {
        command = Command::new("setpriv");
        command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"]);
        command.args(["--pdeathsig", "TERM"]).arg(program);
    }
    // The account may not enter the folder that we were started in.
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
