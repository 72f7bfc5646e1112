//! What the kinds that read tables have in common.

use anyhow::{Context, bail};
use clap::ValueEnum;
use connector::SourceError;
use connector_table_stream::{Naming, Shape};
use event::SourceId;
use serde::{Deserialize, Serialize};

use super::{Rest, Surroundings, Tables, Topics, rejected};
use crate::connectors::ConnectorName;

/// The shape of a table's events.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EventShape {
    /// The records of DynamoDB Streams
    #[default]
    Dynamodb,
    /// Plain JSON: op, key, before, after
    Plain,
}

impl From<EventShape> for Shape {
    fn from(shape: EventShape) -> Self {
        match shape {
            EventShape::Dynamodb => Self::DynamoDb,
            EventShape::Plain => Self::Plain,
        }
    }
}

/// What the events of a connector are called.
pub(super) fn naming(
    name: &ConnectorName,
    around: &Surroundings,
    shape: EventShape,
    partitions: u32,
) -> Naming {
    Naming {
        connection: name.to_string(),
        home: None,
        region: around.region.clone(),
        account: around.account.clone(),
        shape: shape.into(),
        partitions,
    }
}

pub(super) fn topics(name: &ConnectorName) -> Topics {
    Topics::Below(format!("table.{name}."))
}

pub(super) fn source_ids(name: &ConnectorName) -> Vec<SourceId> {
    vec![SourceId::new(format!("/tables/{name}"))]
}

/// The tables that functions can be attached to.
pub(super) fn streams(
    shape: EventShape,
    names: Vec<String>,
    rest: Rest,
    partitions: u32,
) -> Tables {
    match shape {
        EventShape::Plain => Tables::None,
        EventShape::Dynamodb => Tables::Some {
            names,
            rest,
            partitions,
        },
    }
}

pub(super) fn check(tables: &[String], partitions: u32) -> anyhow::Result<()> {
    if let Some(table) = tables.iter().find(|table| table.trim().is_empty()) {
        bail!("tables has a name that is empty: {table:?}");
    }
    if partitions == 0 {
        bail!("partitions must be at least 1");
    }
    Ok(())
}

/// Refuses the address of a database because it holds a password.
pub(super) fn refuse_password() -> anyhow::Result<()> {
    bail!(
        "url holds a password, which would be stored and shown: leave it out, and say where it is with password = \"file:PATH\" or \"env:NAME\""
    )
}

/// Makes the folder for what is too large for memory.
pub(super) fn make_spool(act: &str, around: &Surroundings) -> Result<(), SourceError> {
    std::fs::create_dir_all(&around.spool)
        .with_context(|| format!("make the folder {}", around.spool.display()))
        .map_err(|error| rejected(act, error))
}
