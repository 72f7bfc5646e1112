//! The `object_store` interface over one bucket, for parts of Tidemill that keep documents.
//!
//! A conditional put is the store's compare-and-append: of several writers that name the same tag,
//! or want to create the same path, exactly one succeeds. Entity tags are the store's, without
//! quotes. What cannot be applied (tags, storage classes, versions) is refused by name.

mod attributes;
mod upload;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use crate::{
    BucketName, BucketStore, ETag, Error, ListQuery, Listing, Object, ObjectKey, PutBody,
    Requester, WriteCondition,
};
use attributes::{attributes_of, object_attributes};
use upload::Upload;

const STORE: &str = "bucket";

/// One bucket as an [`ObjectStore`]. A cheap handle.
#[derive(Clone, Debug)]
pub struct BucketObjectStore {
    store: BucketStore,
    bucket: BucketName,
}

impl BucketObjectStore {
    /// The bucket `bucket` of `store`. It need not exist yet.
    #[must_use]
    pub fn new(store: BucketStore, bucket: BucketName) -> Self {
        Self { store, bucket }
    }

    fn head(&self, location: &Path) -> object_store::Result<Arc<Object>> {
        self.store
            .head(&self.bucket, &key(location)?)
            .map_err(|error| failed(location, error))
    }

    /// Pages of a listing, fetched as they are consumed.
    fn pages(&self, query: ListQuery) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let this = self.clone();
        let pages = stream::try_unfold(Some(query), move |query| {
            let page = query.map(|query| this.page(query));
            async move { page.transpose() }
        });
        pages.try_flatten().boxed()
    }

    fn page(
        &self,
        mut query: ListQuery,
    ) -> object_store::Result<(
        BoxStream<'static, object_store::Result<ObjectMeta>>,
        Option<ListQuery>,
    )> {
        let page = self.list_page(&query)?;
        let metas: Vec<_> = page.objects.iter().map(|object| meta(object)).collect();
        let next = page.next.map(|last| {
            query.after = Some(last);
            query
        });
        Ok((stream::iter(metas).boxed(), next))
    }

    fn list_page(&self, query: &ListQuery) -> object_store::Result<Listing> {
        self.store
            .list(&self.bucket, query)
            .map_err(|error| failed(&Path::from(query.prefix.as_str()), error))
    }
}

impl fmt::Display for BucketObjectStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}", self.bucket)
    }
}

