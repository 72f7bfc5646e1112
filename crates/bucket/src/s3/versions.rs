//! Versions in requests and answers; PutBucketVersioning and GetBucketVersioning.

use s3s::dto::{
    BucketVersioningStatus, GetBucketVersioningInput, GetBucketVersioningOutput, MFADeleteStatus,
    ObjectVersionId, PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::refusals::{not_applied, refuse};
use crate::{BucketName, VersionId, Versioning};

pub(super) async fn put(
    door: &Door,
    call: Call<PutBucketVersioningInput>,
) -> S3Result<PutBucketVersioningOutput> {
    let input = call.input;
    refuse!(input; mfa => "x-amz-mfa");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let wanted = input.versioning_configuration;
    let mfa = wanted.mfa_delete.as_ref().map(|mfa| mfa.as_str());
    if mfa.is_some_and(|mfa| mfa != MFADeleteStatus::DISABLED) {
        return Err(not_applied("MfaDelete"));
    }
    let versioning = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        Some(_) => return Err(s3_error!(MalformedXML, "Status is Enabled or Suspended")),
        None => {
            let code = S3ErrorCode::IllegalVersioningConfigurationException;
            return Err(s3s::S3Error::with_message(
                code,
                "The Versioning element must be specified",
            ));
        }
    };
    door.store.put_versioning(&bucket, versioning).await?;
    Ok(PutBucketVersioningOutput::default())
}

pub(super) async fn get(
    door: &Door,
    call: Call<GetBucketVersioningInput>,
) -> S3Result<GetBucketVersioningOutput> {
    let input = call.input;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.expect_bucket(&bucket)?;
    let status = match door.store.versioning(&bucket) {
        // Somebody else's files have no versions.
        Ok(Versioning::Unversioned) | Err(_) => None,
        Ok(Versioning::Enabled) => Some(BucketVersioningStatus::ENABLED),
        Ok(Versioning::Suspended) => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(GetBucketVersioningOutput {
        mfa_delete: None,
        status: status.map(BucketVersioningStatus::from_static),
    })
}

/// The version that a request names. An id of the kind that other stores give is one that no version
/// has here.
pub(super) fn named(id: Option<&ObjectVersionId>) -> S3Result<Option<VersionId>> {
    let Some(id) = id else { return Ok(None) };
    match VersionId::parse(id) {
        Ok(version) => Ok(Some(version)),
        Err(_) if is_of_another_store(id) => Ok(Some(VersionId::NOBODYS)),
        Err(_) => Err(s3_error!(InvalidArgument, "Invalid version id specified")),
    }
}

/// AWS's ids have 32 characters, others' 26 or 36.
fn is_of_another_store(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (26..=36).contains(&id.len()) && id.bytes().all(plain)
}

/// The id of a version that was written, for an answer: nothing unless it was given one.
pub(super) fn given(version: VersionId) -> Option<String> {
    (version != VersionId::NULL).then(|| version.to_string())
}

/// The id of a version that was read, for an answer: nothing where there have never been versions.
pub(super) fn shown(door: &Door, bucket: &BucketName, version: VersionId) -> Option<String> {
    match door.store.versioning(bucket) {
        Ok(Versioning::Enabled | Versioning::Suspended) => Some(version.to_string()),
        Ok(Versioning::Unversioned) | Err(_) => None,
    }
}
