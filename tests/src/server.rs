//! A server process on a folder of its own.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running server. Dropping it kills the process and removes the folder.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    http: u16,
    kafka: Kafka,
    process: Option<Child>,
}

/// Where its log's Kafka clients go.
#[derive(Debug)]
enum Kafka {
    /// To its own port.
    Own(u16),
    /// To the cluster that it works on.
    Cluster(String),
}

impl Server {
    /// Starts a server on an empty folder and waits until it is ready.
    ///
    /// # Errors
    /// The binary is missing, or the server ends before it is ready.
    pub fn start() -> Result<Self> {
        Self::start_with("")
    }

    /// Like [`start`](Self::start), with settings in TOML.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with(settings: &str) -> Result<Self> {
        Self::start_on(Kafka::Own(free_port()?), settings)
    }

    /// Starts one of several nodes on the Kafka cluster that `settings` name.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_node(bootstrap: &str, settings: &str) -> Result<Self> {
        Self::start_on(Kafka::Cluster(bootstrap.to_owned()), settings)
    }

    fn start_on(kafka: Kafka, settings: &str) -> Result<Self> {
        let dir = TempDir::new().context("make a data folder")?;
        // The data folder in it may be another user's.
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
        std::fs::write(dir.path().join("tidemill.toml"), settings)?;
        let mut server = Self {
            dir,
            http: free_port()?,
            kafka,
            process: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Starts the process on the same folder and ports, and waits until it is ready.
    ///
    /// # Errors
    /// The process is running already, or ends before it is ready.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server runs already");
        let mut command = Command::new(binary()?);
        command.arg("serve");
        if let Kafka::Own(port) = self.kafka {
            command.args(["--kafka", &format!("127.0.0.1:{port}")]);
        }
        let mut process = command
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--http", &format!("127.0.0.1:{}", self.http)])
            .arg("--config")
            .arg(self.dir.path().join("tidemill.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(
                std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(self.log_file())?,
            ))
            .spawn()
            .context("start the server")?;
        let stdout = process.stdout.take().context("the server's output")?;
        self.process = Some(process);
        self.await_ready(BufReader::new(stdout))
    }

    /// The server says what to export once it is ready; the pipe then drains in a thread of its own
    /// so that it never fills.
    fn await_ready(&mut self, mut stdout: impl BufRead + Send + 'static) -> Result<()> {
        let mut line = String::new();
        while stdout.read_line(&mut line)? > 0 {
            if line.starts_with("export AWS_ENDPOINT_URL=") {
                std::thread::spawn(move || stdout.read_to_end(&mut Vec::new()));
                return Ok(());
            }
            line.clear();
        }
        let status = self.process.take().context("the server")?.wait()?;
        bail!(
            "the server ended before it was ready ({status}):\n{}",
            self.log()
        )
    }

    /// Ends the process at once, as a power button would.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server does not run")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// It does not run.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the server does not run")?;
        kill_process(pid(&process)?, Signal::TERM)?;
        Ok(process.wait()?)
    }

    /// Stops the process where it stands (SIGSTOP), as a machine that hangs would.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        let process = self.process.as_ref().context("the server does not run")?;
        Ok(kill_process(pid(process)?, Signal::STOP)?)
    }

    /// Lets a paused process go on.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        let process = self.process.as_ref().context("the server does not run")?;
        Ok(kill_process(pid(process)?, Signal::CONT)?)
    }

    /// The process's id.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        Ok(self
            .process
            .as_ref()
            .context("the server does not run")?
            .id())
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where S3 and the Lambda API listen.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Where Kafka clients begin.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        match &self.kafka {
            Kafka::Own(port) => format!("127.0.0.1:{port}"),
            Kafka::Cluster(brokers) => brokers.clone(),
        }
    }

    /// Access key and secret, read from the file that the server wrote.
    ///
    /// # Errors
    /// The file is missing or lacks a key.
    pub fn credentials(&self) -> Result<(String, String)> {
        let text = std::fs::read_to_string(self.data_dir().join("credentials"))?;
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.trim().strip_prefix('='))
                .map(|value| value.trim().to_owned())
                .with_context(|| format!("{key} in the credentials file"))
        };
        Ok((value("aws_access_key_id")?, value("aws_secret_access_key")?))
    }

    /// What the server has said of itself so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Runs the command line on this server's folder and returns its output.
    ///
    /// # Errors
    /// The command fails; the message holds what it printed.
    pub fn tidemill(&self, arguments: &[&str]) -> Result<String> {
        let dir = self.data_dir();
        let dir = dir.to_str().context("a path in UTF-8")?;
        run(&[arguments, &["--data-dir", dir]].concat())
    }

    /// Runs the command line on this server's folder, however that ends.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn attempt(&self, arguments: &[&str]) -> Result<Output> {
        let dir = self.data_dir();
        let dir = dir.to_str().context("a path in UTF-8")?;
        output(&[arguments, &["--data-dir", dir]].concat())
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(4_000);
            let tail = (tail..log.len()).find(|at| log.is_char_boundary(*at));
            eprintln!("--- server log ---\n{}", &log[tail.unwrap_or(log.len())..]);
        }
    }
}

/// Runs the command line without a server in mind and returns its output.
///
/// # Errors
/// The command fails; the message holds what it printed.
pub fn run(arguments: &[&str]) -> Result<String> {
    let output = output(arguments)?;
    ensure!(
        output.status.success(),
        "tidemill {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn output(arguments: &[&str]) -> Result<Output> {
    let output = Command::new(binary()?)
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("AWS_ENDPOINT_URL")
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SHARED_CREDENTIALS_FILE")
        .output()?;
    Ok(output)
}

fn pid(process: &Child) -> Result<Pid> {
    Pid::from_raw(process.id().cast_signed()).context("a process id")
}

/// A port that was free a moment ago. The server keeps it over restarts, so it cannot be left to the
/// operating system.
///
/// # Errors
/// No port is free.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The repository's root.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests package lies in the repository")
}

/// The binary under test: `TIDEMILL_TEST_BIN`, else the one beside the test's own.
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TIDEMILL_TEST_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let path = test
        .ancestors()
        .nth(2)
        .context("the target folder")?
        .join("tidemill");
    ensure!(
        path.exists(),
        "{} does not exist: build it with `cargo build`, or set TIDEMILL_TEST_BIN",
        path.display()
    );
    Ok(path)
}
