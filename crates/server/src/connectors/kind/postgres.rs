//! `postgres`: a database's tables.

use std::path::PathBuf;

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::Args;
use connector::SourceError;
use connector_table_stream::{
    PostgresAddress, PostgresConfig, PostgresSource, release_postgres, show_postgres_position,
};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::tables::{self, EventShape};
use super::{Kind, Rest, Sources, Surroundings, Tables, Topics, default_partitions, rejected};
use crate::config::Secret;
use crate::connectors::ConnectorName;

/// A PostgreSQL database's tables: every row once, then every committed change.
///
/// PostgreSQL 15 or newer with wal_level = logical; the user needs the right to replicate. Changes
/// of a table go to the topic table.NAME.TABLE, and functions are attached to the table's stream,
/// whose ARN `connector list` shows: they get what DynamoDB Streams would send.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add postgres --name shop --url postgres://ada@db.example/shop \\
      --password file:/etc/tidemill/shop.password --tables orders,customers
  aws lambda create-event-source-mapping --function-name ship --starting-position TRIM_HORIZON \\
      --event-source-arn arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop")]
pub(crate) struct Postgres {
    /// The database, postgres://USER@HOST:PORT/DATABASE, without a password
    #[arg(long)]
    pub(crate) url: String,
    /// Where the user's password is: file:PATH or env:NAME, which the server reads when it connects
    #[arg(long, value_name = "REFERENCE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Secret>,
    /// Tables to read, as TABLE or SCHEMA.TABLE; none when a publication names them
    #[arg(long, value_name = "TABLE,…", value_delimiter = ',')]
    #[serde(default)]
    pub(crate) tables: Vec<String>,
    /// A publication that exists already; else one is made of the tables
    #[arg(long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) publication: Option<String>,
    /// The replication slot, for this connector alone [default: tidemill_NAME]
    #[arg(long, value_name = "NAME")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slot: Option<String>,
    /// The shape of events
    #[arg(long, value_enum, default_value = "dynamodb")]
    #[serde(default)]
    pub(crate) shape: EventShape,
    /// A PEM file with the authorities that may vouch for the database: connect by TLS
    #[arg(long, value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_certificates: Option<PathBuf>,
    /// Bytes of log that the database may have to keep for us before an alarm is raised
    #[arg(long, value_name = "BYTES", default_value_t = default_budget())]
    #[serde(default = "default_budget")]
    pub(crate) retained_wal_budget: u64,
    /// Partitions of a topic that has to be made; a row's changes are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    pub(crate) partitions: u32,
}

/// 1 GiB.
const fn default_budget() -> u64 {
    1 << 30
}

impl Postgres {
    fn config(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> anyhow::Result<PostgresConfig> {
        let password = self.password.as_ref().map(Secret::read).transpose();
        Ok(PostgresConfig {
            naming: tables::naming(name, around, self.shape, self.partitions),
            url: self.url.clone(),
            password: password.context("read the password")?,
            tables: self.tables.clone(),
            publication: self.publication.clone(),
            slot: self.slot.clone(),
            ca_certificates: self.ca_certificates.clone(),
            retained_wal_budget: self.retained_wal_budget,
            spool_folder: around.spool.clone(),
        })
    }

    fn slot(&self, name: &ConnectorName) -> String {
        let made = || format!("tidemill_{}", name.as_str().replace('-', "_"));
        self.slot.clone().unwrap_or_else(made)
    }
}

#[async_trait]
impl Kind for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn check(&self) -> anyhow::Result<()> {
        let address: PostgresAddress = self.url.parse().context("url")?;
        if address.holds_password() {
            tables::refuse_password()?;
        }
        if self.tables.is_empty() && self.publication.is_none() {
            bail!("name the tables to read in tables, or a publication that exists");
        }
        if !self.tables.is_empty() && self.publication.is_some() {
            bail!(
                "tables are for a publication that has to be made, and publication names one that exists: give one of them"
            );
        }
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if let Some(slot) = &self.slot
            && (slot.is_empty() || slot.len() > 63 || !slot.bytes().all(legal))
        {
            bail!("slot {slot:?} must be 1 to 63 of a-z, 0-9 and _");
        }
        tables::check(&self.tables, self.partitions)
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        self.password = self.password.take().map(Secret::absolute).transpose()?;
        let certificates = self.ca_certificates.take().map(std::path::absolute);
        self.ca_certificates = certificates.transpose()?;
        Ok(())
    }

    fn reads(&self) -> String {
        let address = self
            .url
            .parse()
            .map(|address: PostgresAddress| address.to_string());
        // Settings were checked before they were kept.
        address.unwrap_or_else(|error| error.to_string())
    }

    fn topics(&self, name: &ConnectorName) -> Topics {
        tables::topics(name)
    }

    fn tables(&self) -> Tables {
        let short = |table: &String| table.strip_prefix("public.").unwrap_or(table).to_owned();
        let names = self.tables.iter().map(short).collect();
        let rest = match self.publication {
            None => Rest::Nothing,
            Some(_) => Rest::Unknown,
        };
        tables::streams(self.shape, names, rest, self.partitions)
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let act = format!("set up connector {name}");
        let config = self.config(name, around);
        let config = config.map_err(|error| rejected(act.as_str(), error))?;
        tables::make_spool(&act, around)?;
        let source = PostgresSource::new(config, around.clock.clone());
        let source = source.map_err(|error| rejected(act, error.into()))?;
        Ok(Sources::only(source))
    }

    fn source_ids(&self, name: &ConnectorName, _log: &SharedLog) -> Vec<SourceId> {
        tables::source_ids(name)
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        show_postgres_position(position)
    }

    async fn release(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<String, SourceError> {
        let config = self.config(name, around);
        let config =
            config.map_err(|error| rejected(format!("release connector {name}"), error))?;
        release_postgres(&config).await?;
        Ok(match &self.publication {
            None => format!(
                "slot {} and publication {} were dropped",
                config.slot(),
                config.publication()
            ),
            Some(publication) => format!(
                "slot {} was dropped; publication {publication} is yours and stays",
                config.slot()
            ),
        })
    }

    fn leaves_behind(&self, name: &ConnectorName) -> Option<String> {
        let slot = self.slot(name);
        Some(format!(
            "slot {slot} stays, and the database keeps its log for it until you drop it: SELECT pg_drop_replication_slot('{slot}')"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(url: &str) -> Postgres {
        serde_json::from_value(serde_json::json!({"url": url, "tables": ["orders"]})).unwrap()
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        for url in [
            "postgres://ada:hush@db/shop",
            "postgres://ada@db/shop?password=hush",
        ] {
            let refused = format!("{:#}", postgres(url).check().unwrap_err());
            assert!(
                refused.contains("file:PATH") && !refused.contains("hush"),
                "{refused}"
            );
        }
        postgres("postgres://ada@db/shop").check().unwrap();
    }

    #[test]
    fn the_slot_is_named_as_the_source_names_it() {
        let name: ConnectorName = "shop-1".parse().unwrap();
        let mut settings = postgres("postgres://ada@db/shop");
        assert_eq!(settings.slot(&name), "tidemill_shop_1");
        settings.slot = Some("Mine".to_owned());
        assert!(settings.check().unwrap_err().to_string().contains("slot"));
    }
}
