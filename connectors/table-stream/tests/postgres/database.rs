//! A database of its own for each test, and servers that can be killed.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, NoTls};

pub(crate) use crate::harness::skip;

/// A database that nobody else uses.
pub(crate) struct Database {
    server: String,
    name: String,
    pub(crate) client: Client,
}

/// A server of its own, which can be killed.
pub(crate) struct Server {
    programs: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

impl Database {
    /// A new database on the server that the environment names, if there is one.
    pub(crate) async fn find(test: &str) -> Option<Self> {
        const VARIABLE: &str = "TIDEMILL_TEST_POSTGRES";
        let Ok(url) = std::env::var(VARIABLE) else {
            skip(test, "PostgreSQL", VARIABLE);
            return None;
        };
        Some(Self::on(url.rsplit_once('/').unwrap().0).await)
    }

    /// A new database on `server`, an address without a database.
    pub(crate) async fn on(server: &str) -> Self {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let admin = connect(&format!("{server}/postgres")).await.unwrap();
        let create = format!("CREATE DATABASE {name}");
        admin.batch_execute(&create).await.unwrap();
        let client = connect(&format!("{server}/{name}")).await.unwrap();
        Self {
            server: server.to_owned(),
            name,
            client,
        }
    }

    /// Its name: that of the connection in topics, too, so that slots are nobody else's.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    pub(crate) async fn run(&self, sql: &str) {
        let done = self.client.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The one text that a query returns.
    pub(crate) async fn text(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub(crate) async fn another(&self) -> Client {
        connect(&self.url()).await.unwrap()
    }

    /// Connects again after the server was restarted.
    pub(crate) async fn reconnect(&mut self) {
        self.client = self.another().await;
    }

    /// Leaves nothing behind on a server that others use.
    pub(crate) async fn remove(self) {
        let admin = connect(&format!("{}/postgres", self.server)).await.unwrap();
        let name = &self.name;
        let slots = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots \
             WHERE database = '{name}' AND active"
        );
        admin.batch_execute(&slots).await.unwrap();
        let slots = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE database = '{name}'"
        );
        for _ in 0..100 {
            // The walsender needs a moment to let go.
            if admin.batch_execute(&slots).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        admin.batch_execute(&drop).await.unwrap();
    }
}

impl Server {
    /// A server on an empty folder, if the environment names its programs.
    pub(crate) async fn find(test: &str, settings: &[&str]) -> Option<Self> {
        const VARIABLE: &str = "TIDEMILL_TEST_POSTGRES_PROGRAMS";
        let Some(programs) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
            skip(test, "PostgreSQL", VARIABLE);
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        if rustix::process::geteuid().is_root() {
            let id = |which: &str| {
                let output = Command::new("id").args([which, "postgres"]).output();
                let text = String::from_utf8(output.unwrap().stdout).unwrap();
                Some(text.trim().parse().unwrap())
            };
            chown(folder.path(), id("-u"), id("-g")).unwrap();
        }
        let mut server = Self {
            programs,
            folder,
            port,
            process: None,
        };
        let init = server
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync", "--pgdata"])
            .arg(server.data())
            .output()
            .unwrap();
        assert!(init.status.success(), "{init:?}");
        let mut lines = vec![
            "listen_addresses = '127.0.0.1'".to_owned(),
            "unix_socket_directories = ''".to_owned(),
            "wal_level = logical".to_owned(),
            "max_prepared_transactions = 8".to_owned(),
            // The machine does not fail in these tests, only processes do.
            "fsync = off".to_owned(),
            format!("port = {port}"),
        ];
        lines.extend(settings.iter().map(ToString::to_string));
        let conf = server.data().join("postgresql.auto.conf");
        std::fs::write(conf, lines.join("\n")).unwrap();
        server.start().await;
        Some(server)
    }

    pub(crate) fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Starts it on its folder and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let started = std::time::Instant::now();
        let url = format!("{}/postgres", self.address());
        loop {
            let exited = match &mut self.process {
                Some(process) => process.try_wait().unwrap().is_some(),
                None => true,
            };
            if exited {
                let mut command = self.program("postgres");
                command.arg("-D").arg(self.data()).stdin(Stdio::null());
                command.stdout(log.try_clone().unwrap());
                command.stderr(log.try_clone().unwrap());
                self.process = Some(command.spawn().unwrap());
            }
            if connect(&url).await.is_ok() {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no PostgreSQL");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends every process of it at once.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        let id = process.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        // The first of them, so that it starts no others.
        process.kill().unwrap();
        for child in children.unwrap().split_whitespace() {
            let pid = Pid::from_raw(child.parse().unwrap()).unwrap();
            let _ = kill_process(pid, Signal::KILL);
        }
        process.wait().unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres"]);
            command.args(["--init-groups", "--pdeathsig", "KILL"]);
            command.arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
