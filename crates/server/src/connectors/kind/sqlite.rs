//! `sqlite`: the tables of a database file.

use std::path::PathBuf;

use anyhow::bail;
use async_trait::async_trait;
use clap::Args;
use connector::SourceError;
use connector_table_stream::{SqliteConfig, SqliteSource, show_sqlite_position};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::tables::{self, EventShape};
use super::{Kind, Rest, Sources, Surroundings, Tables, Topics, default_partitions, rejected};
use crate::connectors::ConnectorName;

/// The tables of a SQLite file: every row once, then every committed change.
///
/// The file stays usable by sqlite3 and any program that waits for locks. Triggers keep a table of
/// changes in it, `_tidemill_changes`. Changes of a table go to the topic table.NAME.TABLE, and
/// functions are attached to the table's stream, whose ARN `connector list` shows: they get what
/// DynamoDB Streams would send.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add sqlite --name shop --file shop.db --tables orders,customers
  aws lambda create-event-source-mapping --function-name ship --starting-position TRIM_HORIZON \\
      --event-source-arn arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop")]
pub(crate) struct Sqlite {
    /// The database file, which exists
    #[arg(long)]
    pub(crate) file: PathBuf,
    /// Tables to read; all, also later ones, when none is named
    #[arg(long, value_name = "TABLE,…", value_delimiter = ',')]
    #[serde(default)]
    pub(crate) tables: Vec<String>,
    /// The shape of events
    #[arg(long, value_enum, default_value = "dynamodb")]
    #[serde(default)]
    pub(crate) shape: EventShape,
    /// Partitions of a topic that has to be made; a row's changes are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    pub(crate) partitions: u32,
}

#[async_trait]
impl Kind for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.file.file_name().is_none() {
            bail!("file {} is no path of a file", self.file.display());
        }
        tables::check(&self.tables, self.partitions)
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        self.file = std::path::absolute(&self.file)?;
        Ok(())
    }

    fn reads(&self) -> String {
        self.file.display().to_string()
    }

    fn topics(&self, name: &ConnectorName) -> Topics {
        tables::topics(name)
    }

    fn tables(&self) -> Tables {
        let rest = match self.tables.is_empty() {
            true => Rest::Unknown,
            false => Rest::Nothing,
        };
        tables::streams(self.shape, self.tables.clone(), rest, self.partitions)
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let config = SqliteConfig {
            naming: tables::naming(name, around, self.shape, self.partitions),
            file: self.file.clone(),
            tables: self.tables.clone(),
        };
        let source = SqliteSource::new(config, around.clock.clone());
        let source =
            source.map_err(|error| rejected(format!("set up connector {name}"), error.into()))?;
        Ok(Sources::only(source))
    }

    fn source_ids(&self, name: &ConnectorName, _log: &SharedLog) -> Vec<SourceId> {
        tables::source_ids(name)
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        show_sqlite_position(position)
    }

    async fn release(
        &self,
        name: &ConnectorName,
        _around: &Surroundings,
    ) -> Result<String, SourceError> {
        let file = self.file.clone();
        let gone = match tokio::task::spawn_blocking(move || SqliteSource::detach(&file)).await {
            Ok(detached) => detached,
            Err(error) => Err(rejected(format!("release connector {name}"), error.into())),
        };
        gone?;
        Ok("its triggers and tables were taken out of the file".to_owned())
    }

    fn leaves_behind(&self, _name: &ConnectorName) -> Option<String> {
        Some(format!(
            "its triggers stay in {}, and the table _tidemill_changes grows with every change",
            self.file.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_come_later_are_known_to_the_file_only() {
        let settings = |json| serde_json::from_value::<Sqlite>(json).unwrap();
        let all = settings(serde_json::json!({"file": "shop.db"}));
        all.check().unwrap();
        assert!(matches!(
            all.tables(),
            Tables::Some {
                rest: Rest::Unknown,
                ..
            }
        ));
        let some = settings(serde_json::json!({"file": "shop.db", "tables": ["orders"]}));
        assert!(matches!(
            some.tables(),
            Tables::Some {
                rest: Rest::Nothing,
                ..
            }
        ));
        let odd = settings(serde_json::json!({"file": "/"}));
        assert!(odd.check().unwrap_err().to_string().contains("file /"));
    }
}
