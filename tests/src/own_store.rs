//! An S3-compatible store that a test has for itself, to kill.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::config::retry::RetryConfig;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::store::client;
use crate::{eventually, free_port};

const ACCESS_KEY: &str = "tidemill-test";
const SECRET_KEY: &str = "tidemill-test-secret";

/// The Versity S3 Gateway over a folder of its own. Dropping it kills the process.
#[derive(Debug)]
pub struct OwnStore {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    /// Where its notifications go: its arguments for that.
    notices: Vec<String>,
    process: Option<Child>,
    runs: watch::Sender<bool>,
}

impl OwnStore {
    /// Starts a store, if there is such a program, which posts its notifications to `webhook`: there
    /// must be somebody who answers.
    ///
    /// # Errors
    /// It does not start.
    pub async fn find(webhook: &str) -> Result<Option<Self>> {
        Self::telling(&["--event-webhook-url", webhook]).await
    }

    /// As [`find`](Self::find), but it publishes them to a topic, which must be there.
    ///
    /// # Errors
    /// It does not start.
    pub async fn publishing(bootstrap: &str, topic: &str) -> Result<Option<Self>> {
        let place = ["--event-kafka-url", bootstrap, "--event-kafka-topic", topic];
        Self::telling(&place).await
    }

    async fn telling(notices: &[&str]) -> Result<Option<Self>> {
        let Some(program) = std::env::var_os("TIDEMILL_TEST_S3_PROGRAM") else {
            return Ok(None);
        };
        let folder = TempDir::new()?;
        for name in ["objects", "metadata"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let mut store = Self {
            program: program.into(),
            folder,
            port: free_port()?,
            notices: notices.iter().map(|&it| it.to_owned()).collect(),
            process: None,
            runs: watch::Sender::new(false),
        };
        store.restart().await?;
        Ok(Some(store))
    }

    /// Starts the process on the same folder and port, and waits until it answers.
    ///
    /// # Errors
    /// It runs already, or does not start.
    pub async fn restart(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the store runs already");
        let address = format!("127.0.0.1:{}", self.port);
        let process = Command::new(&self.program)
            .args(["--access", ACCESS_KEY, "--secret", SECRET_KEY])
            .args(["--region", "us-east-1", "--port", &address, "--quiet"])
            .args(&self.notices)
            .args(["posix", "--sidecar"])
            .arg(self.folder.path().join("metadata"))
            .arg(self.folder.path().join("objects"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the store")?;
        self.process = Some(process);
        eventually("the store answers", async || {
            Ok(TcpStream::connect(&address).ok().map(drop))
        })
        .await?;
        self.runs.send_replace(true);
        Ok(())
    }

    /// Whether it runs, as that changes.
    #[must_use]
    pub fn runs(&self) -> watch::Receiver<bool> {
        self.runs.subscribe()
    }

    /// Ends the process at once.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the store does not run")?;
        self.runs.send_replace(false);
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// The AWS SDK pointed at it. It tries nothing twice: every request is one write or none.
    #[must_use]
    pub fn client(&self) -> aws_sdk_s3::Client {
        let keys = (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned());
        client(&self.endpoint(), keys, RetryConfig::disabled())
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its credentials as an AWS shared-credentials file.
    #[must_use]
    pub fn credentials(&self) -> String {
        format!(
            "[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
        )
    }
}

impl Drop for OwnStore {
    fn drop(&mut self) {
        if self.process.is_some() {
            let _ = self.kill();
        }
    }
}
