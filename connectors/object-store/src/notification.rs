//! Notifications of other stores as hints: AWS's S3 event records, as S3 sends them to a queue, and as
//! MinIO-compatible stores post them to a webhook and write them on a connection.

use serde::{Deserialize, Deserializer};

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
    #[serde(rename = "Records", default, deserialize_with = "records")]
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

/// A list that is `null` is an empty one: so MinIO says that it is still there.
fn records<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Record>>, D::Error> {
    let records = Option::<Vec<Record>>::deserialize(from)?;
    Ok(Some(records.unwrap_or_default()))
}

/// The hints of one notification: `{"Records": [{"s3": {"bucket": {"name": …}, "object": {"key": …}}}]}`,
/// keys form-encoded as in S3's events. Whatever else it says is not believed, so not read. AWS's test
/// message has none.
///
/// # Errors
/// It is unreadable, of an unsupported kind, or about another bucket than `watched`.
pub fn hints_of(body: &[u8], watched: &str) -> Result<Vec<Hint>, NotificationError> {
    let keys = keys_in(body, watched)?.into_iter();
    // A key that cannot be read hints at anything.
    let hint = |key: String| form_decoded(&key).map_or(Hint::Anything, Hint::Object);
    Ok(keys.map(hint).collect())
}

/// The hints of what a store writes on a connection. MinIO has keys as they are there, whatever it does
/// elsewhere, so that `a+b` may be two objects: both are looked at.
///
/// # Errors
/// As [`hints_of`].
pub(crate) fn hints_of_either(line: &[u8], watched: &str) -> Result<Vec<Hint>, NotificationError> {
    let keys = keys_in(line, watched)?.into_iter();
    let either = |key: String| {
        let decoded = form_decoded(&key).filter(|decoded| *decoded != key);
        [Some(key), decoded].into_iter().flatten().map(Hint::Object)
    };
    Ok(keys.flat_map(either).collect())
}

/// The keys of a notification's objects, as they stand there.
fn keys_in(body: &[u8], watched: &str) -> Result<Vec<String>, NotificationError> {
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
    let key = |record: Record| {
        let S3 { bucket, object } = record.s3;
        match bucket.name == watched {
            true => Ok(object.key),
            false => Err(NotificationError::OtherBucket {
                named: bucket.name,
                watched: watched.to_owned(),
            }),
        }
    };
    records.into_iter().map(key).collect()
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
    fn on_a_connection_a_key_is_looked_at_as_it_is_and_as_it_may_be_meant() {
        let line = |key: &str| {
            let record =
                format!(r#"{{"s3":{{"bucket":{{"name":"inbox"}},"object":{{"key":"{key}"}}}}}}"#);
            let hints = hints_of_either(format!(r#"{{"Records":[{record}]}}"#).as_bytes(), "inbox");
            let key_of = |hint: Hint| match hint {
                Hint::Object(key) => key,
                Hint::Anything => panic!("a key is named"),
            };
            let keys = hints.unwrap().into_iter().map(key_of);
            keys.collect::<Vec<_>>()
        };
        assert_eq!(line("in/plain.csv"), ["in/plain.csv"]);
        assert_eq!(line("in/a+b"), ["in/a+b", "in/a b"]);
        assert_eq!(line("in%2Fa"), ["in%2Fa", "in/a"]);
        assert_eq!(line("100%"), ["100%"]);
        let none = hints_of_either(br#"{"Records":null}"#, "inbox");
        assert_eq!(none.unwrap(), []);
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
