//! Conditions on reads (RFC 9110, section 13.2.2).

use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::fields;
use crate::{ETag, Object};

/// What a reader wants to hold.
#[derive(Default)]
pub(super) struct ReadCondition<'a> {
    pub(super) if_match: Option<&'a ETagCondition>,
    pub(super) if_none_match: Option<&'a ETagCondition>,
    pub(super) if_modified_since: Option<&'a Timestamp>,
    pub(super) if_unmodified_since: Option<&'a Timestamp>,
}

impl ReadCondition<'_> {
    /// Whether the object is to be sent: else 412, or 304 when the reader has it already.
    pub(super) fn check(&self, object: &Object) -> S3Result<()> {
        if self.fails(object) {
            return Err(S3ErrorCode::PreconditionFailed.into());
        }
        if self.is_known(object) {
            return Err(not_modified(object));
        }
        Ok(())
    }

    /// The same for the source of a copy, which is never "not modified".
    pub(super) fn check_source(&self, object: &Object) -> S3Result<()> {
        if self.fails(object) || self.is_known(object) {
            return Err(S3ErrorCode::PreconditionFailed.into());
        }
        Ok(())
    }

    fn fails(&self, object: &Object) -> bool {
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) => !matches(condition, object.etag()),
            (None, Some(since)) => modified_after(object, since),
            (None, None) => false,
        }
    }

    fn is_known(&self, object: &Object) -> bool {
        match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) => matches(condition, object.etag()),
            (None, Some(since)) => !modified_after(object, since),
            (None, None) => false,
        }
    }
}

fn matches(condition: &ETagCondition, etag: &ETag) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag.as_str(),
    }
}

/// Dates in headers have whole seconds.
fn modified_after(object: &Object, since: &Timestamp) -> bool {
    let seconds = |at: clock::Timestamp| at.as_millis().div_euclid(1000);
    seconds(object.last_modified()) > seconds(fields::moment(since.clone()))
}

fn not_modified(object: &Object) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = super::call::Headers::new();
    if let Ok(etag) = fields::etag(object.etag()).to_http_header() {
        headers.insert(hyper::header::ETAG, etag);
    }
    error.set_headers(headers);
    error
}