#[async_trait]
impl ObjectStore for BucketObjectStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let condition = match &options.mode {
            PutMode::Overwrite => WriteCondition::Always,
            PutMode::Create => WriteCondition::Absent,
            PutMode::Update(version) => match (&version.e_tag, &version.version) {
                (Some(etag), None) => WriteCondition::Tag(ETag::new(etag)),
                (_, Some(_)) => return Err(unsupported("updates by version")),
                (None, None) => return Err(unsupported("updates without an entity tag")),
            },
        };
        let length = payload.content_length() as u64;
        let chunks: Vec<_> = payload.into_iter().map(Ok).collect();
        let put = crate::PutOptions {
            attributes: object_attributes(&options.attributes, &options.tags)?,
            condition: condition.clone(),
            ..Default::default()
        };
        let body = PutBody::stream(stream::iter(chunks)).with_length(length);
        let object = self
            .store
            .put(&self.bucket, &key(location)?, body, put)
            .await
            .map_err(|error| not_written(location, &condition, error))?;
        Ok(written(&object))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let attributes = object_attributes(&options.attributes, &options.tags)?;
        let upload = Upload::begin(
            self.store.clone(),
            self.bucket.clone(),
            location.clone(),
            attributes,
        )
        .await?;
        Ok(Box::new(upload))
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        if options.version.is_some() {
            return Err(unsupported("versions"));
        }
        let object = self.head(location)?;
        let meta = meta(&object)?;
        options.check_preconditions(&meta)?;
        let range: Range<u64> = match &options.range {
            None => 0..object.size(),
            Some(range) => range
                .as_range(object.size())
                .map_err(|error| generic(Box::new(error)))?,
        };
        let payload = if options.head {
            stream::empty().boxed()
        } else {
            let body = self
                .store
                .read(&object, range.clone())
                .await
                .map_err(|error| failed(location, error))?;
            body.map_err(|error| generic(Box::new(error))).boxed()
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(payload),
            meta,
            range,
            attributes: attributes_of(&object),
            extensions: Default::default(),
        })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        /// Deletions under way at once: they share commits.
        const CONCURRENT: usize = 16;
        let this = self.clone();
        locations
            .map(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    let (key, requester) = (key(&location)?, Requester::internal());
                    this.store
                        .delete(&this.bucket, &key, WriteCondition::Always, requester)
                        .await
                        .map_err(|error| failed(&location, error))?;
                    Ok(location)
                }
            })
            .buffered(CONCURRENT)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.pages(ListQuery {
            prefix: folder(prefix),
            ..Default::default()
        })
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.pages(ListQuery {
            prefix: folder(prefix),
            after: Some(offset.to_string()),
            ..Default::default()
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let page = self.list_page(&ListQuery {
            prefix: folder(prefix),
            delimiter: Some("/".to_owned()),
            limit: usize::MAX,
            ..Default::default()
        })?;
        let objects = page.objects.iter().map(|object| meta(object));
        let prefixes = page.common_prefixes.iter().map(Path::parse);
        Ok(ListResult {
            objects: objects.collect::<Result<_, _>>()?,
            common_prefixes: prefixes.collect::<Result<_, _>>()?,
            extensions: Default::default(),
        })
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        let condition = match options.mode {
            CopyMode::Overwrite => WriteCondition::Always,
            CopyMode::Create => WriteCondition::Absent,
        };
        let source = self.head(from)?;
        let copy = crate::CopyOptions {
            condition: condition.clone(),
            ..Default::default()
        };
        self.store
            .copy(&source, &self.bucket, &key(to)?, copy)
            .await
            .map_err(|error| not_written(to, &condition, error))?;
        Ok(())
    }
}

fn key(location: &Path) -> object_store::Result<ObjectKey> {
    ObjectKey::new(location.as_ref()).map_err(|error| failed(location, error))
}

/// The prefix of the keys below a path: paths match whole segments.
fn folder(prefix: Option<&Path>) -> String {
    match prefix {
        Some(path) if !path.as_ref().is_empty() => format!("{path}/"),
        Some(_) | None => String::new(),
    }
}

fn meta(object: &Object) -> object_store::Result<ObjectMeta> {
    Ok(ObjectMeta {
        location: Path::parse(object.key().as_str())?,
        last_modified: std::time::SystemTime::from(object.last_modified()).into(),
        size: object.size(),
        e_tag: Some(object.etag().to_string()),
        version: None,
    })
}

fn written(object: &Object) -> PutResult {
    PutResult {
        e_tag: Some(object.etag().to_string()),
        version: None,
        extensions: Default::default(),
    }
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic {
        store: STORE,
        source,
    }
}

fn unsupported(what: &str) -> object_store::Error {
    object_store::Error::NotSupported {
        source: format!("buckets have no {what}").into(),
    }
}

fn failed(location: &Path, error: Error) -> object_store::Error {
    match error {
        Error::NoSuchKey { .. } | Error::NoSuchBucket { .. } => object_store::Error::NotFound {
            path: location.to_string(),
            source: Box::new(error),
        },
        other => generic(Box::new(other)),
    }
}

/// What a conditional write that did not happen means to its caller.
fn not_written(location: &Path, condition: &WriteCondition, error: Error) -> object_store::Error {
    let (path, conflict) = (
        location.to_string(),
        matches!(
            error,
            Error::PreconditionFailed { .. } | Error::NoSuchKey { .. }
        ),
    );
    match condition {
        WriteCondition::Absent if conflict => object_store::Error::AlreadyExists {
            path,
            source: Box::new(error),
        },
        WriteCondition::Tag(_) | WriteCondition::Present if conflict => {
            object_store::Error::Precondition {
                path,
                source: Box::new(error),
            }
        }
        WriteCondition::Always
        | WriteCondition::Absent
        | WriteCondition::Present
        | WriteCondition::Tag(_) => failed(location, error),
    }
}

#[cfg(test)]
mod tests;
