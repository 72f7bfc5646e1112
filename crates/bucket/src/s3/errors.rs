//! The store's errors in S3's words.

use s3s::{S3Error, S3ErrorCode};

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
        let mut answer = Self::with_message(code, error.to_string());
        if matches!(error, Error::TooManyTags { .. }) {
            answer.set_status_code(hyper::StatusCode::BAD_REQUEST);
        }
        answer.set_source(Box::new(error));
        answer
    }
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
