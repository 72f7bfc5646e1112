//! GetObject and HeadObject.

use std::ops::Range as ByteRange;
use std::sync::Arc;

use futures::StreamExt;
use s3s::dto::StreamingBlob;
use s3s::dto::{GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range};
use s3s::header::X_AMZ_TAGGING_COUNT;
use s3s::{S3Error, S3ErrorCode, S3Response, S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::conditions::ReadCondition;
use super::fields::{self, set_checksums, signed, timestamp};
use super::lifecycle;
use super::refusals::refuse;
use super::versions;
use crate::{Object, ObjectKey, PartNumber};

/// AWS's type of an object whose writer named none.
const DEFAULT_TYPE: &str = "binary/octet-stream";

/// The part of an object that a reader asked for.
struct Selection {
    bytes: ByteRange<u64>,
    /// Whether it is less than all, as the answer must say.
    content_range: Option<String>,
    parts: Option<i32>,
}

/// The object that an input asks for, once its conditions hold, the part of it, when it goes, and
/// which version it is.
macro_rules! select {
    ($door:expr, $input:expr) => {{
        refuse!($input; sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
        let version = versions::named($input.version_id.as_ref())?;
        let bucket = $door.owned_bucket(&$input.bucket, $input.expected_bucket_owner.as_deref())?;
        let key = ObjectKey::new(&$input.key)?;
        let object = $door.object(&bucket, &key, version).await?;
        let condition = ReadCondition {
            if_match: $input.if_match.as_ref(),
            if_none_match: $input.if_none_match.as_ref(),
            if_modified_since: $input.if_modified_since.as_ref(),
            if_unmodified_since: $input.if_unmodified_since.as_ref(),
        };
        condition.check(&object)?;
        let selection = Selection::of(&object, $input.range.as_ref(), $input.part_number)?;
        let expiration = lifecycle::expiration($door, &bucket, &object);
        let version = versions::shown($door, &bucket, object.version());
        (object, selection, expiration, version)
    }};
}

/// An output that describes `selection` of `object`, in the words that the input asks for where it
/// does (`response-content-type` and its like).
macro_rules! describe {
    ($output:ident, $object:expr, $selection:expr, $input:expr) => {{
        let (object, selection, input) = ($object, $selection, $input);
        let attributes = object.attributes().clone();
        let headers = attributes.headers;
        let mut output = $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: input.response_cache_control.or(headers.cache_control),
            content_disposition: input
                .response_content_disposition
                .or(headers.content_disposition),
            content_encoding: input.response_content_encoding.or(headers.content_encoding),
            content_language: input.response_content_language.or(headers.content_language),
            content_length: Some(signed(selection.bytes.end - selection.bytes.start)),
            content_range: selection.content_range.clone(),
            content_type: Some(
                input
                    .response_content_type
                    .or(headers.content_type)
                    .unwrap_or_else(|| DEFAULT_TYPE.to_owned()),
            ),
            e_tag: Some(fields::etag(object.etag())),
            expires: input.response_expires.or(headers.expires.map(timestamp)),
            last_modified: Some(timestamp(object.last_modified())),
            metadata: Some(attributes.metadata.into_iter().collect()),
            parts_count: selection.parts,
            ..Default::default()
        };
        if input.checksum_mode.is_some() && selection.content_range.is_none() {
            set_checksums!(output, object.checksums());
            output.checksum_type = Some(fields::checksum_type(object.checksums().kind));
        }
        output
    }};
}

pub(super) async fn get(door: &Door, call: Call<GetObjectInput>) -> S3Result<GetObjectOutput> {
    let input = call.input;
    let (object, selection, expiration, version) = select!(door, input);
    let mut output = describe!(GetObjectOutput, &object, &selection, input);
    output.expiration = expiration;
    output.version_id = version;
    output.tag_count = tag_count(&object);
    let body = door.store.read(&object, selection.bytes).await?;
    output.body = Some(StreamingBlob::wrap(body.inspect(|chunk| {
        if let Ok(chunk) = chunk {
            metrics::counter!("tidemill_s3_sent_bytes_total").increment(chunk.len() as u64);
        }
    })));
    Ok(output)
}

pub(super) async fn head(
    door: &Door,
    call: Call<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = call.input;
    let (object, selection, expiration, version) = select!(door, input);
    let mut output = describe!(HeadObjectOutput, &object, &selection, input);
    output.expiration = expiration;
    output.version_id = version;
    let mut response = S3Response::new(output);
    if let Some(count) = tag_count(&object) {
        response.headers.insert(X_AMZ_TAGGING_COUNT, count.into());
    }
    Ok(response)
}

/// How many tags an object has; without any nothing is said.
fn tag_count(object: &Object) -> Option<i32> {
    let count = object.attributes().tags.len();
    i32::try_from(count).ok().filter(|count| *count > 0)
}

impl Selection {
    fn of(object: &Arc<Object>, range: Option<&Range>, part: Option<i32>) -> S3Result<Self> {
        let size = object.size();
        let (bytes, parts) = match (range, part) {
            (None, None) => {
                return Ok(Self {
                    bytes: 0..size,
                    content_range: None,
                    parts: None,
                });
            }
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter"
                ));
            }
            // Not one byte of an empty object can be had.
            (Some(_), None) if size == 0 => return Err(S3ErrorCode::InvalidRange.into()),
            (Some(range), None) => (range.check(size)?, None),
            (None, Some(part)) => part_of(object, PartNumber::new(part)?)?,
        };
        let content_range = match bytes.end {
            0 => None,
            end => Some(format!("bytes {}-{}/{size}", bytes.start, end - 1)),
        };
        Ok(Self {
            bytes,
            content_range,
            parts,
        })
    }
}

/// The bytes of one part, and how many parts there are when the object was uploaded in parts.
fn part_of(object: &Object, part: PartNumber) -> S3Result<(ByteRange<u64>, Option<i32>)> {
    let index = usize::from(part.get()) - 1;
    let parts = object.parts();
    let sizes = parts.clone().unwrap_or_else(|| vec![object.size()]);
    let Some(size) = sizes.get(index) else {
        let code = S3ErrorCode::Custom("InvalidPartNumber".into());
        let mut error = S3Error::with_message(code, "The requested part number is not satisfiable");
        error.set_status_code(hyper::StatusCode::RANGE_NOT_SATISFIABLE);
        return Err(error);
    };
    let start: u64 = sizes[..index].iter().sum();
    let count = parts.map(|parts| i32::try_from(parts.len()).unwrap_or(i32::MAX));
    Ok((start..start + size, count))
}
