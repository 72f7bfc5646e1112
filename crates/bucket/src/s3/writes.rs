//! PutObject, and PostObject, which `s3s` turns into it.

use s3s::S3Result;
use s3s::dto::{PutObjectInput, PutObjectOutput};

use super::Door;
use super::bodies::Announced;
use super::call::Call;
use super::fields::{self, attributes_of, checksums_of, set_checksums};
use super::lifecycle;
use super::refusals::{not_applied, refuse, refuse_extras_of_writes};
use super::versions;
use crate::{ObjectKey, PutOptions, WriteMethod};

pub(super) async fn put(door: &Door, call: Call<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let mut input = call.input;
    refuse_extras_of_writes!(input);
    refuse!(input; write_offset_bytes => "x-amz-write-offset-bytes");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let method = match call.method {
        hyper::Method::POST => WriteMethod::Post,
        _ => WriteMethod::Put,
    };
    if method == WriteMethod::Post && input.key.contains("${filename}") {
        return Err(not_applied("the variable ${filename} in a form's key"));
    }
    if method == WriteMethod::Post && input.tagging.is_some() {
        return Err(not_applied("tags in a form"));
    }
    let condition = fields::write_condition(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let attributes = attributes_of!(input);
    let announced = Announced {
        body: input.body.take(),
        length: input.content_length,
        md5: input.content_md5.take(),
        checksums: checksums_of!(input),
        algorithm: fields::algorithm(input.checksum_algorithm.as_ref())?,
    };
    let options = PutOptions {
        attributes,
        condition,
        method,
        requester: call.requester,
    };
    let body = announced.into_body(&call.headers, call.trailers)?;
    let object = door.store.put(&bucket, &key, body, options).await?;
    let mut output = PutObjectOutput {
        e_tag: Some(fields::etag(object.etag())),
        expiration: lifecycle::expiration(door, &bucket, &object),
        version_id: versions::given(object.version()),
        checksum_type: Some(fields::checksum_type(object.checksums().kind)),
        ..Default::default()
    };
    set_checksums!(output, object.checksums());
    Ok(output)
}
