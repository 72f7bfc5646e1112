//! Buckets and objects over a log and a folder.

mod bucket;
mod buckets;
mod expiry;
mod multipart;
mod objects;
mod recovery;
mod tagging;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use clock::SharedClock;
use event_log::SharedLog;
use parking_lot::RwLock;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::blob::BlobStore;
use crate::key_locks::KeyLocks;
use crate::s3_event::Origin;
use crate::sequencer::Sequencers;
use crate::uploads::Uploads;
use crate::{BucketName, Error};
use bucket::Bucket;
use expiry::Alarm;

pub use bucket::BucketInfo;
pub use multipart::{NewUpload, UploadCompletion};
pub use objects::{CopyOptions, Deletion, PutOptions, WriteMethod};
pub use tagging::TagsChange;

/// The bucket in which Tidemill keeps its registry of functions and triggers.
pub const REGISTRY_BUCKET: &str = "tidemill-registry";

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of blobs and uploads; made when absent. One store at a time may use it.
    pub folder: PathBuf,
    /// The region that events name.
    pub region: String,
    /// The account that owns the buckets.
    pub account: String,
    /// Partitions of the topic of a new bucket.
    pub partitions: NonZeroU32,
}

/// Buckets, objects and multipart uploads. A cheap handle; clones share one store.
///
/// - **Visibility**: a change is visible to readers when, and only when, its record is in the topic
///   `bucket.<name>`. An operation returns after its record is durable and its effect visible.
/// - **Order**: changes of one key are in the log in the order in which they became visible, with
///   growing [sequencers](crate::Sequencer).
/// - **Cancellation**: dropping the future of a write while its body arrives leaves nothing behind.
///   After that it runs to its end whether or not somebody waits.
/// - **Readers** see the version that they opened to its end, whatever happens to its key.
///
/// - **Versions**: what a bucket keeps of its objects is its own setting, and part of a write's commit
///   like everything else: see [`Versioning`](crate::Versioning).
///
/// The index of keys is in memory and rebuilt from the log by [`open`](Self::open): some 900 bytes
/// a version, whether an object is current or not, and 250 a delete marker, so it suits up to about a
/// million of them. Beyond that it belongs on disk, with the offset it has applied in the same
/// transaction.
#[derive(Clone, Debug)]
pub struct BucketStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: SharedLog,
    clock: SharedClock,
    origin: Origin,
    partitions: NonZeroU32,
    blobs: BlobStore,
    uploads: Uploads,
    buckets: RwLock<BTreeMap<BucketName, Arc<Bucket>>>,
    /// Held while a bucket is made or removed: removed buckets whose topic is still there.
    bucket_changes: Mutex<BTreeSet<BucketName>>,
    keys: KeyLocks,
    /// When the next object or upload goes by itself.
    expiry_alarm: Alarm,
    sequencers: Sequencers,
    /// Writes past their point of no return, and removals of files.
    tasks: TaskTracker,
}

impl BucketStore {
    /// Opens the store: reads every bucket's topic, then removes blobs that nothing names.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a record, an upload's file or a bucket's topic contradicts the rest;
    /// [`Error::Log`] and [`Error::Io`] when they cannot be read.
    pub async fn open(config: Config, log: SharedLog, clock: SharedClock) -> Result<Self, Error> {
        let store = recovery::recover(config, log, clock).await?;
        let registry = BucketName::new(REGISTRY_BUCKET).expect("the name keeps the rules");
        if store.bucket(&registry).is_err() {
            store.create_bucket(&registry).await?;
        }
        Ok(store)
    }

    /// The region that the store was opened for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.inner.origin.region
    }

    /// The account that owns the buckets.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.inner.origin.account
    }

    /// Waits for writes under way. Call it before the log is closed, after the doors are.
    pub async fn drain(&self) {
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Runs `work` to its end, whether or not the caller waits for it.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match self.inner.tasks.spawn(work).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Closed),
            },
        }
    }
}

#[cfg(test)]
mod tests;
