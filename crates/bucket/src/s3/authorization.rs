//! What a caller needs leave for: the action and the resource of each operation.
//!
//! Source: "Actions, resources, and condition keys for Amazon S3", AWS service authorization reference,
//! and "Required permissions for Amazon S3 API operations", S3 user guide, 2026. Objects that a request's
//! body names are judged one by one where they are deleted; see `deletes`.

use std::sync::Arc;

use access::{Caller, Keyring};
use async_trait::async_trait;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{
    CopyObjectInput, CopySource, CreateMultipartUploadInput, PutObjectInput, UploadPartCopyInput,
};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};

use super::unquoted::access_key;

/// Judges requests whose signature holds.
pub(super) struct Policies(pub(super) Arc<Keyring>);

#[async_trait]
impl S3Access for Policies {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let credentials = cx.credentials().cloned();
        let key = access_key(credentials.as_ref(), cx.extensions_mut());
        let Some(key) = key else {
            return Err(s3_error!(AccessDenied, "requests must be signed"));
        };
        let known = self.0.find(key);
        let Some(known) = known else {
            return Err(s3_error!(AccessDenied));
        };
        let caller = known.caller;
        if !caller.is_account() {
            match cx.s3_op().name() {
                // Each of its objects is judged by itself.
                "DeleteObjects" => {}
                // A form has its key in its body, and comes by as a PutObject.
                "PostObject" => {}
                operation => {
                    let version = Version::of(cx.uri().query());
                    allow(&caller, action(operation, version), &resource(cx.s3_path()))?;
                }
            }
        }
        cx.extensions_mut().insert(caller);
        Ok(())
    }

    async fn put_object(&self, request: &mut S3Request<PutObjectInput>) -> S3Result<()> {
        let (caller, input) = (caller(request)?, &request.input);
        let object = object(&input.bucket, &input.key);
        allow(&caller, "s3:PutObject", &object)?;
        allow_tags(&caller, input.tagging.as_ref(), &object)
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        let (caller, input) = (caller(request)?, &request.input);
        read_source(&caller, &input.copy_source)?;
        allow_tags(
            &caller,
            input.tagging.as_ref(),
            &object(&input.bucket, &input.key),
        )
    }

    async fn create_multipart_upload(
        &self,
        request: &mut S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<()> {
        let (caller, input) = (caller(request)?, &request.input);
        allow_tags(
            &caller,
            input.tagging.as_ref(),
            &object(&input.bucket, &input.key),
        )
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        read_source(&caller(request)?, &request.input.copy_source)
    }
}

/// Whether a version is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Named,
    Current,
}

impl Version {
    /// What a query says. It is decoded as `s3s` decodes it: a name that is spelled in another way is the
    /// same name.
    fn of(query: Option<&str>) -> Self {
        let pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(query.unwrap_or_default()).unwrap_or_default();
        Self::named(pairs.iter().find(|(name, _)| name == "versionId"))
    }

    pub(super) fn named<T>(version: Option<T>) -> Self {
        match version {
            Some(_) => Self::Named,
            None => Self::Current,
        }
    }
}

/// Whether `caller` may delete that object, or that version of it.
pub(super) fn delete(caller: &Caller, bucket: &str, key: &str, version: Version) -> S3Result<()> {
    allow(
        caller,
        action("DeleteObject", version),
        &object(bucket, key),
    )
}

fn read_source(caller: &Caller, source: &CopySource) -> S3Result<()> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            let version = Version::named(version_id.as_ref());
            allow(caller, action("GetObject", version), &object(bucket, key))
        }
        // Refused by the operation itself.
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => Ok(()),
    }
}

/// Whether `caller` may give a new object tags, if it gives any.
fn allow_tags<T>(caller: &Caller, tags: Option<T>, object: &str) -> S3Result<()> {
    match tags {
        Some(_) => allow(caller, "s3:PutObjectTagging", object),
        None => Ok(()),
    }
}

