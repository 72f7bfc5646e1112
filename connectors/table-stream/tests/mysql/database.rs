//! A server of its own for each test, which can be killed.

use std::net::Ipv4Addr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mysql_async::prelude::{FromValue, Queryable as _};
use mysql_async::{Conn, OptsBuilder};

use crate::harness::skip;

/// The account that the server runs as when we are root: it refuses to run as that.
const NOBODY: u32 = 65_534;
/// What Debian's package brings for a new data folder.
const SYSTEM_TABLES: &str = "/usr/share/mysql";

/// A server with an empty database, `shop`.
pub(crate) struct Database {
    program: PathBuf,
    folder: tempfile::TempDir,
    settings: Vec<String>,
    address: Ipv4Addr,
    port: u16,
    process: Option<Child>,
}

/// The address of one of this process's servers.
pub(crate) fn address(number: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), low, number)
}

impl Database {
    /// A server on an empty folder, if the environment names the program.
    pub(crate) async fn find(test: &str) -> Option<Self> {
        Self::find_with(test, &[]).await
    }

    pub(crate) async fn find_with(test: &str, settings: &[&str]) -> Option<Self> {
        const VARIABLES: [&str; 2] = [
            "TIDEMILL_TEST_MARIADB_PROGRAM",
            "TIDEMILL_TEST_MARIADB_TEMPLATE",
        ];
        let [Some(program), Some(template)] =
            VARIABLES.map(|name| std::env::var_os(name).map(PathBuf::from))
        else {
            skip(test, "MariaDB", VARIABLES[0]);
            return None;
        };
        // An address of its own, so that no connection of another test takes the port before the server.
        static COUNT: AtomicU8 = AtomicU8::new(1);
        let address = address(COUNT.fetch_add(1, Ordering::Relaxed));
        let listener = std::net::TcpListener::bind((address, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        give(folder.path());
        let copied = as_nobody(Path::new("cp"))
            .arg("-r")
            .arg(template)
            .arg(folder.path().join("data"))
            .status();
        assert!(copied.unwrap().success());
        let mut database = Self {
            program,
            folder,
            settings: settings.iter().map(ToString::to_string).collect(),
            address,
            port,
            process: None,
        };
        database.start().await;
        database.run("CREATE DATABASE shop").await;
        Some(database)
    }

    pub(crate) fn url(&self) -> String {
        format!("mysql://root@{}:{}/shop", self.address, self.port)
    }

    /// Starts it on its folder and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let data = self.data();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let mut command = as_nobody(&self.program);
        command.args(common(&data));
        command.args([
            "--socket=",
            "--skip-name-resolve",
            "--performance-schema=OFF",
            "--log-bin=binlog",
            "--server-id=1",
            "--binlog-format=ROW",
            "--binlog-row-image=FULL",
            "--binlog-row-metadata=FULL",
            // The machine does not fail in these tests, only processes do.
            "--innodb-flush-log-at-trx-commit=2",
            "--innodb-lock-wait-timeout=5",
        ]);
        command.arg(format!("--bind-address={}", self.address));
        command.arg(format!("--port={}", self.port));
        command.args(&self.settings);
        command.stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let started = std::time::Instant::now();
        while self.attempt().await.is_err() {
            let process = self.process.as_mut().unwrap();
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            assert!(process.try_wait().unwrap().is_none(), "{}", log());
            assert!(started.elapsed() < Duration::from_secs(60), "{}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn attempt(&self) -> mysql_async::Result<()> {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.address.to_string())
            .tcp_port(self.port)
            .user(Some("root"))
            .prefer_socket(false);
        Conn::new(options).await?.disconnect().await
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A connection to `shop`.
    pub(crate) async fn client(&self) -> Conn {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.address.to_string())
            .tcp_port(self.port)
            .user(Some("root"))
            .db_name(Some("shop"))
            .prefer_socket(false);
        Conn::new(options).await.unwrap()
    }

    /// Runs statements, which end with a semicolon at the end of a line.
    pub(crate) async fn run(&self, sql: &str) {
        let options = OptsBuilder::default()
            .ip_or_hostname(self.address.to_string())
            .tcp_port(self.port)
            .user(Some("root"))
            .prefer_socket(false);
        let mut client = Conn::new(options).await.unwrap();
        let _ = client.query_drop("USE shop").await;
        for statement in sql.split(";\n") {
            let done = client.query_drop(statement).await;
            done.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
        client.disconnect().await.unwrap();
    }

    /// The one value that a query returns.
    pub(crate) async fn value<T>(&self, sql: &str) -> T
    where
        T: FromValue + Send + 'static,
    {
        let mut client = self.client().await;
        let value = client.query_first(sql).await.unwrap().unwrap();
        client.disconnect().await.unwrap();
        value
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

fn common(data: &Path) -> Vec<String> {
    vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        format!("--lc-messages-dir={SYSTEM_TABLES}"),
        "--innodb-log-file-size=8M".to_owned(),
        "--innodb-buffer-pool-size=16M".to_owned(),
    ]
}

fn give(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}
