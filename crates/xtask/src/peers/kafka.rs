//! Apache Kafka, from its artefacts on Maven Central: one broker, or a cluster of three.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Peer, Running, Start, ask, free_ports, temporary_folder};
use crate::cache::Cache;
use crate::command::{self, output};
use crate::contract::{self, Export};
use crate::debian::Tool;
use crate::group::{Group, Stop};

const POM: &str = include_str!("kafka/pom.xml");
const PROPERTIES: &str = include_str!("kafka/server.properties");
/// Starts one node of a cluster of three; tests that kill nodes start them by it themselves.
const BROKER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peers/kafka/broker.sh");
const JAVA: Tool = Tool {
    program: "java",
    package: "openjdk-17-jre-headless",
};
const MAVEN: Tool = Tool {
    program: "mvn",
    package: "maven",
};

/// A single-node KRaft broker.
pub(crate) struct Kafka;

impl Peer for Kafka {
    fn name(&self) -> &'static str {
        "Apache Kafka 4.3.1"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        JAVA.installed()?;
        cache.fetched("kafka", POM, |folder| {
            fs::write(folder.join("pom.xml"), POM).context("write pom.xml")?;
            command::run(
                Command::new(MAVEN.installed()?)
                    .current_dir(folder)
                    .args([
                        "--batch-mode",
                        "--quiet",
                        "-Dstyle.color=never",
                        "dependency:copy-dependencies",
                    ])
                    .args(["-DincludeScope=runtime", "-DoutputDirectory=jars"]),
            )
        })
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        start(self.name(), installed, contract::KAFKA, "")
    }
}

impl Kafka {
    /// Starts it with more `settings`, which override ours.
    ///
    /// # Errors
    /// As [`Peer::start`].
    pub(crate) fn start_with(&self, installed: &Path, settings: &str) -> Result<Running> {
        start(self.name(), installed, contract::KAFKA, settings)
    }
}

/// The same broker, but syncing every message to disk before it acknowledges it, as our log does.
pub(crate) struct FlushingKafka;

impl Peer for FlushingKafka {
    fn name(&self) -> &'static str {
        "Apache Kafka 4.3.1 with flush=1"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        Kafka.install(cache)
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let flush = "log.flush.interval.messages=1\n";
        start(
            self.name(),
            installed,
            contract::BENCH_KAFKA_FLUSHING,
            flush,
        )
    }
}

/// Starts a broker with `extra` lines in its properties; it is exported under `variable`.
fn start(
    name: &'static str,
    installed: &Path,
    variable: &'static str,
    extra: &str,
) -> Result<Running> {
    let folder = temporary_folder()?;
    let [port, controller] = free_ports()?;
    let properties = folder.path().join("server.properties");
    let data = folder.path().join("data");
    let settings = format!(
        "{PROPERTIES}{extra}listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={}\n",
        data.display()
    );
    fs::write(&properties, settings).context("write server.properties")?;

    let jars = installed.join("jars/*");
    let java = JAVA.installed()?;
    // Any valid id serves, since each broker is alone.
    let format = [
        "kafka.tools.StorageTool",
        "format",
        "--cluster-id",
        "AAAAAAAAQACAAAAAAAAAAA",
        "--config",
    ];
    output(
        Command::new(&java)
            .arg("-cp")
            .arg(&jars)
            .args(format)
            .arg(&properties),
    )?;

    let mut broker = Group::command(java, Stop::Terminate);
    broker
        .args(["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-cp"])
        .arg(&jars)
        .arg("kafka.Kafka")
        .arg(&properties);
    let mut exports = parts(installed);
    exports.push((variable, format!("127.0.0.1:{port}")));
    Start {
        name,
        folder,
        stop: Stop::Terminate,
    }
    .until(&mut broker, exports, || answers(port))
}

/// Three nodes that are brokers and controllers: everything is kept three times and acknowledged by
/// two.
pub(crate) struct KafkaCluster;

impl KafkaCluster {
    /// What a test needs to start the nodes by itself.
    ///
    /// # Errors
    /// When Apache Kafka cannot be had.
    pub(crate) fn parts(cache: &Cache) -> Result<Vec<Export>> {
        Ok(parts(&Kafka.install(cache)?))
    }
}

fn parts(installed: &Path) -> Vec<Export> {
    vec![
        (contract::KAFKA_BROKER, BROKER.to_owned()),
        (
            contract::KAFKA_JARS,
            installed.join("jars").display().to_string(),
        ),
    ]
}

impl Peer for KafkaCluster {
    fn name(&self) -> &'static str {
        "Apache Kafka 4.3.1, three nodes"
    }

    fn install(&self, cache: &Cache) -> Result<PathBuf> {
        Kafka.install(cache)
    }

    fn start(&self, installed: &Path) -> Result<Running> {
        let folder = temporary_folder()?;
        let ports = free_ports::<6>()?;
        let (brokers, controllers) = ports.split_at(3);
        let list = |ports: &[u16]| {
            ports
                .iter()
                .map(u16::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        // One process group for all three; they end with it.
        let mut nodes = Group::command("sh", Stop::Terminate);
        nodes
            .args([
                "-c",
                r#"for id in 1 2 3; do "$0" "$1" "$2/$id" $id "$3" "$4" & done; wait"#,
                BROKER,
            ])
            .arg(installed.join("jars"))
            .arg(folder.path())
            .args([list(brokers), list(controllers)]);
        let bootstrap: Vec<_> = brokers
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        let exports = vec![(contract::KAFKA_CLUSTER, bootstrap.join(","))];
        let brokers = brokers.to_vec();
        Start {
            name: self.name(),
            folder,
            stop: Stop::Terminate,
        }
        .until(&mut nodes, exports, || {
            brokers.iter().all(|port| answers(*port))
        })
    }
}

/// Whether the broker answers ApiVersions (key 18, version 0) without an error.
///
/// A broker in KRaft mode takes connections early, but answers only once it is part of its cluster.
pub(super) fn answers(port: u16) -> bool {
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    // Length, correlation id, error code.
    ask::<10>(port, &REQUEST).is_some_and(|answer| answer[4..] == [0, 0, 0, 7, 0, 0])
}
