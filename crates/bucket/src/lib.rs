//! Buckets: object storage whose commit is the event's append, and the S3 door to it.
//!
//! The record of a change in the topic `bucket.<name>` *is* the object's metadata, and small
//! objects ride inside it. An object is therefore visible exactly when its event is in the log:
//! no object without an event, no event without an object, whatever crashes in between. The topic is
//! compacted: in time it holds what there is, and events only until every trigger has finished them.
//!
//! Three layers:
//! 1. [`BucketStore`]: buckets, objects, multipart uploads and conditional writes over a log and a
//!    folder of blobs. It knows nothing of HTTP.
//! 2. [`s3`]: the S3 protocol over a store, with signatures verified. Files of somebody else
//!    ([`ConnectedBuckets`]) can be read through it, too.
//! 3. [`BucketObjectStore`]: the `object_store` interface over one bucket of a store, for parts of
//!    Tidemill that keep documents.
//!
//! A bucket may keep versions. Each has records of its own key in the topic, so that all of them stay,
//! and each change of each is an event as ever.
//!
//! Not supported, and refused by name: locks, encryption, grants, websites, transitions to
//! other storage classes, destinations of notifications other than functions.
//!
//! What this crate does not know: functions, triggers (it hands notification configurations to a
//! [`Notifications`]), dispatch, configuration files.

mod error;

mod bucket_name;
mod etag;
mod object_key;
mod sequencer;
mod version_id;

mod attributes;
mod checksum;
mod condition;
mod requester;
mod tags;

mod blob;
mod body;
mod connected;
mod ingest;
mod object;
mod reading;
mod version;

mod change;
mod record_key;
mod s3_event;

mod index;
mod key_locks;
mod lifecycle;
mod listing;
mod uploads;
mod version_listing;

mod store;

mod notifications;
mod object_store_adapter;
pub mod s3;

pub use attributes::{ObjectAttributes, ObjectHeaders};
pub use body::{BodyError, PutBody};
pub use bucket_name::BucketName;
pub use checksum::{ChecksumAlgorithm, ChecksumKind, Checksums};
pub use condition::WriteCondition;
pub use connected::{ConnectedBucket, ConnectedBuckets, ConnectedFile, Walk};
pub use error::Error;
pub use etag::ETag;
pub use lifecycle::{
    Expiration, Expiry, FilterForm, Lifecycle, LifecycleRule, NoncurrentExpiration, RuleFilter,
    RuleStatus,
};
pub use listing::{ListQuery, Listing};
pub use notifications::{FunctionNotification, NotificationError, Notifications};
pub use object::Object;
pub use object_key::ObjectKey;
pub use object_store_adapter::BucketObjectStore;
pub use reading::ObjectBody;
pub use requester::Requester;
pub use sequencer::Sequencer;
pub use store::{
    BucketInfo, BucketStore, Config, CopyOptions, Deletion, NewUpload, PutOptions, REGISTRY_BUCKET,
    TagsChange, UploadCompletion, WriteMethod,
};
pub use tags::Tags;
pub use uploads::{CompletedPart, Part, PartNumber, PartSizes, UploadId, UploadInfo};
pub use version::{DeleteMarker, Version, Versioning};
pub use version_id::VersionId;
pub use version_listing::{ListedVersion, VersionListing, VersionMark, VersionQuery};
