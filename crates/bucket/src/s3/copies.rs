//! CopyObject and UploadPartCopy.

use std::sync::Arc;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    MetadataDirective, Range, TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3ErrorCode, S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::conditions::ReadCondition;
use super::fields::{self, attributes_of, set_checksums, timestamp};
use super::lifecycle;
use super::refusals::{not_applied, refuse, refuse_extras_of_writes};
use super::versions;
use crate::{
    BucketName, CopyOptions, Error, Object, ObjectKey, PartNumber, Tags, UploadId, VersionId,
    WriteCondition,
};

/// The source of a copy, once its conditions hold: the object and who named it.
macro_rules! source {
    ($door:expr, $input:expr) => {{
        refuse!($input;
            copy_source_sse_customer_algorithm => "x-amz-copy-source-server-side-encryption-customer-algorithm",
        );
        let owner = $input.expected_source_bucket_owner.as_deref();
        let source = named($door, &$input.copy_source, owner)?;
        let object = found($door, &source).await?;
        let condition = ReadCondition {
            if_match: $input.copy_source_if_match.as_ref(),
            if_none_match: $input.copy_source_if_none_match.as_ref(),
            if_modified_since: $input.copy_source_if_modified_since.as_ref(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.as_ref(),
        };
        condition.check_source(&object)?;
        (object, source)
    }};
}

pub(super) async fn object(door: &Door, call: Call<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
    let mut input = call.input;
    refuse_extras_of_writes!(input);
    let tags = new_tags(&input)?;
    let replace = match input
        .metadata_directive
        .as_ref()
        .map(MetadataDirective::as_str)
    {
        None | Some(MetadataDirective::COPY) => false,
        Some(MetadataDirective::REPLACE) => true,
        Some(other) => {
            return Err(s3_error!(
                InvalidArgument,
                "Unknown metadata directive: {other}"
            ));
        }
    };
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let (source, from) = source!(door, input);
    // A version that is named is made the current one again.
    let itself = from.bucket == bucket && from.key == key && from.version.is_none();
    if itself && !replace {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
        ));
    }
    let attributes = match replace {
        true => Some(attributes_of!(input)),
        false => None,
    };
    let options = CopyOptions {
        attributes,
        tags,
        condition: WriteCondition::Always,
        checksum: fields::algorithm(input.checksum_algorithm.as_ref())?,
        requester: call.requester,
    };
    let copy = door.store.copy(&source, &bucket, &key, options).await?;
    let mut result = CopyObjectResult {
        e_tag: Some(fields::etag(copy.etag())),
        last_modified: Some(timestamp(copy.last_modified())),
        checksum_type: Some(fields::checksum_type(copy.checksums().kind)),
        ..Default::default()
    };
    set_checksums!(result, copy.checksums());
    Ok(CopyObjectOutput {
        copy_object_result: Some(result),
        copy_source_version_id: versions::shown(door, &from.bucket, source.version()),
        version_id: versions::given(copy.version()),
        expiration: lifecycle::expiration(door, &bucket, &copy),
        ..Default::default()
    })
}

pub(super) async fn part(
    door: &Door,
    call: Call<UploadPartCopyInput>,
) -> S3Result<UploadPartCopyOutput> {
    let input = call.input;
    refuse!(input; sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let upload = UploadId::parse(&input.upload_id)?;
    let number = PartNumber::new(input.part_number)?;
    let (source, from) = source!(door, input);
    let range = copied_range(&source, input.copy_source_range.as_deref())?;
    let part = door
        .store
        .copy_part(&source, range, (&bucket, &key, &upload), number)
        .await?;
    let mut result = CopyPartResult {
        e_tag: Some(fields::etag(&part.etag)),
        last_modified: Some(timestamp(part.uploaded)),
        ..Default::default()
    };
    set_checksums!(result, &part.checksums);
    Ok(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: versions::shown(door, &from.bucket, source.version()),
        ..Default::default()
    })
}

/// What replaces the source's tags: what the request names, when it says that it does.
fn new_tags(input: &CopyObjectInput) -> S3Result<Option<Tags>> {
    let directive = input.tagging_directive.as_ref();
    match directive.map(TaggingDirective::as_str) {
        None | Some(TaggingDirective::COPY) if input.tagging.is_some() => Err(s3_error!(
            InvalidRequest,
            "x-amz-tagging needs x-amz-tagging-directive: REPLACE"
        )),
        None | Some(TaggingDirective::COPY) => Ok(None),
        Some(TaggingDirective::REPLACE) => Ok(Some(fields::tags(input.tagging.as_ref())?)),
        Some(other) => Err(s3_error!(
            InvalidArgument,
            "Unknown tagging directive: {other}"
        )),
    }
}

/// What a request names as the source of a copy.
struct Source {
    bucket: BucketName,
    key: ObjectKey,
    version: Option<VersionId>,
}

fn named(door: &Door, source: &CopySource, owner: Option<&str>) -> S3Result<Source> {
    match source {
        CopySource::Bucket {
            bucket,
            key,
            version_id,
        } => {
            let version = version_id.as_deref().map(str::to_owned);
            Ok(Source {
                bucket: door.owned_bucket(bucket, owner)?,
                key: ObjectKey::new(key)?,
                version: versions::named(version.as_ref())?,
            })
        }
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(not_applied("a copy source that is no bucket"))
        }
    }
}

async fn found(door: &Door, source: &Source) -> S3Result<Arc<Object>> {
    let Source { bucket, key, .. } = source;
    if let Some(version) = source.version
        && let Err(Error::IsDeleteMarker { .. }) = door.store.version(bucket, key, version)
    {
        return Err(s3_error!(
            InvalidRequest,
            "The source of a copy request may not specifically refer to a delete marker by version id."
        ));
    }
    door.object(bucket, key, source.version).await
}

/// Unlike a range of a read, one of a copy names both ends and must lie within the source.
fn copied_range(source: &Arc<Object>, range: Option<&str>) -> S3Result<std::ops::Range<u64>> {
    let Some(range) = range else {
        return Ok(0..source.size());
    };
    match Range::parse(range) {
        Ok(Range::Int {
            first,
            last: Some(last),
        }) if last < source.size() => Ok(first..last + 1),
        Ok(Range::Int { last: Some(_), .. }) => Err(S3ErrorCode::InvalidRange.into()),
        Ok(Range::Int { last: None, .. } | Range::Suffix { .. }) | Err(_) => Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last"
        )),
    }
}
