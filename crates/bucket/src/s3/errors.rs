//! The store's errors in S3's words.

use hyper::header::{ALLOW, HeaderValue, LAST_MODIFIED};
use s3s::header::{X_AMZ_DELETE_MARKER, X_AMZ_VERSION_ID};
use s3s::{S3Error, S3ErrorCode};

use super::call::Headers;
use super::fields::http_date;
use crate::{Error, NotificationError};

impl From<Error> for S3Error {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::InvalidBucketName { .. } => S3ErrorCode::InvalidBucketName,
            Error::InvalidKey { bytes: 0 }
            | Error::InvalidRequest { .. }
            | Error::ChecksumMismatch { .. } => S3ErrorCode::InvalidRequest,
            Error::InvalidKey { .. } => S3ErrorCode::KeyTooLongError,
            Error::InvalidTag { .. } => S3ErrorCode::InvalidTag,
            Error::TooManyTags { .. } => S3ErrorCode::Custom("BadRequest".into()),
            Error::MetadataTooLarge { .. } => S3ErrorCode::MetadataTooLarge,
            Error::BodyTooLarge { .. } => S3ErrorCode::EntityTooLarge,
            Error::IncompleteBody { .. } | Error::Body { .. } => S3ErrorCode::IncompleteBody,
            Error::BadDigest { .. } => S3ErrorCode::BadDigest,
            Error::NoSuchBucket { .. } => S3ErrorCode::NoSuchBucket,
            Error::BucketExists { .. } => S3ErrorCode::BucketAlreadyOwnedByYou,
            Error::TopicTaken { .. } => S3ErrorCode::BucketAlreadyExists,
            Error::BucketNotEmpty { .. } => S3ErrorCode::BucketNotEmpty,
            Error::NoSuchKey { .. } => S3ErrorCode::NoSuchKey,
            Error::InvalidVersionId { .. } => S3ErrorCode::InvalidArgument,
            Error::NoSuchVersion { .. } => S3ErrorCode::NoSuchVersion,
            Error::IsDeleteMarker { .. } => S3ErrorCode::MethodNotAllowed,
            Error::VersioningIsForGood { .. } => S3ErrorCode::InvalidBucketState,
            Error::PreconditionFailed { .. } => S3ErrorCode::PreconditionFailed,
            Error::NoSuchUpload { .. } => S3ErrorCode::NoSuchUpload,
            Error::InvalidPart { .. } => S3ErrorCode::InvalidPart,
            Error::InvalidPartOrder { .. } => S3ErrorCode::InvalidPartOrder,
            Error::PartTooSmall { .. } => S3ErrorCode::EntityTooSmall,
            Error::Full { .. } | Error::Closed => S3ErrorCode::ServiceUnavailable,
            Error::Log { .. } | Error::Io { .. } | Error::Corrupt { .. } => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an S3 request failed"
                );
                S3ErrorCode::InternalError
            }
        };
        // What AWS says; an id of another store would be shown as one that it is not.
        let message = match &error {
            Error::NoSuchVersion { .. } => "The specified version does not exist.".to_owned(),
            error => error.to_string(),
        };
        let mut answer = Self::with_message(code, message);
        if matches!(error, Error::TooManyTags { .. }) {
            answer.set_status_code(hyper::StatusCode::BAD_REQUEST);
        }
        if let Some(headers) = deleted(&error) {
            answer.set_headers(headers);
        }
        answer.set_source(Box::new(error));
        answer
    }
}

/// What an answer says in its headers when a delete marker is in the way.
fn deleted(error: &Error) -> Option<Headers> {
    let (marker, since) = if let Error::NoSuchKey { marker, .. } = error {
        (marker.as_ref()?, None)
    } else if let Error::IsDeleteMarker { version, since, .. } = error {
        (version, Some(since))
    } else {
        return None;
    };
    let mut headers = Headers::new();
    headers.insert(X_AMZ_DELETE_MARKER, HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::from_str(&marker.to_string()) {
        headers.insert(X_AMZ_VERSION_ID, id);
    }
    if let Some(since) = since {
        headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
        if let Ok(date) = HeaderValue::from_str(&http_date(*since)) {
            headers.insert(LAST_MODIFIED, date);
        }
    }
    Some(headers)
}

impl From<NotificationError> for S3Error {
    fn from(error: NotificationError) -> Self {
        let (code, message) = match &error {
            // What AWS says.
            NotificationError::UnknownFunction { arn } => (
                S3ErrorCode::InvalidArgument,
                format!("Unable to validate the following destination configurations: {arn}"),
            ),
            NotificationError::Invalid { .. } => (S3ErrorCode::InvalidArgument, error.to_string()),
            NotificationError::Unavailable { .. } => {
                (S3ErrorCode::ServiceUnavailable, error.to_string())
            }
        };
        let mut answer = Self::with_message(code, message);
        answer.set_source(Box::new(error));
        answer
    }
}
