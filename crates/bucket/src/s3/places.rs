//! Where a request's bucket is: among ours, or somebody else's files, which are read only.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::Door;
use crate::connected::OpenFile;
use crate::{
    BucketInfo, BucketName, Checksums, ConnectedBucket, ConnectedFile, ETag, Error, ListQuery,
    Listing, Object, ObjectKey, VersionId,
};

/// An object as a listing shows it.
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) etag: ETag,
    pub(super) last_modified: clock::Timestamp,
    pub(super) checksums: Checksums,
}

impl Door {
    /// A bucket that clients may know of.
    pub(super) fn bucket_name(&self, name: &str) -> S3Result<BucketName> {
        let name = BucketName::new(name)?;
        if name.is_reserved() {
            return Err(S3ErrorCode::NoSuchBucket.into());
        }
        Ok(name)
    }

    /// The same, for a request that reads and says whose bucket it expects it to be.
    pub(super) fn owned_bucket(&self, name: &str, owner: Option<&str>) -> S3Result<BucketName> {
        if owner.is_some_and(|owner| owner != self.store.account()) {
            return Err(s3_error!(
                AccessDenied,
                "the bucket belongs to another account"
            ));
        }
        self.bucket_name(name)
    }

    /// The same, for a request that only buckets of ours can answer.
    pub(super) fn writable_bucket(&self, name: &str, owner: Option<&str>) -> S3Result<BucketName> {
        let bucket = self.owned_bucket(name, owner)?;
        match self.connected(&bucket) {
            Some(files) => Err(s3_error!(
                AccessDenied,
                "bucket {bucket} is {}, and can only be read here",
                files.description()
            )),
            None => Ok(bucket),
        }
    }

    /// Refuses a bucket that can be read neither among ours nor elsewhere.
    pub(super) fn expect_bucket(&self, bucket: &BucketName) -> S3Result<()> {
        match (self.store.bucket(bucket), self.connected(bucket)) {
            (Ok(_), _) | (Err(_), Some(_)) => Ok(()),
            (Err(error), None) => Err(self.not_here(bucket, error)),
        }
    }

    /// The object of a key, by its version where one is named. Somebody else's files have no versions.
    pub(super) async fn object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> S3Result<Arc<Object>> {
        let Some(files) = self.connected(bucket) else {
            let found = match version {
                Some(version) => self.store.version(bucket, key, version),
                None => self.store.head(bucket, key),
            };
            return found.map_err(|error| self.not_here(bucket, error));
        };
        if version.is_some_and(|version| version != VersionId::NULL) {
            return Err(S3ErrorCode::NoSuchVersion.into());
        }
        let asked = key.clone();
        let opened = off_thread(bucket, move || OpenFile::open(files, &asked)).await?;
        match opened {
            Some(file) => Ok(Arc::new(Object::of_file(key.clone(), file))),
            None => Err(S3Error::from(Error::NoSuchKey {
                bucket: bucket.clone(),
                key: key.clone(),
                marker: None,
            })),
        }
    }

    /// A page of a bucket's objects.
    pub(super) async fn listing(
        &self,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> S3Result<Listing<Listed>> {
        let Some(files) = self.connected(bucket) else {
            let page = self.store.list(bucket, query);
            let page = page.map_err(|error| self.not_here(bucket, error))?;
            return Ok(page.map(|object| Listed::of_ours(&object)));
        };
        let query = query.clone();
        let page = off_thread(bucket, move || {
            let mut walk = files.walk()?;
            query.page_of(|from: Bound<&str>| {
                let next = walk.next(from)?;
                Ok(next.map(|(key, file)| (key.clone(), Listed::of_file(key, file))))
            })
        });
        page.await
    }

    /// What of somebody else's files appears as buckets.
    pub(super) async fn connected_buckets(&self) -> S3Result<Vec<BucketInfo>> {
        let connected = Arc::clone(&self.connected);
        Ok(crate::ingest::off_thread(move || Ok(connected.all())).await?)
    }

    /// Somebody else's files of that name. A bucket of ours comes first.
    fn connected(&self, bucket: &BucketName) -> Option<Arc<dyn ConnectedBucket>> {
        match self.store.bucket(bucket) {
            Ok(_) => None,
            Err(_) => self.connected.get(bucket),
        }
    }

    /// Says of a bucket that is not here where it is, when that is known.
    fn not_here(&self, bucket: &BucketName, error: Error) -> S3Error {
        match &error {
            Error::NoSuchBucket { .. } if self.notifications.is_watched(bucket) => s3_error!(
                NoSuchBucket,
                "bucket {bucket} is another store's, which a connector watches: its objects are to be had there"
            ),
            _ => error.into(),
        }
    }
}

impl Listed {
    fn of_ours(object: &Object) -> Self {
        Self {
            key: object.key().to_string(),
            size: object.size(),
            etag: object.etag().clone(),
            last_modified: object.last_modified(),
            checksums: object.checksums().clone(),
        }
    }

    fn of_file(key: String, file: ConnectedFile) -> Self {
        Self {
            key,
            size: file.size,
            etag: file.etag,
            last_modified: file.modified,
            checksums: Checksums::default(),
        }
    }
}

/// Does what blocks, and has its failure in S3's words.
async fn off_thread<T: Send + 'static>(
    bucket: &BucketName,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> S3Result<T> {
    let done = match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return Err(Error::Closed.into()),
        },
    };
    done.map_err(|source| {
        tracing::warn!(%bucket, error = %source, "a connected bucket cannot be read");
        let mut error = match source.kind() {
            io::ErrorKind::PermissionDenied => s3_error!(
                AccessDenied,
                "the server may not read that file of bucket {bucket}"
            ),
            _ => s3_error!(
                ServiceUnavailable,
                "the files of bucket {bucket} cannot be read just now"
            ),
        };
        error.set_source(Box::new(source));
        error
    })
}
