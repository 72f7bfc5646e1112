//! DeleteObject and DeleteObjects. No object is locked, so that leave to pass over locks
//! (`x-amz-bypass-governance-retention`) is taken: there is none to pass over.

use futures::{StreamExt, stream};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    Error as DeleteError, ObjectIdentifier,
};
use s3s::{S3Result, s3_error};

use super::Door;
use super::authorization;
use super::call::Call;
use super::fields;
use super::refusals::refuse;
use super::versions;
use crate::{
    BucketName, Deletion, ETag, Error, ObjectKey, Requester, Version, VersionId, WriteCondition,
};

/// Keys of one DeleteObjects (AWS, API reference, 2026).
const MAX_KEYS: usize = 1000;
/// Deletions under way at once: they share commits.
const CONCURRENT: usize = 64;

pub(super) async fn one(
    door: &Door,
    call: Call<DeleteObjectInput>,
) -> S3Result<DeleteObjectOutput> {
    let input = call.input;
    refuse!(input;
        mfa => "x-amz-mfa",
        if_match_last_modified_time => "x-amz-if-match-last-modified-time",
        if_match_size => "x-amz-if-match-size",
    );
    let version = versions::named(input.version_id.as_ref())?;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let condition = fields::write_condition(input.if_match.as_ref(), None)?;
    let key = ObjectKey::new(&input.key)?;
    let deletion = delete(door, (&bucket, &key, version), condition, call.requester).await?;
    let marker = marker(&deletion);
    Ok(DeleteObjectOutput {
        delete_marker: marker.map(|_| true),
        version_id: marker.map(|id| id.to_string()).or(input.version_id),
        ..Default::default()
    })
}

pub(super) async fn many(
    door: &Door,
    call: Call<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let input = call.input;
    refuse!(input;
        mfa => "x-amz-mfa",
    );
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.store.bucket(&bucket)?;
    if input.delete.objects.is_empty() || input.delete.objects.len() > MAX_KEYS {
        return Err(s3_error!(MalformedXML, "name 1 to {MAX_KEYS} keys"));
    }
    let (bucket, caller, requester) = (&bucket, &call.caller, &call.requester);
    let outcomes: Vec<_> = stream::iter(input.delete.objects)
        .map(|object| async move {
            let (key, version) = (object.key.clone(), object.version_id.clone());
            let version_named = authorization::Version::named(version.as_ref());
            let allowed = authorization::delete(caller, bucket.as_str(), &key, version_named);
            let deleted = match allowed {
                Ok(()) => named(door, bucket, object, requester.clone()).await,
                Err(denied) => Err(denied),
            };
            (key, version, deleted)
        })
        .buffered(CONCURRENT)
        .collect()
        .await;
    let quiet = input.delete.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (key, version_id, outcome) in outcomes {
        match outcome {
            Ok(_) if quiet => {}
            Ok(marker) => deleted.push(DeletedObject {
                key: Some(key),
                version_id,
                delete_marker: marker.map(|_| true),
                delete_marker_version_id: marker.map(|id| id.to_string()),
            }),
            Err(error) => errors.push(DeleteError {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(key),
                version_id,
            }),
        }
    }
    Ok(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..Default::default()
    })
}

/// Deletes what is listed; returns the delete marker that was made or removed.
async fn named(
    door: &Door,
    bucket: &BucketName,
    object: ObjectIdentifier,
    requester: Requester,
) -> S3Result<Option<VersionId>> {
    refuse!(object; last_modified_time => "LastModifiedTime", size => "Size");
    let version = versions::named(object.version_id.as_ref())?;
    let condition = match object.e_tag {
        None => WriteCondition::Always,
        Some(etag) if etag.value() == "*" => WriteCondition::Present,
        Some(etag) => WriteCondition::Tag(ETag::new(etag.value())),
    };
    let key = ObjectKey::new(&object.key)?;
    let deletion = delete(door, (bucket, &key, version), condition, requester).await?;
    Ok(marker(&deletion))
}

/// The delete marker that a deletion made or removed.
fn marker(deletion: &Deletion) -> Option<VersionId> {
    match deletion {
        Deletion::Marked(marker) | Deletion::Removed(Version::Marker(marker)) => {
            Some(marker.version())
        }
        Deletion::Removed(Version::Object(_)) | Deletion::Nothing => None,
    }
}

async fn delete(
    door: &Door,
    (bucket, key, version): (&BucketName, &ObjectKey, Option<VersionId>),
    condition: WriteCondition,
    requester: Requester,
) -> S3Result<Deletion> {
    let store = &door.store;
    let deleted = match version {
        None => store.delete(bucket, key, condition, requester).await,
        Some(version) => {
            let deleted = store.delete_version(bucket, key, version, condition, requester);
            deleted.await
        }
    };
    match deleted {
        Ok(deletion) => Ok(deletion),
        // A deletion says of an object that is not there what it says of another one.
        Err(Error::NoSuchKey { .. }) => Err(s3_error!(PreconditionFailed)),
        Err(error) => Err(error.into()),
    }
}
