//! Fields that many operations share, in S3's types and in ours.

use std::collections::BTreeMap;
use std::time::SystemTime;

use s3s::dto::{self, ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};
use time::macros::format_description;

use crate::{
    ChecksumAlgorithm, ChecksumKind, Checksums, ETag, ObjectAttributes, ObjectHeaders, Tags,
    WriteCondition,
};

/// The checksums of an input.
macro_rules! checksums_of {
    ($input:expr) => {
        $crate::s3::fields::values([
            $input.checksum_crc32.take(),
            $input.checksum_crc32c.take(),
            $input.checksum_crc64nvme.take(),
            $input.checksum_sha1.take(),
            $input.checksum_sha256.take(),
        ])
    };
}

/// Fills in the checksums of an output.
macro_rules! set_checksums {
    ($output:expr, $checksums:expr) => {{
        use $crate::ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
        let checksums: &$crate::Checksums = $checksums;
        let value = |algorithm| checksums.get(algorithm).map(str::to_owned);
        $output.checksum_crc32 = value(Crc32);
        $output.checksum_crc32c = value(Crc32c);
        $output.checksum_crc64nvme = value(Crc64Nvme);
        $output.checksum_sha1 = value(Sha1);
        $output.checksum_sha256 = value(Sha256);
    }};
}

/// The attributes of an input.
macro_rules! attributes_of {
    ($input:expr) => {
        $crate::s3::fields::attributes(
            $crate::ObjectHeaders {
                cache_control: $input.cache_control.take(),
                content_disposition: $input.content_disposition.take(),
                content_encoding: $input.content_encoding.take(),
                content_language: $input.content_language.take(),
                content_type: $input.content_type.take(),
                expires: $input.expires.take().map($crate::s3::fields::moment),
            },
            $input.metadata.take(),
            $crate::s3::fields::tags($input.tagging.take().as_ref())?,
        )
    };
}

pub(super) use {attributes_of, checksums_of, set_checksums};

/// In the order of [`ChecksumAlgorithm::ALL`].
pub(super) fn values(values: [Option<String>; 5]) -> BTreeMap<ChecksumAlgorithm, String> {
    ChecksumAlgorithm::ALL
        .into_iter()
        .zip(values)
        .filter_map(|(algorithm, value)| Some((algorithm, value?)))
        .collect()
}

pub(super) fn attributes(
    mut headers: ObjectHeaders,
    metadata: Option<dto::Metadata>,
    tags: Tags,
) -> ObjectAttributes {
    headers.content_encoding = headers.content_encoding.and_then(without_transport_coding);
    ObjectAttributes {
        headers,
        metadata: metadata.unwrap_or_default().into_iter().collect(),
        tags,
    }
}

/// The tags of a header.
pub(super) fn tags(header: Option<&dto::TaggingHeader>) -> S3Result<Tags> {
    let header = header.map_or("", String::as_str);
    Ok(Tags::from_header(header)?)
}

/// `aws-chunked` is how a body travels, not how it is kept.
fn without_transport_coding(encoding: String) -> Option<String> {
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

pub(super) fn algorithm(
    algorithm: Option<&dto::ChecksumAlgorithm>,
) -> S3Result<Option<ChecksumAlgorithm>> {
    algorithm
        .map(|algorithm| {
            ChecksumAlgorithm::from_name(algorithm.as_str()).ok_or_else(|| {
                s3_error!(
                    InvalidRequest,
                    "checksum algorithm {} is not implemented",
                    algorithm.as_str()
                )
            })
        })
        .transpose()
}

pub(super) fn kind(kind: &dto::ChecksumType) -> S3Result<ChecksumKind> {
    match kind.as_str() {
        dto::ChecksumType::FULL_OBJECT => Ok(ChecksumKind::FullObject),
        dto::ChecksumType::COMPOSITE => Ok(ChecksumKind::Composite),
        other => Err(s3_error!(
            InvalidRequest,
            "checksum type {other} is not implemented"
        )),
    }
}

pub(super) fn checksum_type(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    })
}

pub(super) fn algorithms(checksums: &Checksums) -> Vec<dto::ChecksumAlgorithm> {
    let names = checksums.values.keys().map(|algorithm| algorithm.name());
    names.map(dto::ChecksumAlgorithm::from_static).collect()
}

pub(super) fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag.to_string())
}

pub(super) fn timestamp(at: clock::Timestamp) -> Timestamp {
    Timestamp::from(SystemTime::from(at))
}

pub(super) fn moment(at: Timestamp) -> clock::Timestamp {
    SystemTime::from(time::OffsetDateTime::from(at)).into()
}

/// A moment as HTTP's headers have it.
pub(super) fn http_date(at: clock::Timestamp) -> String {
    let date = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let at = at.to_utc().format(&date);
    at.expect("every component of the format is in the date")
}

/// The condition of a write from its two headers.
pub(super) fn write_condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<WriteCondition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(WriteCondition::Always),
        (None, Some(ETagCondition::Any)) => Ok(WriteCondition::Absent),
        (Some(ETagCondition::Any), None) => Ok(WriteCondition::Present),
        (Some(ETagCondition::ETag(tag)), None) => Ok(WriteCondition::Tag(ETag::new(tag.value()))),
        (None, Some(ETagCondition::ETag(_))) => Err(s3_error!(
            NotImplemented,
            "If-None-Match with an entity tag is not implemented for writes: use *"
        )),
        (Some(_), Some(_)) => Err(s3_error!(
            NotImplemented,
            "If-Match together with If-None-Match is not implemented for writes"
        )),
    }
}

/// A size as S3's signed numbers have it.
pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transport_coding_is_not_kept() {
        let kept = |text: &str| without_transport_coding(text.to_owned());
        assert_eq!(kept("aws-chunked"), None);
        assert_eq!(kept("aws-chunked,gzip").as_deref(), Some("gzip"));
        assert_eq!(kept("gzip, aws-chunked").as_deref(), Some("gzip"));
        assert_eq!(kept("br").as_deref(), Some("br"));
    }
}
