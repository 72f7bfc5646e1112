//! `gcs`: a bucket of Google Cloud Storage.

use std::path::PathBuf;

use anyhow::Context;
use async_trait::async_trait;
use clap::Args;
use connector::SourceError;
use connector_object_store::{GcsPlace, ObjectStoreSource, Remote, show_position};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::buckets::{WatchedBucket, default_interval};
use super::{Kind, Sources, Surroundings, Topics, default_partitions, rejected};
use crate::connectors::ConnectorName;

/// A bucket of Google Cloud Storage: its objects, then every object that is created, replaced or removed.
///
/// The bucket is listed and compared with what was there before, so that nothing is missed; a million
/// objects take the server some 50 MiB of memory. Events go to the topic bucket.BUCKET in the shape of
/// S3's, with the object's MD5 as eTag, or its generation where it was composed. Functions are attached as
/// to a bucket of this server: by a notification configuration, which sees what changes after it.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  gcloud iam service-accounts keys create /etc/tidemill/partner.json --iam-account \\
      tidemill@partner.iam.gserviceaccount.com   # which has the role Storage Object Viewer
  tidemill connector add gcs --name partner --bucket incoming --credentials /etc/tidemill/partner.json
  aws s3api put-bucket-notification-configuration --bucket incoming --notification-configuration \\
      '{\"LambdaFunctionConfigurations\": [{\"LambdaFunctionArn\":
        \"arn:aws:lambda:us-east-1:000000000000:function:import\", \"Events\": [\"s3:ObjectCreated:*\"]}]}'")]
pub(crate) struct Gcs {
    /// The bucket
    #[arg(long)]
    bucket: String,
    /// Only objects below this path
    #[arg(long, value_name = "PATH")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The store's address [default: https://storage.googleapis.com]
    #[arg(long, value_name = "URL")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    /// A service account's key, as Google makes it (JSON), which the server reads
    #[arg(long, value_name = "FILE")]
    credentials: PathBuf,
    /// Seconds between two listings
    #[arg(long, value_name = "SECONDS", default_value_t = default_interval(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    #[serde(default = "default_interval")]
    interval_seconds: u64,
    /// Partitions of the topic when it has to be made; an object's events are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    partitions: u32,
}

impl Gcs {
    fn bucket(&self) -> WatchedBucket<'_> {
        WatchedBucket {
            setting: "bucket",
            name: &self.bucket,
            prefix: self.prefix.as_deref(),
            endpoint: self.endpoint.as_deref(),
            interval_seconds: self.interval_seconds,
            partitions: self.partitions,
        }
    }

    fn source(&self, around: &Surroundings) -> anyhow::Result<ObjectStoreSource> {
        let file = self.credentials.display();
        let account = std::fs::read_to_string(&self.credentials);
        let remote = Remote::gcs(GcsPlace {
            endpoint: self.endpoint.clone().unwrap_or_default(),
            bucket: self.bucket.clone(),
            service_account: account.with_context(|| format!("read credentials {file}"))?,
        });
        let remote = remote.with_context(|| format!("use credentials {file}"))?;
        self.bucket().source(remote, &around.region, around)
    }
}

#[async_trait]
impl Kind for Gcs {
    fn name(&self) -> &'static str {
        "gcs"
    }

    fn check(&self) -> anyhow::Result<()> {
        self.bucket().check()
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        self.credentials = std::path::absolute(&self.credentials)?;
        Ok(())
    }

    fn reads(&self) -> String {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let at = match &self.endpoint {
            Some(endpoint) => format!(" at {endpoint}"),
            None => String::new(),
        };
        format!("gs://{}/{prefix}{at}", self.bucket)
    }

    fn topics(&self, _name: &ConnectorName) -> Topics {
        self.bucket().topics()
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let source = self.source(around);
        let source = source.map_err(|error| rejected(format!("set up connector {name}"), error))?;
        Ok(Sources::only(source))
    }

    fn source_ids(&self, _name: &ConnectorName, _log: &SharedLog) -> Vec<SourceId> {
        vec![self.bucket().source_id()]
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        show_position(position)
    }
}
