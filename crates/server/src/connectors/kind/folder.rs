//! `folder`: files that are dropped into a local folder.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use bucket::BucketName;
use clap::Args;
use connector::SourceError;
use connector_object_store::{Config, FolderConfig, FolderFiles, FolderSource, show_position};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::{Kind, Sources, Surroundings, Topics, default_partitions, rejected};
use crate::connectors::ConnectorName;

/// Files of a local folder and of those within it: those that are there, then every one that is
/// created, changed or removed.
///
/// A file is told when whoever wrote it has closed it, or has moved it there. Symbolic links are not
/// followed. Events go to the topic bucket.BUCKET in S3's shape, with the path below the folder as
/// key. Functions are attached as to a bucket of this server: by a notification configuration, which
/// sees what changes after it.
///
/// By the same names the files can be read through the server's S3 port (GetObject, HeadObject,
/// ListObjects, CopyObject from there), by whoever has the account's credentials, functions included.
/// Writes are refused.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add folder --name scans --path /srv/scans --bucket scans
  aws s3api put-bucket-notification-configuration --bucket scans --notification-configuration \\
      '{\"LambdaFunctionConfigurations\": [{\"LambdaFunctionArn\":
        \"arn:aws:lambda:us-east-1:000000000000:function:read\", \"Events\": [\"s3:ObjectCreated:*\"]}]}'")]
pub(crate) struct Folder {
    /// The folder, which exists
    #[arg(long)]
    pub(crate) path: PathBuf,
    /// The bucket that it appears as [default: NAME]
    #[arg(long)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<String>,
    /// Seconds until the folder is looked through without a hint of the system
    #[arg(long, value_name = "SECONDS", default_value_t = default_interval(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    #[serde(default = "default_interval")]
    pub(crate) interval_seconds: u64,
    /// Partitions of the topic when it has to be made; a file's events are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    pub(crate) partitions: u32,
}

const fn default_interval() -> u64 {
    30
}

impl Folder {
    fn bucket(&self, name: &ConnectorName) -> String {
        let own = || name.to_string();
        self.bucket.clone().unwrap_or_else(own)
    }
}

#[async_trait]
impl Kind for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    fn check(&self) -> anyhow::Result<()> {
        if let Some(bucket) = &self.bucket {
            let bucket = BucketName::new(bucket).context("bucket")?;
            if bucket.is_reserved() {
                bail!("bucket {bucket}: names that begin with tidemill- are this server's own");
            }
        }
        if self.interval_seconds == 0 || self.partitions == 0 {
            bail!("interval_seconds and partitions must be at least 1");
        }
        Ok(())
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        self.path = std::path::absolute(&self.path)?;
        Ok(())
    }

    fn reads(&self) -> String {
        self.path.display().to_string()
    }

    fn topics(&self, name: &ConnectorName) -> Topics {
        Topics::OfBucket(self.bucket(name))
    }

    fn files(&self, name: &ConnectorName) -> Option<(String, FolderFiles)> {
        Some((self.bucket(name), FolderFiles::new(self.path.clone())))
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let bucket = self.bucket(name);
        // A connector's name may be too short for a bucket's.
        BucketName::new(&bucket)
            .context("bucket")
            .map_err(|error| rejected(format!("set up connector {name}"), error))?;
        let config = FolderConfig {
            bucket: Config {
                bucket,
                prefix: None,
                region: around.region.clone(),
                account: around.account.clone(),
                partitions: self.partitions,
            },
            path: self.path.clone(),
            interval: Duration::from_secs(self.interval_seconds),
        };
        let source = FolderSource::new(config, around.clock.clone());
        let source =
            source.map_err(|error| rejected(format!("set up connector {name}"), error.into()))?;
        Ok(Sources::only(source))
    }

    fn source_ids(&self, name: &ConnectorName, _log: &SharedLog) -> Vec<SourceId> {
        vec![SourceId::new(format!("/folder/{}", self.bucket(name)))]
    }

    fn show(&self, position: &SourcePosition) -> Option<String> {
        show_position(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_as_a_bucket_that_a_notification_can_name() {
        let settings = |json| serde_json::from_value::<Folder>(json).unwrap();
        let name: ConnectorName = "scans".parse().unwrap();
        let folder = settings(serde_json::json!({"path": "/srv/scans"}));
        folder.check().unwrap();
        assert_eq!(folder.topics(&name), Topics::OfBucket("scans".to_owned()));
        for bucket in ["No", "tidemill-registry"] {
            let folder = settings(serde_json::json!({"path": "/srv/scans", "bucket": bucket}));
            let refused = format!("{:#}", folder.check().unwrap_err());
            assert!(refused.contains("bucket"), "{refused}");
        }
    }
}
