//! `mysql`: tables of a MySQL or MariaDB server.

use std::path::PathBuf;

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::Args;
use connector::SourceError;
use connector_table_stream::{MysqlAddress, MysqlConfig, MysqlSource, show_mysql_position};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::tables::{self, EventShape};
use super::{Kind, Rest, Sources, Surroundings, Tables, Topics, default_partitions, rejected};
use crate::config::Secret;
use crate::connectors::ConnectorName;

/// Tables of a MySQL or MariaDB server: every row once, then every committed change.
///
/// MySQL 8.0 or MariaDB 10.5, or newer, with binlog_format = ROW, binlog_row_image = FULL and
/// binlog_row_metadata = FULL; tables of InnoDB with a primary key. The user needs REPLICATION SLAVE,
/// REPLICATION CLIENT (MariaDB: BINLOG MONITOR) and SELECT on the tables, with MySQL also LOCK TABLES.
/// Changes of a table go to the topic table.NAME.TABLE, and functions are attached to the table's
/// stream, whose ARN `connector list` shows: they get what DynamoDB Streams would send. What the
/// server removes from its log before it was read is told, and the tables are read again.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add mysql --name shop --url mysql://ada@db.example/shop \\
      --password file:/etc/tidemill/shop.password --tables orders,customers
  aws lambda create-event-source-mapping --function-name ship --starting-position TRIM_HORIZON \\
      --event-source-arn arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop")]
pub(crate) struct Mysql {
    /// The database, mysql://USER@HOST:PORT/DATABASE, without a password
    #[arg(long)]
    pub(crate) url: String,
    /// Where the user's password is: file:PATH or env:NAME, which the server reads when it connects
    #[arg(long, value_name = "REFERENCE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<Secret>,
    /// Tables to read, as TABLE of that database or DATABASE.TABLE
    #[arg(long, value_name = "TABLE,…", value_delimiter = ',', required = true)]
    pub(crate) tables: Vec<String>,
    /// What the server knows this connector by among its replicas, for it alone [default: at random]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_id: Option<u32>,
    /// The shape of events
    #[arg(long, value_enum, default_value = "dynamodb")]
    #[serde(default)]
    pub(crate) shape: EventShape,
    /// A PEM file with the authorities that may vouch for the database: connect by TLS
    #[arg(long, value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_certificates: Option<PathBuf>,
    /// Partitions of a topic that has to be made; a row's changes are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    pub(crate) partitions: u32,
}

impl Mysql {
    fn config(&self, name: &ConnectorName, around: &Surroundings) -> anyhow::Result<MysqlConfig> {
        let password = self.password.as_ref().map(Secret::read).transpose();
        Ok(MysqlConfig {
            naming: tables::naming(name, around, self.shape, self.partitions),
            url: self.url.clone(),
            password: password.context("read the password")?,
            tables: self.tables.clone(),
            server_id: self.server_id,
            ca_certificates: self.ca_certificates.clone(),
            spool_folder: around.spool.clone(),
        })
    }

    fn address(&self) -> anyhow::Result<MysqlAddress> {
        self.url.parse().context("url")
    }
}

#[async_trait]
impl Kind for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.address()?.holds_password() {
            tables::refuse_password()?;
        }
        if self.tables.is_empty() {
            bail!("name the tables to read in tables");
        }
        if self.server_id == Some(0) {
            bail!("server_id must be at least 1");
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
        // Settings were checked before they were kept.
        self.address()
            .map_or_else(|error| format!("{error:#}"), |address| address.to_string())
    }

    fn topics(&self, name: &ConnectorName) -> Topics {
        tables::topics(name)
    }

    fn tables(&self) -> Tables {
        let home = self.address().map(|it| it.database().to_owned());
        let short = |table: &String| match (table.split_once('.'), &home) {
            (Some((database, table)), Ok(home)) if database == home => table.to_owned(),
            _ => table.clone(),
        };
        let names = self.tables.iter().map(short).collect();
        tables::streams(self.shape, names, Rest::Nothing, self.partitions)
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
        let source = MysqlSource::new(config, around.clock.clone());
        let source = source.map_err(|error| rejected(act, error.into()))?;
        Ok(Sources::only(source))
    }

    fn source_ids(&self, name: &ConnectorName, _log: &SharedLog) -> Vec<SourceId> {
        tables::source_ids(name)
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        show_mysql_position(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mysql(url: &str) -> Mysql {
        let tables = ["orders", "shop.customers", "other.items"];
        serde_json::from_value(serde_json::json!({"url": url, "tables": tables})).unwrap()
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_not_repeated() {
        for url in [
            "mysql://ada:hush@db/shop",
            "mysql://ada@db/shop?password=hush",
        ] {
            let refused = format!("{:#}", mysql(url).check().unwrap_err());
            assert!(!refused.contains("hush"), "{refused}");
        }
        mysql("mysql://ada@db/shop").check().unwrap();
        mysql("mariadb://ada@db/shop").check().unwrap();
    }

    #[test]
    fn streams_are_named_without_the_database_of_the_address() {
        let Tables::Some { names, .. } = mysql("mysql://ada@db/shop").tables() else {
            panic!("no streams");
        };
        assert_eq!(names, ["orders", "customers", "other.items"]);
    }
}
