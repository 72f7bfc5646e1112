//! A cluster of three Apache Kafka nodes whose nodes can be killed.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use crate::free_port;

/// How long a node may take to be back, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Three nodes that are brokers and controllers; everything is kept three times and acknowledged by
/// two. Dropping it kills them and removes their data.
#[derive(Debug)]
pub struct Brokers {
    dir: TempDir,
    script: String,
    jars: String,
    ports: Vec<u16>,
    controllers: Vec<u16>,
    nodes: Vec<Option<Child>>,
}

impl Brokers {
    /// Starts a cluster on empty folders, if this machine has Apache Kafka. It is ready once
    /// [`until_whole`](Self::until_whole) returns.
    ///
    /// # Errors
    /// A node cannot be started.
    pub fn find() -> Result<Option<Self>> {
        let (Ok(script), Ok(jars)) = (
            std::env::var("TIDEMILL_TEST_KAFKA_BROKER"),
            std::env::var("TIDEMILL_TEST_KAFKA_JARS"),
        ) else {
            return Ok(None);
        };
        let ports = || (0..3).map(|_| free_port()).collect::<Result<Vec<_>>>();
        let mut brokers = Self {
            dir: TempDir::new()?,
            script,
            jars,
            ports: ports()?,
            controllers: ports()?,
            nodes: vec![None, None, None],
        };
        for node in 0..3 {
            brokers.restart(node)?;
        }
        Ok(Some(brokers))
    }

    /// `host:port` of all three.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let port = |port: &u16| format!("127.0.0.1:{port}");
        self.ports.iter().map(port).collect()
    }

    /// The same as clients take it.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.list().join(",")
    }

    /// Ends a node (0 to 2) at once.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, node: usize) -> Result<()> {
        let mut process = self.nodes[node].take().context("the node does not run")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Starts a node again on its folder.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        let ports = |ports: &[u16]| {
            ports
                .iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        let folder = self.dir.path().join((node + 1).to_string());
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join(format!("{}.log", node + 1)))?;
        let process = Command::new(&self.script)
            .arg(&self.jars)
            .arg(folder)
            .arg((node + 1).to_string())
            .args([ports(&self.ports), ports(&self.controllers)])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start a broker")?;
        self.nodes[node] = Some(process);
        Ok(())
    }

    /// Waits until all three are part of the cluster and every partition is kept three times.
    ///
    /// # Errors
    /// They are not within two minutes.
    pub async fn until_whole(&self) -> Result<()> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("reconnect.backoff.max.ms", "500")
            .create()?;
        let started = Instant::now();
        loop {
            if let Ok(metadata) = consumer.fetch_metadata(None, Duration::from_secs(5)) {
                let whole = metadata
                    .topics()
                    .iter()
                    .flat_map(|topic| topic.partitions())
                    .all(|partition| partition.isr().len() == partition.replicas().len());
                if metadata.brokers().len() == 3 && whole {
                    return Ok(());
                }
            }
            if started.elapsed() > PATIENCE {
                let logs = (1..=3).map(|node| {
                    let log = self.dir.path().join(format!("{node}.log"));
                    let text = std::fs::read_to_string(log).unwrap_or_default();
                    text[text.len().saturating_sub(2_000)..].to_owned()
                });
                bail!(
                    "no whole cluster within {PATIENCE:?}: {}",
                    logs.collect::<String>()
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for process in self.nodes.iter_mut().flatten() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
