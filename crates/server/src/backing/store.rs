//! The object store: our own buckets, or an S3-compatible store that nodes share.

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bucket::{BucketName, BucketObjectStore, BucketStore};
use clock::SharedClock;
use event_log::SharedLog;
use function::Writers;
use object_store::ObjectStore;

use super::s3::{S3Code, open_s3};
use crate::code_source::BucketCode;
use crate::config::{Config, S3Store, StoreKind};
use crate::credentials::{self, Credentials};

/// The store, open.
pub(crate) struct Store {
    /// Where documents and code packages are kept.
    pub(crate) documents: Arc<dyn ObjectStore>,
    /// Who else writes there.
    pub(crate) writers: Writers,
    /// Where code packages named by bucket and key are fetched from.
    pub(crate) code: Arc<dyn api::CodeSource>,
    /// Whose buckets there are.
    pub(crate) buckets: Buckets,
}

/// Whose buckets there are.
pub(crate) enum Buckets {
    /// Our own, with events for functions.
    Own(BucketStore),
    /// The configured store's: the S3 port rests.
    Elsewhere(S3Store),
}

impl Store {
    /// Opens it.
    ///
    /// # Errors
    /// Our own buckets cannot be recovered; the configured store cannot be reached, refuses us, or
    /// does not keep its word on conditional writes.
    pub(crate) async fn open(
        config: &Config,
        dir: &Path,
        log: &SharedLog,
        clock: &SharedClock,
    ) -> anyhow::Result<Self> {
        match config.store.kind {
            StoreKind::Folder => {
                let buckets = open_buckets(config, dir, log, clock).await?;
                let registry = BucketName::new(bucket::REGISTRY_BUCKET)?;
                Ok(Self {
                    documents: Arc::new(BucketObjectStore::new(buckets.clone(), registry)),
                    writers: Writers::Alone,
                    code: Arc::new(BucketCode(buckets.clone())),
                    buckets: Buckets::Own(buckets),
                })
            }
            StoreKind::S3 => {
                let store = &config.store.s3;
                Ok(Self {
                    documents: open_s3(store).await?,
                    writers: Writers::Several,
                    code: Arc::new(S3Code::new(store)?),
                    buckets: Buckets::Elsewhere(store.clone()),
                })
            }
        }
    }

    /// The keys that requests are signed with: the data folder's own, or those that all nodes on a
    /// shared store accept. Made on the first start.
    ///
    /// # Errors
    /// They can be neither read nor made.
    pub(crate) async fn credentials(&self, dir: &Path) -> anyhow::Result<Credentials> {
        match self.writers {
            Writers::Alone => credentials::load_or_create(dir),
            Writers::Several => credentials::share(self.documents.as_ref(), dir).await,
        }
    }
}

impl Buckets {
    /// Lets writes that have begun finish.
    pub(crate) async fn drain(&self) {
        match self {
            Self::Own(buckets) => buckets.drain().await,
            Self::Elsewhere(_) => {}
        }
    }
}

async fn open_buckets(
    config: &Config,
    dir: &Path,
    log: &SharedLog,
    clock: &SharedClock,
) -> anyhow::Result<BucketStore> {
    let settings = bucket::Config {
        folder: dir.join("objects"),
        region: config.region.clone(),
        account: config.account.clone(),
        partitions: NonZeroU32::new(config.kafka.default_partitions)
            .context("kafka.default_partitions must not be zero")?,
    };
    BucketStore::open(settings, log.clone(), clock.clone())
        .await
        .context("open the buckets")
}
