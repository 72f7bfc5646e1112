//! What the kinds that watch other stores' buckets have in common.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bucket::BucketName;
use connector_object_store::{Config, ObjectStoreSource, Remote};
use event::SourceId;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::time::Instant;

use super::{Surroundings, Topics, check_endpoint};

pub(super) const fn default_interval() -> u64 {
    30
}

/// The settings that they share.
pub(super) struct WatchedBucket<'a> {
    /// What its user calls the setting of its name.
    pub(super) setting: &'static str,
    pub(super) name: &'a str,
    pub(super) prefix: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) interval_seconds: u64,
    pub(super) partitions: u32,
}

impl WatchedBucket<'_> {
    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let bucket = BucketName::new(self.name).context(self.setting)?;
        if bucket.is_reserved() {
            bail!(
                "{} {bucket}: names that begin with tidemill- are this server's own",
                self.setting
            );
        }
        if let Some(endpoint) = self.endpoint {
            check_endpoint(endpoint)?;
        }
        if self.interval_seconds == 0 || self.partitions == 0 {
            bail!("interval_seconds and partitions must be at least 1");
        }
        Ok(())
    }

    /// The source, not connected yet.
    pub(super) fn source(
        &self,
        remote: Remote,
        region: &str,
        around: &Surroundings,
    ) -> anyhow::Result<ObjectStoreSource> {
        let config = Config {
            bucket: self.name.to_owned(),
            prefix: self.prefix.and_then(below),
            region: region.to_owned(),
            account: around.account.clone(),
            partitions: self.partitions,
        };
        let wake_ups = every(Duration::from_secs(self.interval_seconds));
        let clock = around.clock.clone();
        let source = ObjectStoreSource::new(Arc::new(remote), wake_ups, clock, config)?;
        Ok(source)
    }

    pub(super) fn source_id(&self) -> SourceId {
        SourceId::new(format!("/object-store/{}", self.name))
    }

    pub(super) fn topics(&self) -> Topics {
        Topics::OfBucket(self.name.to_owned())
    }
}

/// What the keys of objects below a path begin with.
pub(super) fn below(path: &str) -> Option<String> {
    let path = path.trim_matches('/');
    (!path.is_empty()).then(|| format!("{path}/"))
}

/// One item after each `pause`, however long whoever takes them is busy.
fn every(pause: Duration) -> BoxStream<'static, ()> {
    stream::repeat(())
        .then(move |()| async move { tokio::time::sleep_until(Instant::now() + pause).await })
        .boxed()
}
