//! `s3`: a bucket of another store.

use std::path::PathBuf;

use anyhow::{Context, bail};
use async_trait::async_trait;
use clap::Args;
use connector::SourceError;
use connector_object_store::{ObjectStoreSource, Remote, S3Place, hint_queue, show_position};
use event::{SourceId, SourcePosition};
use event_log::{SharedLog, TopicName};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::buckets::{WatchedBucket, default_interval};
use super::{Kind, Sources, Surroundings, Topics, default_partitions, rejected};
use crate::backing;
use crate::config::{S3Store, Secret};
use crate::connectors::ConnectorName;
use crate::connectors::hints::Listener;
use crate::connectors::topic_hints::topic_hints;

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

    fn topic(&self) -> anyhow::Result<Option<TopicName>> {
        let topic = self.notification_topic.as_ref().map(TopicName::new);
        topic.transpose().context("notification_topic")
    }

    fn source(
        &self,
        name: &ConnectorName,
        around: &Surroundings,
    ) -> anyhow::Result<ObjectStoreSource> {
        let store = self.store();
        let keys = backing::keys_of(&store)?;
        let remote = Remote::s3(S3Place {
            endpoint: store.endpoint,
            region: store.region,
            bucket: store.bucket,
            access_key_id: keys.access_key_id,
            secret_access_key: keys.secret_access_key,
        })?;
        let source = self.bucket().source(remote, &self.region, around)?;
        if let Some(topic) = self.topic()? {
            let hints = topic_hints(around.log.clone(), topic, self.bucket.clone());
            let counter = metrics::counter!("tidemill_connector_hints_total", "connector" => name.to_string());
            let hints = hints.inspect(move |_| counter.increment(1));
            return Ok(source.hinted_by(hints.boxed()));
        }
        let Some(token) = &self.notification_token else {
            return Ok(source);
        };
        let token = token.read().context("notification_token")?;
        if token.is_empty() {
            bail!("notification_token is empty");
        }
        let (hints, taken) = hint_queue();
        let listener = Listener {
            bucket: self.bucket.clone(),
            token,
            hints,
        };
        around.hints.listen(name, listener);
        Ok(source.hinted_by(taken))
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
        if self.topic()?.is_some() && self.notification_token.is_some() {
            bail!("notifications come either by notification_topic or with a notification_token");
        }
        Ok(())
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
