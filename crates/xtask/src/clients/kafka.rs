//! Kafka clients in other languages, each with all that its script needs.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{environment, go_program, text};
use crate::cache::Cache;
use crate::command;
use crate::contract::{self, Export};
use crate::debian::Tool;

const REQUIREMENTS: &str = include_str!("kafka/requirements.txt");
const POM: &str = include_str!("kafka/pom.xml");
const KAFKAJS: &str = "kafkajs@2.2.4";
/// The program whose source the tests keep beside their other scripts.
const FRANZ: [(&str, &str); 3] = [
    (
        "go.mod",
        include_str!("../../../../tests/e2e/scripts/kafka/franz/go.mod"),
    ),
    (
        "go.sum",
        include_str!("../../../../tests/e2e/scripts/kafka/franz/go.sum"),
    ),
    (
        "main.go",
        include_str!("../../../../tests/e2e/scripts/kafka/franz/main.go"),
    ),
];
pub(super) const MAVEN: Tool = Tool {
    program: "mvn",
    package: "maven",
};
pub(super) const JAVA: Tool = Tool {
    program: "java",
    package: "openjdk-17-jre-headless",
};
/// Java runs a single source file only where its compiler is.
pub(super) const COMPILER: Tool = Tool {
    program: "javac",
    package: "openjdk-17-jdk-headless",
};

/// confluent-kafka, kafka-python and aiokafka. Apart from the AWS libraries, which pin old versions.
pub(super) fn python(cache: &Cache) -> Result<Vec<Export>> {
    let folder = environment(cache, "python-kafka", REQUIREMENTS)?;
    Ok(vec![(
        contract::KAFKA_PYTHON,
        text(folder.join("bin/python"))?,
    )])
}

/// The Java client and the command-line tools of Apache Kafka.
pub(super) fn java(cache: &Cache) -> Result<Vec<Export>> {
    let (java, jars) = java_and_jars(cache, "kafka-tools", POM)?;
    Ok(vec![(contract::JAVA, java), (contract::KAFKA_TOOLS, jars)])
}

/// Java, for a compiler that is there too, and the folder with all jars that `pom` depends on.
pub(super) fn java_and_jars(cache: &Cache, name: &str, pom: &str) -> Result<(String, String)> {
    COMPILER.installed()?;
    let java = JAVA.installed()?;
    let folder = cache.fetched(name, pom, |folder| {
        fs::write(folder.join("pom.xml"), pom).context("write pom.xml")?;
        let mut maven = Command::new(MAVEN.installed()?);
        maven.current_dir(folder).args([
            "--batch-mode",
            "--quiet",
            "-Dstyle.color=never",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=jars",
        ]);
        command::run(&mut maven)
    })?;
    Ok((text(java)?, text(folder.join("jars"))?))
}

/// kafkajs, for Node.js.
pub(super) fn kafkajs(cache: &Cache) -> Result<Vec<Export>> {
    let modules = super::node_modules(cache, "kafkajs", KAFKAJS)?;
    Ok(vec![(contract::KAFKAJS, text(modules)?)])
}

/// franz-go, as a program that goes through the list.
pub(super) fn franz(cache: &Cache) -> Result<Vec<Export>> {
    let program = go_program(cache, ("franz", "franz"), &FRANZ)?;
    Ok(vec![(contract::FRANZ, text(program)?)])
}
