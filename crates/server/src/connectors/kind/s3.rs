//! `s3`: a bucket of another store.

mod hints;

use std::path::PathBuf;

use anyhow::bail;
use async_trait::async_trait;
use clap::Args;
use connector::SourceError;
use connector_object_store::{ObjectStoreSource, Remote, S3Place, show_position};
use event::{SourceId, SourcePosition};
use event_log::SharedLog;
use serde::{Deserialize, Serialize};

use super::buckets::{WatchedBucket, default_interval};
use super::{Kind, Sources, Surroundings, Topics, default_partitions, rejected};
use crate::backing;
use crate::config::{S3Store, Secret};
use crate::connectors::ConnectorName;

/// A bucket of another S3-compatible store: its objects, then every object that is created, replaced
/// or removed.
///
/// The bucket is listed and compared with what was there before, so that nothing is missed; a million
/// objects take the server some 50 MiB of memory. Events go to the topic bucket.BUCKET in S3's own shape.
/// Functions are attached as to a bucket of this server: by a notification configuration, which sees
/// what changes after it.
#[derive(Args, Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[command(after_help = "\
Example:
  tidemill connector add s3 --name partner --bucket incoming --endpoint https://s3.example.org \\
      --credentials /etc/tidemill/partner.credentials
  mc admin config set partner notify_webhook:tidemill auth_token=... \\
      endpoint=https://tidemill.example.org/_tidemill/notifications/partner   # with --notification-token
  tidemill connector add s3 --name partner --bucket incoming --region eu-west-1 \\
      --notification-queue https://sqs.eu-west-1.amazonaws.com/123456789012/incoming-changes
  aws s3api put-bucket-notification-configuration --bucket incoming --notification-configuration \\
      '{\"LambdaFunctionConfigurations\": [{\"LambdaFunctionArn\":
        \"arn:aws:lambda:us-east-1:000000000000:function:import\", \"Events\": [\"s3:ObjectCreated:*\"]}]}'")]
pub(crate) struct S3 {
    /// The bucket at the other store
    #[arg(long)]
    pub(crate) bucket: String,
    /// Only objects below this path
    #[arg(long, value_name = "PATH")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    /// The store's address [default: AWS S3 of the region]
    #[arg(long, value_name = "URL")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// The store's region
    #[arg(long, default_value_t = default_region())]
    #[serde(default = "default_region")]
    pub(crate) region: String,
    /// An AWS shared-credentials file, which the server reads [default: the server's own AWS_ACCESS_KEY_ID
    /// and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE]
    #[arg(long, value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<PathBuf>,
    /// The token that the store's notifications carry, as file:PATH or env:NAME. With it, the store may
    /// post them to /_tidemill/notifications/NAME of this server, so that objects are seen at once
    #[arg(long, value_name = "SECRET")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notification_token: Option<Secret>,
    /// The topic of this server that the store's notifications come to, in its stead: the store publishes
    /// them to the Kafka port, or a kafka connector copies them in
    #[arg(long, value_name = "TOPIC", conflicts_with = "notification_token")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notification_topic: Option<String>,
    /// The queue that the store's notifications come to, in their stead: the address of a queue of Amazon
    /// SQS, or of a service that speaks like it, in the store's region. It is read with the same credentials;
    /// the rights ReceiveMessage and DeleteMessage are needed. Nobody else should read it
    #[arg(long, value_name = "URL", conflicts_with_all = ["notification_token", "notification_topic"])]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notification_queue: Option<String>,
    /// Have the store tell of changes on a connection that is kept open to it, as MinIO-compatible stores do
    /// without being configured for it
    #[arg(long, conflicts_with_all = ["notification_token", "notification_topic", "notification_queue"])]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) notification_listen: bool,
    /// Seconds between two listings
    #[arg(long, value_name = "SECONDS", default_value_t = default_interval(), value_parser = clap::value_parser!(u64).range(1..=86_400))]
    #[serde(default = "default_interval")]
    pub(crate) interval_seconds: u64,
    /// Partitions of the topic when it has to be made; an object's events are always in one
    #[arg(long, default_value_t = default_partitions(), value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default = "default_partitions")]
    pub(crate) partitions: u32,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

impl S3 {
    fn store(&self) -> S3Store {
        S3Store {
            endpoint: self.endpoint.clone().unwrap_or_default(),
            region: self.region.clone(),
            bucket: self.bucket.clone(),
            credentials: self.credentials.clone().unwrap_or_default(),
            ..S3Store::default()
        }
    }

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

    fn source(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> anyhow::Result<ObjectStoreSource> {
        let store = self.store();
        let keys = backing::keys_of(&store)?;
        let place = S3Place {
            endpoint: store.endpoint,
            region: store.region,
            bucket: store.bucket,
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key,
        };
        let remote = Remote::s3(place.clone())?;
        let source = self.bucket().source(remote, &self.region, around)?;
        Ok(match self.hints(place, name, around)? {
            Some(hints) => source.hinted_by(hints),
            None => source,
        })
    }
}

#[async_trait]
impl Kind for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    fn check(&self) -> anyhow::Result<()> {
        self.bucket().check()?;
        if self.region.is_empty() {
            bail!("region must not be empty");
        }
        self.notified().map(drop)
    }

    fn make_absolute(&mut self) -> std::io::Result<()> {
        let credentials = self.credentials.take().map(std::path::absolute);
        self.credentials = credentials.transpose()?;
        let token = self.notification_token.take().map(Secret::absolute);
        self.notification_token = token.transpose()?;
        Ok(())
    }

    fn reads(&self) -> String {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        format!(
            "s3://{}/{prefix} at {}",
            self.bucket,
            self.store().address()
        )
    }

    fn topics(&self, _name: &ConnectorName) -> Topics {
        self.bucket().topics()
    }

    async fn sources(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> Result<Sources, SourceError> {
        let source = self.source(name, around);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(more: &str) -> S3 {
        toml::from_str(&format!("bucket = 'incoming'\n{more}")).unwrap()
    }

    #[test]
    fn credentials_in_the_address_are_refused_and_not_repeated() {
        s3("endpoint = 'https://s3.example.org'").check().unwrap();
        let refused = s3("endpoint = 'https://ada:hush@s3.example.org'").check();
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("endpoint") && !refused.contains("hush"),
            "{refused}"
        );
    }

    #[test]
    fn a_bucket_that_no_notification_could_name_is_refused() {
        for bucket in ["No", "tidemill-registry", "a/b"] {
            let mut settings = s3("");
            settings.bucket = bucket.to_owned();
            let refused = format!("{:#}", settings.check().unwrap_err());
            assert!(refused.contains("bucket"), "{refused}");
        }
    }
}
