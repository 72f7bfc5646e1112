//! Objects: write, read, copy, delete.

use std::ops::Range;
use std::sync::Arc;

use super::BucketStore;
use super::writing::Write;
use crate::change::NewObject;
use crate::ingest::{Ingested, IngestedBytes, Placement, ingest, off_thread};
use crate::object::{Content, NewContent};
use crate::reading::{self, ObjectBody};
use crate::s3_event::Cause;
use crate::{
    BucketName, ChecksumAlgorithm, DeleteMarker, Error, Object, ObjectAttributes, ObjectKey,
    PutBody, Requester, Tags, Version, VersionId, WriteCondition,
};

/// The most bytes written at once (AWS, "Uploading objects", 2026).
pub(super) const MAX_PUT_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// How an object came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMethod {
    /// HTTP PUT.
    #[default]
    Put,
    /// HTTP POST of a form.
    Post,
}

/// What a deletion did.
#[derive(Clone, Debug)]
pub enum Deletion {
    /// Nothing: there was nothing to delete.
    Nothing,
    /// A version is gone for good.
    Removed(Version),
    /// The object is hidden by a new version that says so.
    Marked(Arc<DeleteMarker>),
}

/// What goes with a write.
#[derive(Clone, Debug)]
pub struct PutOptions {
    /// Kept with the object.
    pub attributes: ObjectAttributes,
    /// What must hold for the write to happen.
    pub condition: WriteCondition,
    /// How it came in.
    pub method: WriteMethod,
    /// Who asked.
    pub requester: Requester,
}

/// What goes with a copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// Kept with the copy in place of what the source has; their tags do not count.
    pub attributes: Option<ObjectAttributes>,
    /// Given to the copy in place of the source's tags.
    pub tags: Option<Tags>,
    /// What must hold of the target for the copy to happen.
    pub condition: WriteCondition,
    /// A checksum that the copy must have.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Who asked.
    pub requester: Requester,
}

impl Default for PutOptions {
    /// A write of Tidemill's own, without attributes or condition.
    fn default() -> Self {
        Self {
            attributes: ObjectAttributes::default(),
            condition: WriteCondition::default(),
            method: WriteMethod::default(),
            requester: Requester::internal(),
        }
    }
}

impl Default for CopyOptions {
    /// A copy of Tidemill's own, with the source's attributes and without condition.
    fn default() -> Self {
        Self {
            attributes: None,
            tags: None,
            condition: WriteCondition::default(),
            checksum: None,
            requester: Requester::internal(),
        }
    }
}

impl BucketStore {
    /// Writes an object of at most 5 GiB: receives the body, verifies what its sender announced,
    /// makes it durable, then makes it visible together with its event.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`]; the reasons to reject a body; [`Error::PreconditionFailed`] and
    /// [`Error::NoSuchKey`] from the condition; [`Error::Full`]. Nothing is visible then.
    pub async fn put(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        body: PutBody,
        options: PutOptions,
    ) -> Result<Arc<Object>, Error> {
        options.attributes.check()?;
        let inner = &self.inner;
        let target = inner.bucket(bucket)?;
        // Looked at before the body arrives as a favour, and again with the write because it counts.
        options
            .condition
            .check(target.get(key).as_deref(), bucket, key)?;
        let ingested = ingest(&inner.blobs, body, Placement::BySize, MAX_PUT_BYTES).await?;
        let write = Write {
            bucket: target,
            key: key.clone(),
            condition: options.condition,
            cause: match options.method {
                WriteMethod::Put => Cause::Put,
                WriteMethod::Post => Cause::Post,
            },
            requester: options.requester,
        };
        let object = ingested.into_object(options.attributes);
        let inner = Arc::clone(inner);
        self.to_the_end(async move { inner.write(write, object).await })
            .await
    }

    /// The object of that key.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`].
    pub fn head(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Arc<Object>, Error> {
        self.inner.bucket(bucket)?.require(key)
    }

    /// The object that is this version.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchVersion`], [`Error::IsDeleteMarker`].
    pub fn version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<Arc<Object>, Error> {
        self.inner.bucket(bucket)?.require_version(key, version)
    }

    /// Opens a half-open range of an object's bytes, which is cut to its size.
    ///
    /// # Errors
    /// [`Error::Corrupt`], [`Error::Log`] when the bytes cannot be read.
    pub async fn read(&self, object: &Arc<Object>, range: Range<u64>) -> Result<ObjectBody, Error> {
        let end = range.end.min(object.size);
        let range = range.start.min(end)..end;
        let inner = &self.inner;
        reading::open(&*inner.log, &inner.blobs, Arc::clone(object), range).await
    }

    /// Deletes an object. In a bucket without versions it is gone, and where there was nothing,
    /// nothing happens and there is no event; in one with versions a delete marker hides it.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`]; [`Error::PreconditionFailed`] and [`Error::NoSuchKey`] from the
    /// condition; [`Error::Full`].
    pub async fn delete(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        condition: WriteCondition,
        requester: Requester,
    ) -> Result<Deletion, Error> {
        let write = self.deletion(bucket, key, condition, requester)?;
        let inner = Arc::clone(&self.inner);
        self.to_the_end(async move { inner.delete(write).await })
            .await
    }

    /// Removes a version for good, object or delete marker; where it was the newest, the one before
    /// it is the current one from then on. Where there is none, nothing happens and there is no
    /// event. The condition is about the current object, whichever version that is.
    ///
    /// # Errors
    /// Those of [`delete`](Self::delete).
    pub async fn delete_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: VersionId,
        condition: WriteCondition,
        requester: Requester,
    ) -> Result<Deletion, Error> {
        let write = self.deletion(bucket, key, condition, requester)?;
        let inner = Arc::clone(&self.inner);
        self.to_the_end(async move { inner.remove(write, version).await })
            .await
    }

