//! `dynamodb`: tables of DynamoDB, by their streams.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::Args;
use connector::{Source, SourceError};
use connector_table_stream::{
    DynamoDbConfig, DynamoDbKeys, DynamoDbSource, show_dynamodb_position,
};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::tables::{self, EventShape};
use super::{
    Kind, Rest, Sources, Surroundings, Tables, Topics, check_endpoint, default_partitions, rejected,
};
use crate::backing;
use crate::connectors::ConnectorName;

/// Tables of DynamoDB: every change that their streams still have, then every one that follows.
///
/// Each table needs a stream, and the user the rights ListStreams, DescribeStream, GetShardIterator and
/// GetRecords of dynamodb. A stream keeps changes for 24 hours: what it drops before it was read is told.
/// Rows from before the stream was switched on are not read. Changes of a table go to the topic
/// table.NAME.TABLE, and functions are attached to the table's stream here, whose ARN `connector list`
/// shows: they get what DynamoDB has sent.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  aws dynamodb update-table --table-name orders \\
      --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES
  tidemill connector add dynamodb --name shop --region eu-west-1 --tables orders,customers \\
      --credentials /etc/tidemill/aws.credentials
  aws lambda create-event-source-mapping --function-name ship --starting-position TRIM_HORIZON \\
      --event-source-arn arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/shop")]
pub(crate) struct Dynamodb {
    /// Tables to read
    #[arg(long, value_name = "TABLE,…", value_delimiter = ',', required = true)]
    pub(crate) tables: Vec<String>,
    /// Their region
    #[arg(long)]
    pub(crate) region: String,
    /// Another service than AWS's: http://HOST:PORT or https://HOST
    #[arg(long, value_name = "URL")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// A file in AWS's shared-credentials format, which the server reads; else its environment is used
    #[arg(long, value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<PathBuf>,
    /// Partitions of a topic that has to be made; an item's changes are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    pub(crate) partitions: u32,
}

impl Dynamodb {
    fn source(
        &self,
        table: &str,
        keys: DynamoDbKeys,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> anyhow::Result<Box<dyn Source>> {
        let config = DynamoDbConfig {
            naming: tables::naming(name, around, EventShape::Dynamodb, self.partitions),
            table: table.to_owned(),
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            keys,
        };
        let source = DynamoDbSource::new(&config, around.clock.clone())?;
        Ok(Box::new(source))
    }

    fn keys(&self) -> anyhow::Result<DynamoDbKeys> {
        let keys = backing::credentials_of(self.credentials.as_deref().unwrap_or(Path::new("")));
        let keys = keys.context("find the credentials: name a file with them in `credentials`")?;
        Ok(DynamoDbKeys {
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key,
        })
    }
}

#[async_trait]
impl Kind for Dynamodb {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.tables.is_empty() {
            bail!("name the tables to read in tables");
        }
        if self.region.is_empty() {
            bail!("region must not be empty");
        }
        if let Some(endpoint) = &self.endpoint {
            check_endpoint(endpoint)?;
        }
        tables::check(&self.tables, self.partitions)
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        let credentials = self.credentials.take().map(std::path::absolute);
        self.credentials = credentials.transpose()?;
        Ok(())
    }

    fn reads(&self) -> String {
        let place = self.endpoint.as_deref().unwrap_or(&self.region);
        format!("dynamodb tables {} at {place}", self.tables.join(","))
    }

    fn topics(&self, name: &ConnectorName) -> Topics {
        tables::topics(name)
    }

    fn tables(&self) -> Tables {
        let names = self.tables.clone();
        tables::streams(EventShape::Dynamodb, names, Rest::Nothing, self.partitions)
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let reject = |error| rejected(format!("set up connector {name}"), error);
        let keys = self.keys().map_err(reject)?;
        let sources = self
            .tables
            .iter()
            .map(|table| self.source(table, keys.clone(), name, around));
        Ok(Sources {
            all: sources.collect::<anyhow::Result<_>>().map_err(reject)?,
            absent: Vec::new(),
            look_again: None,
            runner: connector::Settings::default(),
        })
    }

    fn source_ids(&self, name: &ConnectorName, _log: &SharedLog) -> Vec<SourceId> {
        let of = |table: &String| SourceId::new(format!("/tables/{name}/{table}"));
        self.tables.iter().map(of).collect()
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        show_dynamodb_position(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(json: serde_json::Value) -> Result<Dynamodb, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let json = |more: (&str, serde_json::Value)| {
            let mut json = serde_json::json!({"tables": ["orders"], "region": "eu-west-1"});
            json[more.0] = more.1;
            settings(json)
        };
        json(("partitions", 2.into())).unwrap().check().unwrap();
        for (setting, value) in [
            ("tables", serde_json::json!([])),
            ("region", "".into()),
            ("partitions", 0.into()),
            ("endpoint", "dynamo:8000".into()),
            ("endpoint", "http://ada:hush@dynamo:8000".into()),
        ] {
            let refused = json((setting, value)).unwrap().check().unwrap_err();
            let text = format!("{refused:#}");
            assert!(text.contains(setting) && !text.contains("hush"), "{text}");
        }
        assert!(json(("shape", "plain".into())).is_err());
    }
}
