//! ListObjectVersions.

use s3s::dto::{
    DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::fields::{self, signed, timestamp};
use super::lists::{self, Encoding, page_size};
use super::refusals::refuse;
use super::versions;
use crate::{Version, VersionMark, VersionQuery};

pub(super) async fn list(
    door: &Door,
    call: Call<ListObjectVersionsInput>,
) -> S3Result<ListObjectVersionsOutput> {
    let input = call.input;
    refuse!(input; optional_object_attributes => "x-amz-optional-object-attributes");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "max-keys")?;
    let query = VersionQuery {
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().filter(|text| !text.is_empty()),
        after: mark(input.key_marker.as_ref(), input.version_id_marker.as_ref())?,
        limit: usize::try_from(size).unwrap_or(0),
    };
    let listing = door.store.list_versions(&bucket, &query)?;
    let mut output = ListObjectVersionsOutput {
        is_truncated: Some(listing.next.is_some()),
        common_prefixes: lists::common_prefixes(&listing.common_prefixes, encoding),
        name: Some(input.bucket),
        prefix: Some(encoding.write(&query.prefix)),
        delimiter: input.delimiter.map(|text| encoding.write(&text)),
        key_marker: Some(encoding.write(&input.key_marker.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        max_keys: Some(size),
        encoding_type: input.encoding_type,
        ..Default::default()
    };
    if let Some(next) = listing.next {
        output.next_key_marker = Some(encoding.write(&next.key));
        output.next_version_id_marker = next.version.map(|version| version.to_string());
    }
    let (mut objects, mut markers) = (Vec::new(), Vec::new());
    for listed in listing.versions {
        let is_latest = Some(listed.is_latest);
        let key = Some(encoding.write(listed.version.key().as_str()));
        let version_id = Some(listed.version.id().to_string());
        let last_modified = Some(timestamp(listed.version.last_modified()));
        match listed.version {
            Version::Object(object) => objects.push(ObjectVersion {
                key,
                version_id,
                is_latest,
                last_modified,
                size: Some(signed(object.size())),
                e_tag: Some(fields::etag(object.etag())),
                checksum_algorithm: Some(fields::algorithms(object.checksums())),
                checksum_type: Some(fields::checksum_type(object.checksums().kind)),
                owner: Some(lists::owner(door)),
                storage_class: Some(ObjectVersionStorageClass::from_static(
                    ObjectVersionStorageClass::STANDARD,
                )),
                ..Default::default()
            }),
            Version::Marker(_) => markers.push(DeleteMarkerEntry {
                key,
                version_id,
                is_latest,
                last_modified,
                owner: Some(lists::owner(door)),
            }),
        }
    }
    output.versions = Some(objects);
    output.delete_markers = Some(markers);
    Ok(output)
}

fn mark(key: Option<&String>, version: Option<&String>) -> S3Result<Option<VersionMark>> {
    let version = versions::named(version.filter(|text| !text.is_empty()))?;
    match (key.filter(|text| !text.is_empty()), version) {
        (Some(key), version) => Ok(Some(VersionMark {
            key: key.clone(),
            version,
        })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(s3_error!(
            InvalidArgument,
            "A version-id marker cannot be specified without a key marker."
        )),
    }
}