fn caller<T>(request: &S3Request<T>) -> S3Result<Caller> {
    let caller = request.extensions.get::<Caller>().cloned();
    caller.ok_or_else(|| s3_error!(AccessDenied))
}

fn allow(caller: &Caller, action: &str, resource: &str) -> S3Result<()> {
    let checked = caller.check(action, resource);
    checked.map_err(|denied| s3_error!(AccessDenied, "{denied}"))
}

fn resource(path: &S3Path) -> String {
    match path {
        S3Path::Root => "*".to_owned(),
        S3Path::Bucket { bucket } => format!("arn:aws:s3:::{bucket}"),
        S3Path::Object { bucket, key } => object(bucket, key),
    }
}

fn object(bucket: &str, key: &str) -> String {
    format!("arn:aws:s3:::{bucket}/{key}")
}

/// IAM's name of what an operation does. Operations that are not served are refused whoever asks.
fn action(operation: &str, version: Version) -> &'static str {
    match (operation, version) {
        ("GetObject" | "HeadObject" | "GetObjectAttributes", Version::Current) => "s3:GetObject",
        ("GetObject" | "HeadObject" | "GetObjectAttributes", Version::Named) => {
            "s3:GetObjectVersion"
        }
        ("DeleteObject", Version::Current) => "s3:DeleteObject",
        ("DeleteObject", Version::Named) => "s3:DeleteObjectVersion",
        ("GetObjectTagging", Version::Current) => "s3:GetObjectTagging",
        ("GetObjectTagging", Version::Named) => "s3:GetObjectVersionTagging",
        ("PutObjectTagging", Version::Current) => "s3:PutObjectTagging",
        ("PutObjectTagging", Version::Named) => "s3:PutObjectVersionTagging",
        ("DeleteObjectTagging", Version::Current) => "s3:DeleteObjectTagging",
        ("DeleteObjectTagging", Version::Named) => "s3:DeleteObjectVersionTagging",
        (
            "PutObject"
            | "CopyObject"
            | "CreateMultipartUpload"
            | "UploadPart"
            | "UploadPartCopy"
            | "CompleteMultipartUpload",
            _,
        ) => "s3:PutObject",
        ("AbortMultipartUpload", _) => "s3:AbortMultipartUpload",
        ("ListParts", _) => "s3:ListMultipartUploadParts",
        ("ListMultipartUploads", _) => "s3:ListBucketMultipartUploads",
        ("HeadBucket" | "ListObjects" | "ListObjectsV2", _) => "s3:ListBucket",
        ("ListObjectVersions", _) => "s3:ListBucketVersions",
        ("ListBuckets", _) => "s3:ListAllMyBuckets",
        ("CreateBucket", _) => "s3:CreateBucket",
        ("DeleteBucket", _) => "s3:DeleteBucket",
        ("GetBucketLocation", _) => "s3:GetBucketLocation",
        ("PutBucketVersioning", _) => "s3:PutBucketVersioning",
        ("GetBucketVersioning", _) => "s3:GetBucketVersioning",
        ("PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle", _) => {
            "s3:PutLifecycleConfiguration"
        }
        ("GetBucketLifecycleConfiguration", _) => "s3:GetLifecycleConfiguration",
        ("PutBucketNotificationConfiguration", _) => "s3:PutBucketNotification",
        ("GetBucketNotificationConfiguration", _) => "s3:GetBucketNotification",
        // No policy names it but by a wildcard for everything.
        (_, _) => "s3:NotServed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_however_its_parameter_is_spelled() {
        for query in [
            "versionId=1",
            "a=b&versionId=",
            "version%49d=1",
            "versionId",
            "a&%76ersionId=1",
        ] {
            assert_eq!(Version::of(Some(query)), Version::Named, "{query}");
        }
        for query in ["", "versionid=1", "x=versionId", "versions", "xversionId=1"] {
            assert_eq!(Version::of(Some(query)), Version::Current, "{query}");
        }
        assert_eq!(Version::of(None), Version::Current);
    }
}
