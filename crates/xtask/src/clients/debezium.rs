//! Debezium's PostgreSQL connector, in its embedded engine.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::kafka::{COMPILER, JAVA, MAVEN};
use super::text;
use crate::cache::Cache;
use crate::command;
use crate::contract::{self, Export};

const POM: &str = include_str!("debezium/pom.xml");

/// Its jars, for a program whose source the tests keep.
pub(super) fn java(cache: &Cache) -> Result<Vec<Export>> {
    COMPILER.installed()?;
    let java = JAVA.installed()?;
    let folder = cache.fetched("debezium", POM, |folder| {
        fs::write(folder.join("pom.xml"), POM).context("write pom.xml")?;
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
    Ok(vec![
        (contract::JAVA, text(java)?),
        (contract::DEBEZIUM, text(folder.join("jars"))?),
    ])
}
