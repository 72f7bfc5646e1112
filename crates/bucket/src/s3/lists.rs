//! ListObjects, in both versions.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object as ListedObject, ObjectStorageClass, Owner,
};
use s3s::{S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::fields::{self, signed, timestamp};
use super::places::Listed;
use crate::{ListQuery, Listing};

/// The most entries of a page (AWS, API reference, 2026).
pub(super) const MAX_PAGE: i32 = 1000;

/// How names are written in an answer.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(super) fn of(encoding: Option<&EncodingType>) -> S3Result<Self> {
        match encoding.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some(EncodingType::URL) => Ok(Self::Url),
            Some(_) => Err(s3_error!(
                InvalidArgument,
                "Invalid Encoding Method specified in Request"
            )),
        }
    }

    /// XML cannot carry every character that a key may have; percent signs can.
    pub(super) fn write(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Url => text
                .bytes()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                        char::from(byte).to_string()
                    }
                    other => format!("%{other:02X}"),
                })
                .collect(),
        }
    }
}

/// How many entries a page may have.
pub(super) fn page_size(asked: Option<i32>, name: &str) -> S3Result<i32> {
    match asked.unwrap_or(MAX_PAGE) {
        negative if negative < 0 => Err(s3_error!(
            InvalidArgument,
            "Argument {name} must be an integer between 0 and 2147483647"
        )),
        size => Ok(size.min(MAX_PAGE)),
    }
}

pub(super) async fn version_1(
    door: &Door,
    call: Call<ListObjectsInput>,
) -> S3Result<ListObjectsOutput> {
    let input = call.input;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "maxKeys")?;
    let query = query(
        input.prefix.as_ref(),
        input.delimiter.as_ref(),
        input.marker.clone(),
        size,
    );
    let listing = door.listing(&bucket, &query).await?;
    let rolls_up = query.delimiter.is_some();
    Ok(ListObjectsOutput {
        is_truncated: Some(listing.next.is_some()),
        // Without a delimiter clients go on from the last key.
        next_marker: listing
            .next
            .as_deref()
            .filter(|_| rolls_up)
            .map(|next| encoding.write(next)),
        contents: Some(contents(door, &listing, encoding, WithOwner::Yes)),
        common_prefixes: common_prefixes(&listing.common_prefixes, encoding),
        name: Some(input.bucket),
        prefix: Some(encoding.write(&query.prefix)),
        delimiter: input.delimiter.map(|text| encoding.write(&text)),
        marker: Some(encoding.write(&input.marker.unwrap_or_default())),
        max_keys: Some(size),
        encoding_type: input.encoding_type,
        ..Default::default()
    })
}

pub(super) async fn version_2(
    door: &Door,
    call: Call<ListObjectsV2Input>,
) -> S3Result<ListObjectsV2Output> {
    let input = call.input;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = page_size(input.max_keys, "maxKeys")?;
    let after = match &input.continuation_token {
        Some(token) => Some(from_token(token)?),
        None => input.start_after.clone(),
    };
    let query = query(input.prefix.as_ref(), input.delimiter.as_ref(), after, size);
    let listing = door.listing(&bucket, &query).await?;
    let with_owner = match input.fetch_owner {
        Some(true) => WithOwner::Yes,
        Some(false) | None => WithOwner::No,
    };
    let count = listing.objects.len() + listing.common_prefixes.len();
    Ok(ListObjectsV2Output {
        key_count: Some(i32::try_from(count).unwrap_or(MAX_PAGE)),
        is_truncated: Some(listing.next.is_some()),
        next_continuation_token: listing.next.as_deref().map(token),
        contents: Some(contents(door, &listing, encoding, with_owner)),
        common_prefixes: common_prefixes(&listing.common_prefixes, encoding),
        name: Some(input.bucket),
        prefix: Some(encoding.write(&query.prefix)),
        delimiter: input.delimiter.map(|text| encoding.write(&text)),
        start_after: input.start_after.map(|text| encoding.write(&text)),
        continuation_token: input.continuation_token,
        max_keys: Some(size),
        encoding_type: input.encoding_type,
        ..Default::default()
    })
}

fn query(
    prefix: Option<&String>,
    delimiter: Option<&String>,
    after: Option<String>,
    size: i32,
) -> ListQuery {
    ListQuery {
        prefix: prefix.cloned().unwrap_or_default(),
        delimiter: delimiter.filter(|text| !text.is_empty()).cloned(),
        after: after.filter(|text| !text.is_empty()),
        limit: usize::try_from(size).unwrap_or(0),
    }
}

/// A token is the place to go on from, so that it outlives a restart.
pub(super) fn token(next: &str) -> String {
    BASE64.encode(next)
}

pub(super) fn from_token(token: &str) -> S3Result<String> {
    let text = BASE64.decode(token).ok();
    text.and_then(|text| String::from_utf8(text).ok())
        .ok_or_else(|| {
            s3_error!(
                InvalidArgument,
                "The continuation token provided is incorrect"
            )
        })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WithOwner {
    Yes,
    No,
}

fn contents(
    door: &Door,
    listing: &Listing<Listed>,
    encoding: Encoding,
    with_owner: WithOwner,
) -> Vec<ListedObject> {
    let listed = |object: &Listed| ListedObject {
        key: Some(encoding.write(&object.key)),
        size: Some(signed(object.size)),
        e_tag: Some(fields::etag(&object.etag)),
        last_modified: Some(timestamp(object.last_modified)),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        checksum_algorithm: Some(fields::algorithms(&object.checksums)),
        checksum_type: Some(fields::checksum_type(object.checksums.kind)),
        owner: (with_owner == WithOwner::Yes).then(|| owner(door)),
        ..Default::default()
    };
    listing.objects.iter().map(listed).collect()
}

pub(super) fn owner(door: &Door) -> Owner {
    Owner {
        id: Some(door.store.account().to_owned()),
        display_name: None,
    }
}

pub(super) fn common_prefixes(
    prefixes: &[String],
    encoding: Encoding,
) -> Option<Vec<CommonPrefix>> {
    let prefixes: Vec<CommonPrefix> = prefixes
        .iter()
        .map(|prefix| CommonPrefix {
            prefix: Some(encoding.write(prefix)),
        })
        .collect();
    (!prefixes.is_empty()).then_some(prefixes)
}
