//! DeleteObject and DeleteObjects.

use futures::{StreamExt, stream};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    Error as DeleteError, ObjectIdentifier,
};
use s3s::{S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::fields;
use super::refusals::{self, refuse};
use crate::{BucketName, ETag, Error, ObjectKey, Requester, WriteCondition};

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
        bypass_governance_retention => "x-amz-bypass-governance-retention",
        if_match_last_modified_time => "x-amz-if-match-last-modified-time",
        if_match_size => "x-amz-if-match-size",
    );
    refusals::version(input.version_id.as_ref())?;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let condition = fields::write_condition(input.if_match.as_ref(), None)?;
    let key = ObjectKey::new(&input.key)?;
    delete(door, &bucket, &key, condition, call.requester).await?;
    Ok(DeleteObjectOutput::default())
}

pub(super) async fn many(
    door: &Door,
    call: Call<DeleteObjectsInput>,
) -> S3Result<DeleteObjectsOutput> {
    let input = call.input;
    refuse!(input;
        mfa => "x-amz-mfa",
        bypass_governance_retention => "x-amz-bypass-governance-retention",
    );
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.store.bucket(&bucket)?;
    if input.delete.objects.is_empty() || input.delete.objects.len() > MAX_KEYS {
        return Err(s3_error!(MalformedXML, "name 1 to {MAX_KEYS} keys"));
    }
    let (bucket, requester) = (&bucket, &call.requester);
    let outcomes: Vec<_> = stream::iter(input.delete.objects)
        .map(|object| async move {
            let key = object.key.clone();
            let deleted = named(door, bucket, object, requester.clone()).await;
            (key, deleted)
        })
        .buffered(CONCURRENT)
        .collect()
        .await;
    let quiet = input.delete.quiet.unwrap_or(false);
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (key, outcome) in outcomes {
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject {
                key: Some(key),
                ..Default::default()
            }),
            Err(error) => errors.push(DeleteError {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(key),
                version_id: None,
            }),
        }
    }
    Ok(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..Default::default()
    })
}

async fn named(
    door: &Door,
    bucket: &BucketName,
    object: ObjectIdentifier,
    requester: Requester,
) -> S3Result<()> {
    refuse!(object; last_modified_time => "LastModifiedTime", size => "Size");
    refusals::version(object.version_id.as_ref())?;
    let condition = match object.e_tag {
        None => WriteCondition::Always,
        Some(etag) if etag.value() == "*" => WriteCondition::Present,
        Some(etag) => WriteCondition::Tag(ETag::new(etag.value())),
    };
    let key = ObjectKey::new(&object.key)?;
    delete(door, bucket, &key, condition, requester).await
}

async fn delete(
    door: &Door,
    bucket: &BucketName,
    key: &ObjectKey,
    condition: WriteCondition,
    requester: Requester,
) -> S3Result<()> {
    match door.store.delete(bucket, key, condition, requester).await {
        Ok(_) => Ok(()),
        // A deletion says of an object that is not there what it says of another one.
        Err(Error::NoSuchKey { .. }) => Err(s3_error!(PreconditionFailed)),
        Err(error) => Err(error.into()),
    }
}
