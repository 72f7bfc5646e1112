//! GetObjectAttributes.

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::fields::{self, set_checksums, signed, timestamp};
use super::lists::page_size;
use super::refusals::refuse;
use super::versions;
use crate::{Checksums, ObjectKey};

const KNOWN: [&str; 5] = [
    ObjectAttributes::ETAG,
    ObjectAttributes::CHECKSUM,
    ObjectAttributes::OBJECT_SIZE,
    ObjectAttributes::STORAGE_CLASS,
    ObjectAttributes::OBJECT_PARTS,
];

pub(super) async fn get(
    door: &Door,
    call: Call<GetObjectAttributesInput>,
) -> S3Result<GetObjectAttributesOutput> {
    let input = call.input;
    refuse!(input; sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.expect_bucket(&bucket)?;
    // Some clients name all of them in one header.
    let wanted = || {
        let headers = input.object_attributes.iter();
        headers.flat_map(|header| header.as_str().split(',').map(str::trim))
    };
    if wanted().all(str::is_empty) {
        return Err(s3_error!(
            InvalidRequest,
            "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty"
        ));
    }
    if !wanted().all(|name| KNOWN.contains(&name)) {
        return Err(s3_error!(
            InvalidArgument,
            "Invalid attribute name specified."
        ));
    }
    let version = versions::named(input.version_id.as_ref())?;
    let key = ObjectKey::new(&input.key)?;
    let object = door.object(&bucket, &key, version).await?;
    let mut output = GetObjectAttributesOutput {
        last_modified: Some(timestamp(object.last_modified())),
        version_id: versions::shown(door, &bucket, object.version()),
        ..Default::default()
    };
    let wants = |name: &str| wanted().any(|wanted| wanted == name);
    if wants(ObjectAttributes::ETAG) {
        output.e_tag = Some(fields::etag(object.etag()));
    }
    if wants(ObjectAttributes::CHECKSUM) {
        output.checksum = checksum(object.checksums());
    }
    if wants(ObjectAttributes::OBJECT_SIZE) {
        output.object_size = Some(signed(object.size()));
    }
    if wants(ObjectAttributes::STORAGE_CLASS) {
        output.storage_class = Some(StorageClass::from_static(StorageClass::STANDARD));
    }
    if wants(ObjectAttributes::OBJECT_PARTS) {
        let page = (input.part_number_marker, input.max_parts);
        let parts = object.parts();
        output.object_parts = parts.map(|sizes| parts_of(&sizes, page)).transpose()?;
    }
    Ok(output)
}

fn checksum(checksums: &Checksums) -> Option<Checksum> {
    let mut output = Checksum {
        checksum_type: Some(fields::checksum_type(checksums.kind)),
        ..Default::default()
    };
    set_checksums!(output, checksums);
    (!checksums.values.is_empty()).then_some(output)
}

/// A page of the parts of an object, from after a number on.
fn parts_of(
    sizes: &[u64],
    (after, limit): (Option<i32>, Option<i32>),
) -> S3Result<GetObjectAttributesParts> {
    let limit = page_size(limit, "max-parts")?;
    let after = after.unwrap_or(0);
    let numbered = (1..).zip(sizes).filter(|(number, _)| *number > after);
    let page = numbered.take(usize::try_from(limit).unwrap_or(0));
    let page: Vec<ObjectPart> = page
        .map(|(number, size)| ObjectPart {
            part_number: Some(number),
            size: Some(signed(*size)),
            ..Default::default()
        })
        .collect();
    let count = i32::try_from(sizes.len()).unwrap_or(i32::MAX);
    let last = page.last().and_then(|part| part.part_number);
    Ok(GetObjectAttributesParts {
        is_truncated: Some(last.is_some_and(|last| last < count)),
        max_parts: Some(limit),
        next_part_number_marker: last,
        part_number_marker: Some(after),
        parts: Some(page),
        total_parts_count: Some(count),
    })
}
