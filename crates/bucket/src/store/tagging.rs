//! Tags of an object that is there: changed without writing it anew.

use std::sync::Arc;

use super::writing::Write;
use super::{BucketStore, Inner};
use crate::change::{Identity, NewObject};
use crate::object::{Content, NewContent};
use crate::reading;
use crate::s3_event::Cause;
use crate::{BucketName, Error, Object, ObjectKey, Requester, Tags, VersionId, WriteCondition};

/// What becomes of an object's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagsChange {
    /// These replace what there is.
    Put(Tags),
    /// They go.
    Delete,
}

impl BucketStore {
    /// Changes the tags of an object, or of the version that is named, durably. The object stays as it is, and so does the moment at which
    /// it was written; there is an event of its own (`ObjectTagging`), and no other.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchKey`], [`Error::NoSuchVersion`],
    /// [`Error::IsDeleteMarker`]; [`Error::Full`].
    pub async fn change_tags(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        change: TagsChange,
        requester: Requester,
    ) -> Result<Arc<Object>, Error> {
        let (tags, cause) = match change {
            TagsChange::Put(tags) => (tags, Cause::PutTags),
            TagsChange::Delete => (Tags::default(), Cause::DeleteTags),
        };
        let write = Write {
            bucket: self.inner.bucket(bucket)?,
            key: key.clone(),
            condition: WriteCondition::Always,
            cause,
            requester,
        };
        let inner = Arc::clone(&self.inner);
        self.to_the_end(async move { inner.retag(write, version, tags).await })
            .await
    }
}

impl Inner {
    /// The topic keeps the latest record of a key alone, so that the one of changed tags holds all of
    /// the object again, its bytes included where they ride in it.
    async fn retag(
        &self,
        write: Write,
        version: Option<VersionId>,
        tags: Tags,
    ) -> Result<Arc<Object>, Error> {
        let locked = self.lock(&write).await?;
        let current = match version {
            Some(version) => write.bucket.require_version(&write.key, version)?,
            None => write.bucket.require(&write.key)?,
        };
        let mut attributes = current.attributes.clone();
        attributes.tags = tags;
        let object = NewObject {
            size: current.size,
            etag: current.etag.clone(),
            checksums: current.checksums.clone(),
            attributes,
            again: Some(Identity {
                version: current.version,
                order: current.order,
                last_modified: current.last_modified,
            }),
            upload: current.upload,
            content: match &current.content {
                Content::Inline(place) => {
                    NewContent::Inline(reading::read_inline(&*self.log, place).await?)
                }
                Content::Blobs(blobs) => NewContent::Blobs(Arc::clone(blobs)),
                Content::File(_) => return Err(Error::invalid("the object is not this server's")),
            },
        };
        self.make_visible(&locked, object).await
    }
}
