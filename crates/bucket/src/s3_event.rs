//! The event of a change, in the shape in which AWS hands it to functions.

use bytes::Bytes;
use clock::Timestamp;
use event::{EventId, SourceId};
use serde_json::json;
use uuid::Uuid;

use crate::requester::LIFECYCLE;
use crate::{BucketName, ETag, ObjectKey, Requester, Sequencer, VersionId, Versioning};

/// The name space of event ids, drawn once at random.
const EVENT_IDS: Uuid = Uuid::from_u128(0x8f0e_5d0c_3b1a_4c57_9a77_2d64_51e0_b3c9);

/// What made a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Put,
    Post,
    Copy,
    CompleteMultipartUpload,
    Delete,
    /// A deletion that leaves a delete marker.
    Mark,
    PutTags,
    DeleteTags,
    Expiration,
    /// An expiration that leaves a delete marker.
    ExpirationMark,
}

/// The entity tag of nothing, which AWS's events give delete markers.
const TAG_OF_NOTHING: &str = "d41d8cd98f00b204e9800998ecf8427e";

/// What a change did to its object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Changed<'a> {
    Written { size: u64, etag: &'a ETag },
    Deleted,
    Marked,
    Tagged { etag: &'a ETag },
}

/// Where a store says that it is.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) region: String,
    pub(crate) account: String,
}

/// Everything about a change but what it did.
#[derive(Clone, Debug)]
pub(crate) struct S3Event<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) bucket: &'a BucketName,
    pub(crate) key: &'a ObjectKey,
    pub(crate) version: VersionId,
    /// What the bucket does about versions.
    pub(crate) versioning: Versioning,
    pub(crate) cause: Cause,
    pub(crate) time: Timestamp,
    pub(crate) sequencer: Sequencer,
    pub(crate) requester: Requester,
}

impl Cause {
    /// The event's name in AWS's words, without the `s3:` that notification configurations add.
    pub(crate) const fn event_name(self) -> &'static str {
        match self {
            Self::Put => "ObjectCreated:Put",
            Self::Post => "ObjectCreated:Post",
            Self::Copy => "ObjectCreated:Copy",
            Self::CompleteMultipartUpload => "ObjectCreated:CompleteMultipartUpload",
            Self::Delete => "ObjectRemoved:Delete",
            Self::Mark => "ObjectRemoved:DeleteMarkerCreated",
            Self::PutTags => "ObjectTagging:Put",
            Self::DeleteTags => "ObjectTagging:Delete",
            Self::Expiration => "LifecycleExpiration:Delete",
            Self::ExpirationMark => "LifecycleExpiration:DeleteMarkerCreated",
        }
    }

    /// The version of the event's shape (AWS, "Event message structure", 2026).
    const fn event_version(self) -> &'static str {
        match self {
            Self::Put
            | Self::Post
            | Self::Copy
            | Self::CompleteMultipartUpload
            | Self::Delete
            | Self::Mark => "2.1",
            Self::PutTags | Self::DeleteTags | Self::Expiration | Self::ExpirationMark => "2.3",
        }
    }

    /// The cause of a deletion that leaves a delete marker instead.
    pub(crate) const fn leaving_a_marker(self) -> Self {
        match self {
            Self::Expiration | Self::ExpirationMark => Self::ExpirationMark,
            Self::Put
            | Self::Post
            | Self::Copy
            | Self::CompleteMultipartUpload
            | Self::Delete
            | Self::Mark
            | Self::PutTags
            | Self::DeleteTags => Self::Mark,
        }
    }
}

impl S3Event<'_> {
    /// The event's id: the same for the same change, whoever computes it.
    pub(crate) fn id(&self) -> EventId {
        let name = format!("{}/{}#{}", self.bucket, self.key, self.sequencer);
        EventId::new(Uuid::new_v5(&EVENT_IDS, name.as_bytes()).to_string())
    }

    /// The event's source: the bucket's ARN.
    pub(crate) fn source(&self) -> SourceId {
        SourceId::new(arn(self.bucket))
    }

    /// The event's type, for example `com.amazonaws.s3.ObjectCreated.Put`.
    pub(crate) fn kind(&self) -> String {
        let name = self.cause.event_name().replace(':', ".");
        format!("com.amazonaws.s3.{name}")
    }

    /// Where the request came from. AWS names itself where there was none.
    fn source_address(&self) -> String {
        match self.cause {
            Cause::Expiration | Cause::ExpirationMark => LIFECYCLE.to_owned(),
            Cause::Put
            | Cause::Post
            | Cause::Copy
            | Cause::CompleteMultipartUpload
            | Cause::Delete
            | Cause::Mark
            | Cause::PutTags
            | Cause::DeleteTags => self.requester.source_ip.to_string(),
        }
    }

    /// The event as a handler sees it in `Records[i]` (AWS, "Event message structure", 2026).
    /// `configurationId` is left empty: it is the trigger's.
    pub(crate) fn value(&self, changed: Changed<'_>) -> Bytes {
        let mut object = json!({
            "key": form_encoded(self.key.as_str()),
            "sequencer": self.sequencer,
        });
        match changed {
            Changed::Written { size, etag } => {
                object["size"] = json!(size);
                object["eTag"] = json!(etag);
            }
            Changed::Tagged { etag } => object["eTag"] = json!(etag),
            Changed::Marked => object["eTag"] = json!(TAG_OF_NOTHING),
            Changed::Deleted => {}
        }
        match self.versioning {
            Versioning::Unversioned => {}
            Versioning::Enabled | Versioning::Suspended => {
                object["versionId"] = json!(self.version.to_string());
            }
        }
        let event = json!({
            "eventVersion": self.cause.event_version(),
            "eventSource": "aws:s3",
            "awsRegion": self.origin.region,
            "eventTime": self.time.to_rfc3339(),
            "eventName": self.cause.event_name(),
            "userIdentity": {"principalId": self.requester.principal},
            "requestParameters": {"sourceIPAddress": self.source_address()},
            "responseElements": {
                "x-amz-request-id": self.requester.request_id,
                "x-amz-id-2": self.requester.extended_request_id,
            },
            "s3": {
                "s3SchemaVersion": "1.0",
                "configurationId": "",
                "bucket": {
                    "name": self.bucket,
                    "ownerIdentity": {"principalId": self.origin.account},
                    "arn": arn(self.bucket),
                },
                "object": object,
            },
        });
        event.to_string().into()
    }
}

fn arn(bucket: &BucketName) -> String {
    format!("arn:aws:s3:::{bucket}")
}

/// A key as AWS writes it in events: form encoding that leaves slashes alone, a plus for a space.
fn form_encoded(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' | b'/' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_form_encoded_with_slashes_left_alone() {
        for (key, encoded) in [
            ("a/b c+d.txt", "a/b+c%2Bd.txt"),
            ("../x", "../x"),
            ("100%~é", "100%25%7E%C3%A9"),
        ] {
            assert_eq!(form_encoded(key), encoded);
        }
    }
}
