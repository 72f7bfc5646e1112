//! Every Kafka client goes through one list, against our port and against Apache Kafka.
//!
//! The list: create and describe a topic; produce with every compression that the client has, with
//! idempotence; consume in a group of two members with every assignor and group protocol it has,
//! one of which leaves; read no committed record twice; find offsets by time; commit and abort
//! transactions and read what they leave; delete groups and topics. What the port is held to is
//! what Kafka does: the same script must pass there.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tests::{Server, repository, skip};

/// A client whose script is run.
struct Client {
    test: &'static str,
    /// What runs it, and the script that it runs, if it is not the script itself.
    program: &'static str,
    script: Option<&'static str>,
    /// Names in our environment that the script finds under other names.
    environment: &'static [(&'static str, &'static str)],
}

#[test]
fn confluent_kafka_goes_through_the_list() -> Result<()> {
    Client::python("confluent_kafka", "confluent.py").goes_through_the_list()
}

#[test]
fn kafka_python_goes_through_the_list() -> Result<()> {
    Client::python("kafka_python", "kafka_python.py").goes_through_the_list()
}

#[test]
fn aiokafka_goes_through_the_list() -> Result<()> {
    Client::python("aiokafka", "aiokafka_client.py").goes_through_the_list()
}

#[test]
fn kafkajs_goes_through_the_list() -> Result<()> {
    let client = Client {
        test: "kafkajs",
        program: "TIDEMILL_TEST_NODE",
        script: Some("kafkajs_client.js"),
        environment: &[("NODE_PATH", "TIDEMILL_TEST_KAFKAJS")],
    };
    client.goes_through_the_list()
}

#[test]
fn the_java_client_goes_through_the_list() -> Result<()> {
    let client = Client {
        test: "the Java client",
        program: "TIDEMILL_TEST_JAVA",
        script: Some("JavaClient.java"),
        environment: &[("CLASSPATH_FOLDER", "TIDEMILL_TEST_KAFKA_TOOLS")],
    };
    client.goes_through_the_list()
}

#[test]
fn kafkas_own_tools_work() -> Result<()> {
    let client = Client {
        environment: &[
            ("JAVA", "TIDEMILL_TEST_JAVA"),
            ("KAFKA_JARS", "TIDEMILL_TEST_KAFKA_TOOLS"),
        ],
        ..Client::python("Kafka's tools", "kafka_tools.py")
    };
    client.goes_through_the_list()
}

#[test]
fn the_scripts_of_kafkas_distribution_do_what_they_do_there() -> Result<()> {
    let client = Client {
        environment: &[
            ("JAVA", "TIDEMILL_TEST_JAVA"),
            ("KAFKA_JARS", "TIDEMILL_TEST_KAFKA_TOOLS"),
        ],
        ..Client::python("the scripts of Kafka's distribution", "kafka_scripts.py")
    };
    client.goes_through_the_list()
}

#[test]
fn franz_go_goes_through_the_list() -> Result<()> {
    let client = Client {
        test: "franz-go",
        program: "TIDEMILL_TEST_FRANZ",
        script: None,
        environment: &[],
    };
    client.goes_through_the_list()
}

/// The script says when the server is to be killed, and waits until it is back.
#[test]
fn groups_survive_the_kill_of_a_member_and_of_the_server() -> Result<()> {
    let test = "groups_survive_the_kill_of_a_member_and_of_the_server";
    let Some(python) = std::env::var_os("TIDEMILL_TEST_KAFKA_PYTHON") else {
        skip(test, "the Python Kafka clients are not installed");
        return Ok(());
    };
    let mut server = Server::start_with("[kafka]\nconsumer_session_seconds = 6\n")?;
    let mut survivors = Command::new("timeout")
        .arg("240")
        .arg(python)
        .arg(script("survivors.py"))
        .env("KAFKA_BOOTSTRAP", server.bootstrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = survivors.stdin.take().context("the script's input")?;
    let output = survivors.stdout.take().context("the script's output")?;
    let mut last = String::new();
    for line in BufReader::new(output).lines() {
        last = line?;
        if last == "kill" {
            server.kill()?;
            server.restart()?;
            writeln!(input, "back")?;
        }
    }
    let status = survivors.wait()?;
    ensure!(status.success() && last == "ok", "{status} after {last:?}");
    Ok(())
}

impl Client {
    fn python(test: &'static str, script: &'static str) -> Self {
        Self {
            test,
            program: "TIDEMILL_TEST_KAFKA_PYTHON",
            script: Some(script),
            environment: &[],
        }
    }

    /// Against our port, and against Kafka if there is one.
    fn goes_through_the_list(&self) -> Result<()> {
        let names = self.environment.iter().map(|(_, name)| *name);
        let missing = names
            .chain([self.program])
            .find(|name| std::env::var_os(name).is_none());
        if let Some(missing) = missing {
            skip(self.test, &format!("{missing} is not set"));
            return Ok(());
        }
        let server = Server::start()?;
        self.run(&server.bootstrap())?;
        drop(server);
        match std::env::var("TIDEMILL_TEST_KAFKA") {
            Ok(kafka) => self.run(&kafka).context("against Apache Kafka"),
            Err(_) => {
                skip(self.test, "no Apache Kafka was started");
                Ok(())
            }
        }
    }

    fn run(&self, bootstrap: &str) -> Result<()> {
        let value = |name: &str| std::env::var(name).with_context(|| format!("read {name}"));
        // A client that hangs is a failure with a name, not a suite without an end.
        let mut command = Command::new("timeout");
        command.arg("240").arg(value(self.program)?);
        for (name, ours) in self.environment {
            let value = value(ours)?;
            if *name == "CLASSPATH_FOLDER" {
                command.args(["-cp", &format!("{value}/*")]);
            }
            command.env(name, value);
        }
        command.args(self.script.map(script));
        let output = command.env("KAFKA_BOOTSTRAP", bootstrap).output()?;
        ensure!(
            output.status.success(),
            "{} ended with {}:\n{}{}",
            self.test,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

fn script(name: &str) -> PathBuf {
    repository().join("tests/e2e/scripts/kafka").join(name)
}
