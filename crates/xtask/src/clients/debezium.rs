//! Debezium's PostgreSQL connector, in its embedded engine.

use anyhow::Result;

use super::kafka::java_and_jars;
use crate::cache::Cache;
use crate::contract::{self, Export};

const POM: &str = include_str!("debezium/pom.xml");

/// Its jars, for a program whose source the tests keep.
pub(super) fn java(cache: &Cache) -> Result<Vec<Export>> {
    let (java, jars) = java_and_jars(cache, "debezium", POM)?;
    Ok(vec![(contract::JAVA, java), (contract::DEBEZIUM, jars)])
}
