//! What can go wrong at the store's seam, grouped by what the caller must do.

use clock::Timestamp;

use crate::{BucketName, ChecksumAlgorithm, ObjectKey, PartNumber, UploadId, VersionId};

/// An operation on buckets that did not happen. Nothing of it is visible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reject: the name breaks S3's rules for buckets.
    #[error(
        "bucket name {name:?} is invalid: use 3 to 63 of a-z 0-9 . -, no IP address, no double dot"
    )]
    InvalidBucketName {
        /// The offending name, cut to 100 characters.
        name: String,
    },
    /// Reject: the key is empty or longer than 1024 bytes of UTF-8.
    #[error("object key of {bytes} bytes is invalid: use 1 to 1024")]
    InvalidKey {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Reject: something about the request contradicts itself or S3's rules.
    #[error("{reason}")]
    InvalidRequest {
        /// What is wrong, in words for the caller.
        reason: String,
    },
    /// Reject: user metadata is larger than 2 KiB.
    #[error("user metadata of {bytes} bytes exceeds the limit of {limit}")]
    MetadataTooLarge {
        /// Bytes of all names and values.
        bytes: usize,
        /// Bytes taken at most.
        limit: usize,
    },
    /// Reject: a tag breaks S3's rules.
    #[error("{reason}")]
    InvalidTag {
        /// What is wrong with it, in words for the caller.
        reason: &'static str,
    },
    /// Reject: more tags than an object may have.
    #[error("Object tags cannot be greater than {limit}")]
    TooManyTags {
        /// Tags taken at most.
        limit: usize,
    },
    /// Reject: the body is larger than one write takes.
    #[error("body exceeds the limit of {limit} bytes")]
    BodyTooLarge {
        /// Bytes taken at most.
        limit: u64,
    },
    /// Reject: the body ended before, or ran past, its announced length.
    #[error("body has {received} bytes where {announced} were announced")]
    IncompleteBody {
        /// Bytes received.
        received: u64,
        /// Bytes announced.
        announced: u64,
    },
    /// Reject: the body does not have the digest that came with it.
    #[error("body does not match its {digest}")]
    BadDigest {
        /// `Content-MD5` or the checksum's algorithm.
        digest: &'static str,
    },
    /// Reject: the caller's stream broke off.
    #[error("receive the body")]
    Body {
        /// The stream's error.
        #[source]
        source: crate::BodyError,
    },
    /// Reject: there is no such bucket.
    #[error("bucket {bucket} does not exist")]
    NoSuchBucket {
        /// The bucket asked for.
        bucket: BucketName,
    },
    /// Reject: the bucket exists already.
    #[error("bucket {bucket} exists already")]
    BucketExists {
        /// The bucket asked for.
        bucket: BucketName,
    },
    /// Reject: the bucket's topic was made by somebody else and holds records.
    #[error("topic {topic} exists already and belongs to no bucket")]
    TopicTaken {
        /// The topic in the way.
        topic: event_log::TopicName,
    },
    /// Reject: the bucket still holds objects.
    #[error("bucket {bucket} is not empty")]
    BucketNotEmpty {
        /// The bucket asked for.
        bucket: BucketName,
    },
    /// Reject: there is no object of that key.
    #[error("object {key:?} does not exist in bucket {bucket}")]
    NoSuchKey {
        /// The bucket asked for.
        bucket: BucketName,
        /// The key asked for.
        key: ObjectKey,
        /// The delete marker that is its current version, if one is.
        marker: Option<VersionId>,
    },
    /// Reject: no store gives such ids to versions.
    #[error("version id {id:?} is invalid")]
    InvalidVersionId {
        /// The offending id, cut to 100 characters.
        id: String,
    },
    /// Reject: the object has no such version.
    #[error("version {version} of object {key:?} does not exist in bucket {bucket}")]
    NoSuchVersion {
        /// The bucket asked for.
        bucket: BucketName,
        /// The key asked for.
        key: ObjectKey,
        /// The version asked for.
        version: VersionId,
    },
    /// Reject: the version is a delete marker, of which there is nothing to have.
    #[error("version {version} of object {key:?} in bucket {bucket} is a delete marker")]
    IsDeleteMarker {
        /// The bucket asked for.
        bucket: BucketName,
        /// The key asked for.
        key: ObjectKey,
        /// The version asked for.
        version: VersionId,
        /// When the object was deleted.
        since: Timestamp,
    },
    /// Reject: a bucket that has kept versions can stop to, but not forget that it has.
    #[error("versioning of bucket {bucket} can be suspended, not taken back")]
    VersioningIsForGood {
        /// The bucket asked for.
        bucket: BucketName,
    },
    /// Conflict: the object is not as the caller's condition wants it. Look again, then decide.
    #[error("object {key:?} in bucket {bucket} does not meet the condition")]
    PreconditionFailed {
        /// The bucket asked for.
        bucket: BucketName,
        /// The key asked for.
        key: ObjectKey,
    },
    /// Reject: there is no upload of that id in progress for that key.
    #[error("upload {upload} does not exist")]
    NoSuchUpload {
        /// The id asked for, cut to 100 characters.
        upload: String,
    },
    /// Reject: the part was never uploaded, or is another than the caller believes.
    #[error("part {part} of upload {upload} is missing or different")]
    InvalidPart {
        /// The upload.
        upload: UploadId,
        /// The part.
        part: PartNumber,
    },
    /// Reject: parts must be listed in ascending order, each once.
    #[error("parts of upload {upload} are not in ascending order")]
    InvalidPartOrder {
        /// The upload.
        upload: UploadId,
    },
    /// Reject: every part but the last must have 5 MiB.
    #[error("part {part} of upload {upload} has {bytes} bytes, fewer than {minimum}")]
    PartTooSmall {
        /// The upload.
        upload: UploadId,
        /// The part.
        part: PartNumber,
        /// Its size.
        bytes: u64,
        /// The smallest size taken.
        minimum: u64,
    },
    /// Reject: this checksum does not go with the upload's own.
    #[error("upload {upload} uses {expected}, not {actual}")]
    ChecksumMismatch {
        /// The upload.
        upload: UploadId,
        /// The upload's algorithm.
        expected: ChecksumAlgorithm,
        /// The algorithm offered.
        actual: ChecksumAlgorithm,
    },
    /// Retry later: there is no room on the disk. Nothing was written; reads go on.
    #[error("the disk is full")]
    Full {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The log refused or failed.
    #[error("use the log")]
    Log {
        /// The log's error.
        #[source]
        source: event_log::Error,
    },
    /// Fatal: a blob or an upload's file cannot be read or written.
    #[error("{act}")]
    Io {
        /// The failed act and the file.
        act: String,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// Fatal: what is stored contradicts itself.
    #[error("stored data is damaged at {place}: {reason}")]
    Corrupt {
        /// The file, or topic, partition and offset.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// An error of the file system, told apart by what the caller must do.
    pub(crate) fn io(act: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match source.kind() {
            StorageFull | QuotaExceeded => Self::Full {
                source: Box::new(source),
            },
            _ => Self::Io {
                act: act.into(),
                source,
            },
        }
    }

    pub(crate) fn invalid_tag(reason: &'static str) -> Self {
        Self::InvalidTag { reason }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::InvalidRequest {
            reason: reason.into(),
        }
    }
}

impl From<event_log::Error> for Error {
    fn from(source: event_log::Error) -> Self {
        match source {
            full @ event_log::Error::Full { .. } => Self::Full {
                source: Box::new(full),
            },
            event_log::Error::Closed => Self::Closed,
            other => Self::Log { source: other },
        }
    }
}