    fn deletion(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        condition: WriteCondition,
        requester: Requester,
    ) -> Result<Write, Error> {
        Ok(Write {
            bucket: self.inner.bucket(bucket)?,
            key: key.clone(),
            condition,
            cause: Cause::Delete,
            requester,
        })
    }

    /// Copies `source`, as it was when it was looked up, to a key. Bytes in blobs are not copied but
    /// named twice; the copy keeps the source's entity tag, also that of a multipart upload.
    ///
    /// # Errors
    /// Those of [`put`](Self::put).
    pub async fn copy(
        &self,
        source: &Arc<Object>,
        bucket: &BucketName,
        key: &ObjectKey,
        options: CopyOptions,
    ) -> Result<Arc<Object>, Error> {
        let mut attributes = options
            .attributes
            .unwrap_or_else(|| source.attributes.clone());
        attributes.tags = options
            .tags
            .unwrap_or_else(|| source.attributes.tags.clone());
        attributes.check()?;
        let inner = &self.inner;
        let target = inner.bucket(bucket)?;
        options
            .condition
            .check(target.get(key).as_deref(), bucket, key)?;
        let object = match options.checksum {
            Some(wanted) if source.checksums.get(wanted).is_none() => {
                self.rewritten(source, Some(wanted), attributes).await?
            }
            Some(_) | None => self.linked(source, attributes).await?,
        };
        let write = Write {
            bucket: target,
            key: key.clone(),
            condition: options.condition,
            cause: Cause::Copy,
            requester: options.requester,
        };
        let inner = Arc::clone(inner);
        self.to_the_end(async move { inner.write(write, object).await })
            .await
    }

    /// A copy that shares its bytes with the source.
    async fn linked(
        &self,
        source: &Arc<Object>,
        attributes: ObjectAttributes,
    ) -> Result<NewObject, Error> {
        let inner = &self.inner;
        let content = match &source.content {
            Content::Inline(place) => {
                NewContent::Inline(reading::read_inline(&*inner.log, place).await?)
            }
            Content::Blobs(blobs) => {
                let (store, refs) = (inner.blobs.clone(), blobs.refs().to_vec());
                NewContent::Blobs(Arc::new(off_thread(move || store.link(&refs)).await?))
            }
            Content::File(_) => return self.rewritten(source, None, attributes).await,
        };
        Ok(NewObject {
            size: source.size,
            etag: source.etag.clone(),
            checksums: source.checksums.clone(),
            attributes,
            again: None,
            upload: source.upload,
            content,
        })
    }

    /// A copy whose bytes went through our hands, for a checksum that the source lacks or because they
    /// are not ours.
    async fn rewritten(
        &self,
        source: &Arc<Object>,
        checksum: Option<ChecksumAlgorithm>,
        attributes: ObjectAttributes,
    ) -> Result<NewObject, Error> {
        let mut body = self.body_of(source, 0..source.size).await?;
        if let Some(checksum) = checksum {
            body = body.computing(checksum);
        }
        let ingested = ingest(&self.inner.blobs, body, Placement::BySize, u64::MAX).await?;
        Ok(ingested.into_object(attributes))
    }

    /// A range of an object as the body of a write.
    pub(super) async fn body_of(
        &self,
        source: &Arc<Object>,
        range: Range<u64>,
    ) -> Result<PutBody, Error> {
        use futures::TryStreamExt;

        let body = self.read(source, range).await?;
        let length = body.remaining();
        Ok(PutBody::stream(body.map_err(Into::into)).with_length(length))
    }
}

impl Ingested {
    fn into_object(self, attributes: ObjectAttributes) -> NewObject {
        NewObject {
            size: self.size,
            etag: self.etag(),
            checksums: self.checksums,
            attributes,
            again: None,
            upload: None,
            content: match self.bytes {
                IngestedBytes::Inline(bytes) => NewContent::Inline(bytes),
                IngestedBytes::Blobs(blobs) => NewContent::Blobs(Arc::new(blobs)),
            },
        }
    }
}
