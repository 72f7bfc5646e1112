//! The S3 protocol over a [`BucketStore`], and over [`ConnectedBuckets`] for reading: path style, every
//! request signed.
//!
//! `s3s` parses requests, verifies signatures (headers, presigned, chunked with trailers) and writes
//! answers; here requests become calls of the store, and its errors S3's. A parameter that cannot be
//! applied is refused by name, and an operation that is not in the table below answers
//! `NotImplemented` with its name: nothing is accepted and ignored.
//!
//! Reserved buckets do not exist here.

mod attributes;
mod auth;
mod authorization;
mod bodies;
mod buckets;
mod call;
mod conditions;
mod copies;
mod deletes;
mod errors;
mod fields;
mod lifecycle;
mod lists;
mod notification_config;
mod places;
mod reads;
mod refusals;
mod resting;
mod tagging;
mod unquoted;
mod uploads;
mod version_lists;
mod versions;
mod writes;

use std::net::IpAddr;
use std::sync::Arc;

use access::Keyring;
use async_trait::async_trait;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result};

use crate::{BucketStore, ConnectedBuckets, Notifications};
use auth::Keys;
use authorization::Policies;
use unquoted::Unquoted;

pub use resting::not_here;

/// The most bytes of a form upload: `s3s` gathers the file of a form in memory.
const MAX_FORM_BYTES: u64 = 64 * 1024 * 1024;

/// The address of a request's sender. Who serves the door puts it into the request's extensions;
/// without it events name the unspecified address.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

/// The S3 service over `store` and, read-only, over what is `connected`, for requests signed with one of
/// `keys`, as far as whose key it is may do what is asked. Anonymous requests are refused. Where both have a bucket of one name, it is the
/// store's. Cheap to clone; a service of both `hyper` and `tower`.
#[must_use]
pub fn service(
    store: BucketStore,
    keys: Arc<Keyring>,
    notifications: Arc<dyn Notifications>,
    connected: Arc<dyn ConnectedBuckets>,
) -> S3Service {
    let mut config = S3Config::default();
    config.post_object_max_file_size = MAX_FORM_BYTES;
    let config = Arc::new(StaticConfigProvider::new(Arc::new(config)));
    let door = Door {
        store,
        notifications,
        connected,
    };
    let builder = || {
        let mut builder = S3ServiceBuilder::new(door.clone());
        builder.set_auth(Keys(keys.clone()));
        builder.set_access(Policies(keys.clone()));
        builder.set_config(config.clone());
        builder
    };
    let believing = builder().build();
    let mut builder = builder();
    builder.set_route(Unquoted { believing });
    builder.build()
}

/// What answers requests.
#[derive(Clone)]
struct Door {
    store: BucketStore,
    notifications: Arc<dyn Notifications>,
    connected: Arc<dyn ConnectedBuckets>,
}

/// The operations of the door: method, names in `s3s`, and who answers.
macro_rules! operations {
    ($($method:ident: $input:ident => $output:ident, $name:literal, $answer:path;)*) => {
        #[async_trait]
        impl S3 for Door {
            $(
                async fn $method(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    self.answer($name, request, |call| $answer(self, call)).await
                }
            )*
        }
    };
}

operations! {
    create_bucket: CreateBucketInput => CreateBucketOutput, "CreateBucket", buckets::create;
    delete_bucket: DeleteBucketInput => DeleteBucketOutput, "DeleteBucket", buckets::delete;
    head_bucket: HeadBucketInput => HeadBucketOutput, "HeadBucket", buckets::head;
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput, "GetBucketLocation", buckets::location;
    list_buckets: ListBucketsInput => ListBucketsOutput, "ListBuckets", buckets::list;
    put_object: PutObjectInput => PutObjectOutput, "PutObject", writes::put;
    get_object: GetObjectInput => GetObjectOutput, "GetObject", reads::get;
    head_object: HeadObjectInput => HeadObjectOutput, "HeadObject", reads::head;
    get_object_attributes: GetObjectAttributesInput => GetObjectAttributesOutput, "GetObjectAttributes", attributes::get;
    delete_object: DeleteObjectInput => DeleteObjectOutput, "DeleteObject", deletes::one;
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput, "DeleteObjects", deletes::many;
    copy_object: CopyObjectInput => CopyObjectOutput, "CopyObject", copies::object;
    list_objects: ListObjectsInput => ListObjectsOutput, "ListObjects", lists::version_1;
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output, "ListObjectsV2", lists::version_2;
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput, "ListObjectVersions", version_lists::list;
    put_bucket_versioning: PutBucketVersioningInput => PutBucketVersioningOutput, "PutBucketVersioning", versions::put;
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput, "GetBucketVersioning", versions::get;
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput, "CreateMultipartUpload", uploads::create;
    upload_part: UploadPartInput => UploadPartOutput, "UploadPart", uploads::part;
    upload_part_copy: UploadPartCopyInput => UploadPartCopyOutput, "UploadPartCopy", copies::part;
    list_parts: ListPartsInput => ListPartsOutput, "ListParts", uploads::list_parts;
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput, "ListMultipartUploads", uploads::list;
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput, "CompleteMultipartUpload", uploads::complete;
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput, "AbortMultipartUpload", uploads::abort;
    put_object_tagging: PutObjectTaggingInput => PutObjectTaggingOutput, "PutObjectTagging", tagging::put;
    get_object_tagging: GetObjectTaggingInput => GetObjectTaggingOutput, "GetObjectTagging", tagging::get;
    delete_object_tagging: DeleteObjectTaggingInput => DeleteObjectTaggingOutput, "DeleteObjectTagging", tagging::delete;
    put_bucket_lifecycle_configuration: PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput, "PutBucketLifecycleConfiguration", lifecycle::put;
    get_bucket_lifecycle_configuration: GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput, "GetBucketLifecycleConfiguration", lifecycle::get;
    delete_bucket_lifecycle: DeleteBucketLifecycleInput => DeleteBucketLifecycleOutput, "DeleteBucketLifecycle", lifecycle::delete;
    put_bucket_notification_configuration: PutBucketNotificationConfigurationInput => PutBucketNotificationConfigurationOutput, "PutBucketNotificationConfiguration", notification_config::put;
    get_bucket_notification_configuration: GetBucketNotificationConfigurationInput => GetBucketNotificationConfigurationOutput, "GetBucketNotificationConfiguration", notification_config::get;
}

#[cfg(test)]
mod tests;
