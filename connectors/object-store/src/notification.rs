//! Notifications of other stores as hints: AWS's S3 event records, as MinIO-compatible stores post them to
//! a webhook.

use serde::Deserialize;

use crate::Hint;

/// Why a notification is refused.
#[derive(Debug, thiserror::Error)]
pub enum NotificationError {
    /// It is no JSON, or not of this shape.
    #[error("it is no S3 notification: JSON with a list of `Records`")]
    Unreadable(#[source] serde_json::Error),
    /// It has the shape of something that is not supported.
    #[error("{0}")]
    Unsupported(&'static str),
    /// It is about another bucket.
    #[error("it is about bucket {named:?}, and {watched:?} is watched")]
    OtherBucket {
        /// The bucket that it names.
        named: String,
        /// The bucket that hints are for.
        watched: String,
    },
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    /// Of AWS's message that tries a configuration out.
    #[serde(rename = "Event")]
    event: Option<String>,
    /// Of Amazon SNS's envelope.
    #[serde(rename = "TopicArn")]
    topic: Option<String>,
    /// Of Amazon EventBridge's events.
    #[serde(rename = "detail-type")]
    detail: Option<String>,
}

#[derive(Deserialize)]
struct Record {
    s3: S3,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

/// The hints of one notification: `{"Records": [{"s3": {"bucket": {"name": …}, "object": {"key": …}}}]}`,
/// keys form-encoded as in S3's events. Whatever else it says is not believed, so not read. AWS's test
/// message has none.
///
/// # Errors
/// It is unreadable, of an unsupported kind, or about another bucket than `watched`.
pub fn hints_of(body: &[u8], watched: &str) -> Result<Vec<Hint>, NotificationError> {
    let body: Body = serde_json::from_slice(body).map_err(NotificationError::Unreadable)?;
    if body.topic.is_some() {
        return Err(NotificationError::Unsupported(
            "messages in Amazon SNS's envelope are not supported: turn on raw message delivery",
        ));
    }
    if body.detail.is_some() {
        return Err(NotificationError::Unsupported(
            "Amazon EventBridge's events are not supported: have S3's own notifications sent",
        ));
    }
    let records = match (body.records, body.event.as_deref()) {
        (Some(records), _) => records,
        (None, Some("s3:TestEvent")) => Vec::new(),
        (None, _) => {
            return Err(NotificationError::Unsupported(
                "it has no `Records`: only S3's own notifications are supported",
            ));
        }
    };
    let hint = |record: Record| {
        let S3 { bucket, object } = record.s3;
        match bucket.name == watched {
            // A key that cannot be read hints at anything.
            true => Ok(form_decoded(&object.key).map_or(Hint::Anything, Hint::Object)),
            false => Err(NotificationError::OtherBucket {
                named: bucket.name,
                watched: watched.to_owned(),
            }),
        }
    };
    records.into_iter().map(hint).collect()
}

/// Undoes form encoding; `None` when that is none, or not of UTF-8.
pub(crate) fn form_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::s3_event::form_encoded;

    proptest! {
        #[test]
        fn a_key_survives_its_form_encoding(key in "\\PC{0,20}") {
            prop_assert_eq!(form_decoded(&form_encoded(&key)), Some(key));
        }

        #[test]
        fn no_key_makes_it_panic(key in "[%+a-f0-9é]{0,12}") {
            form_decoded(&key);
        }
    }

    #[test]
    fn what_minio_posts_is_a_hint_at_each_of_its_objects() {
        // As its webhook target sends it, shortened.
        let body = r#"{"EventName":"s3:ObjectCreated:Put","Key":"inbox/in/a b.csv","Records":[
            {"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"","eventName":"s3:ObjectCreated:Put",
             "s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"inbox",
              "ownerIdentity":{"principalId":"minio"},"arn":"arn:aws:s3:::inbox"},
              "object":{"key":"in%2Fa+b.csv","size":3,"eTag":"e","sequencer":"17D"}},
             "source":{"host":"127.0.0.1","port":"","userAgent":"mc"}}]}"#;
        let hints = hints_of(body.as_bytes(), "inbox").unwrap();
        assert_eq!(hints, [Hint::Object("in/a b.csv".to_owned())]);
        let other = hints_of(body.as_bytes(), "other").unwrap_err().to_string();
        assert!(other.contains("\"inbox\""), "{other}");
    }

    #[test]
    fn a_test_message_has_no_hints_and_other_kinds_are_refused_by_name() {
        let test = br#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"inbox"}"#;
        assert_eq!(hints_of(test, "inbox").unwrap(), []);
        for (body, name) in [
            (
                r#"{"Type":"Notification","TopicArn":"a","Message":"{}"}"#,
                "SNS",
            ),
            (
                r#"{"detail-type":"Object Created","detail":{}}"#,
                "EventBridge",
            ),
            ("{}", "Records"),
            ("", "no S3 notification"),
        ] {
            let refused = hints_of(body.as_bytes(), "inbox").unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
        }
    }
}
