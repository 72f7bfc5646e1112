//! What is kept of an event that was given up.
//!
//! A CloudEvent whose data has the shape of AWS's failure records (`requestContext`,
//! `requestPayload`, `responseContext`, `responsePayload`) and says in `source` where the event
//! stands. The key is the event's own; headers that are no attribute are kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clock::Timestamp;
use event::{Event, EventId, Place, Record, SourceId};
use event_log::{Offset, StoredRecord, TopicPartition};
use serde::Serialize;
use serde_json::value::RawValue;

use super::flight::Response;
use crate::schedule::Reason;

/// The topic of events that were given up, unless their trigger names another.
pub(super) const DEAD_LETTERS: &str = "tidemill.dead-letters";

const KIND: &str = "tidemill.event.given-up";

/// An event that was given up.
#[derive(Debug)]
pub(super) struct DeadLetter<'a> {
    /// Who gave it up: a trigger's id, or `async`.
    pub(super) by: &'a str,
    pub(super) place: &'a TopicPartition,
    pub(super) offset: Offset,
    /// The record, where it can still be had.
    pub(super) stored: Option<&'a StoredRecord>,
    pub(super) function_arn: &'a str,
    pub(super) version: &'a str,
    pub(super) reason: Reason,
    /// More about the reason, in words.
    pub(super) detail: Option<&'a str>,
    pub(super) attempts: u32,
    /// What the function said of the last attempt.
    pub(super) response: Option<&'a Response>,
    pub(super) now: Timestamp,
}

/// Whether payloads go along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    Whole,
    /// Key, headers and the place must do: the letters would be larger than the log takes.
    Omitted,
    /// The place alone must do: they would be so even then.
    Bare,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Letter<'a> {
    version: &'static str,
    timestamp: String,
    request_context: RequestContext<'a>,
    source: Source<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_payload: Option<Content<'a>>,
    /// `base64` where a payload is not JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_payload_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_context: Option<ResponseContext<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_payload: Option<Content<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    function_arn: &'a str,
    condition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    approximate_invoke_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Source<'a> {
    topic: &'a str,
    partition: u32,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResponseContext<'a> {
    status_code: u16,
    executed_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_error: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Json(&'a RawValue),
    Base64(String),
}

impl DeadLetter<'_> {
    /// The record that keeps it.
    ///
    /// # Panics
    /// Never: a letter is plain data.
    pub(super) fn to_record(&self, payload: Payload) -> Record {
        let data = serde_json::to_vec(&self.letter(payload)).expect("a letter is plain data");
        let record = self.stored.map(|stored| &stored.record);
        let place = Place {
            topic: self.place.topic.as_str(),
            partition: self.place.partition.index(),
            offset: self.offset.get(),
        };
        let kept = record.filter(|_| match payload {
            Payload::Whole | Payload::Omitted => true,
            Payload::Bare => false,
        });
        let origin = kept.and_then(|record| Event::from_record(record.clone(), place).ok());
        Event {
            id: EventId::new(format!("{place}/{}", self.by)),
            source: SourceId::new(format!("/triggers/{}", self.by)),
            kind: KIND.to_owned(),
            subject: Some(place.to_string()),
            time: self.now,
            key: kept.and_then(|record| record.key.clone()),
            content_type: Some("application/json".to_owned()),
            data: Some(data.into()),
            extensions: origin.map(|event| event.extensions).unwrap_or_default(),
        }
        .into_record()
    }

    fn letter(&self, payload: Payload) -> Letter<'_> {
        let record = self.stored.map(|stored| &stored.record);
        let value = record.and_then(|record| record.value.as_ref());
        let (request_payload, request_payload_encoding) = match payload {
            Payload::Whole => value.map(content).unzip(),
            Payload::Omitted | Payload::Bare => (None, None),
        };
        let response = self.response;
        Letter {
            version: "1.0",
            timestamp: self.now.to_rfc3339(),
            request_context: RequestContext {
                request_id: response.map(|response| response.request_id.as_str()),
                function_arn: self.function_arn,
                condition: condition(self.reason),
                reason: self.detail,
                approximate_invoke_count: self.attempts,
            },
            source: Source {
                topic: self.place.topic.as_str(),
                partition: self.place.partition.index(),
                offset: self.offset.get(),
                timestamp: record.map(|record| record.timestamp.to_rfc3339()),
            },
            request_payload,
            request_payload_encoding: request_payload_encoding.flatten(),
            response_context: response.map(|response| ResponseContext {
                status_code: 200,
                executed_version: self.version,
                function_error: response.function_error,
            }),
            response_payload: match payload {
                Payload::Whole => response.map(|response| content(&response.body).0),
                Payload::Omitted | Payload::Bare => None,
            },
        }
    }
}

/// JSON as it is, anything else in base64.
fn content(bytes: &Bytes) -> (Content<'_>, Option<&'static str>) {
    match serde_json::from_slice::<&RawValue>(bytes) {
        Ok(json) => (Content::Json(json), None),
        Err(_) => (Content::Base64(STANDARD.encode(bytes)), Some("base64")),
    }
}

/// AWS's word where it has one.
fn condition(reason: Reason) -> &'static str {
    match reason {
        Reason::RetriesExhausted => "RetriesExhausted",
        Reason::EventAgeExceeded => "EventAgeExceeded",
        Reason::Rejected => "Rejected",
        Reason::Unreadable => "Unreadable",
    }
}

#[cfg(test)]
mod tests {
    use event_log::{Partition, TopicName};
    use serde_json::{Value, json};

    use super::*;

    fn letter(value: &'static [u8], payload: Payload) -> (Record, Value) {
        let stored = StoredRecord {
            offset: Offset::new(7),
            record: Record::new(value, Timestamp::from_millis(1_000))
                .with_key("k")
                .with_header("trace", "t"),
        };
        let response = Response {
            request_id: "r-1".to_owned(),
            function_error: Some("Unhandled"),
            body: Bytes::from_static(br#"{"errorType":"E"}"#),
        };
        let place = TopicName::new("orders")
            .unwrap()
            .partition(Partition::new(2));
        let record = DeadLetter {
            by: "t-1",
            place: &place,
            offset: Offset::new(7),
            stored: Some(&stored),
            function_arn: "arn:f",
            version: "$LATEST",
            reason: Reason::RetriesExhausted,
            detail: None,
            attempts: 3,
            response: Some(&response),
            now: Timestamp::from_millis(2_000),
        }
        .to_record(payload);
        let data = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
        (record, data)
    }

    #[test]
    fn a_letter_has_the_shape_of_awss_failure_records() {
        let (record, data) = letter(br#"{"n":1.0}"#, Payload::Whole);
        let expected = json!({
            "version": "1.0",
            "timestamp": "1970-01-01T00:00:02.000Z",
            "requestContext": {
                "requestId": "r-1",
                "functionArn": "arn:f",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "source": {
                "topic": "orders",
                "partition": 2,
                "offset": 7,
                "timestamp": "1970-01-01T00:00:01.000Z",
            },
            "requestPayload": { "n": 1.0 },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            },
            "responsePayload": { "errorType": "E" },
        });
        assert_eq!(data, expected);
        assert_eq!(record.key, Some(Bytes::from_static(b"k")));
        assert_eq!(record.header("trace"), Some(&Bytes::from_static(b"t")));
        assert_eq!(
            record.header("ce_id"),
            Some(&Bytes::from_static(b"orders-2@7/t-1"))
        );
    }

    #[test]
    fn a_payload_that_is_not_json_travels_in_base64() {
        let (_, data) = letter(b"\xff", Payload::Whole);
        assert_eq!(data["requestPayload"], "/w==");
        assert_eq!(data["requestPayloadEncoding"], "base64");
    }

    #[test]
    fn a_bare_letter_has_no_part_of_the_event_but_its_place() {
        let (record, data) = letter(b"{}", Payload::Bare);
        assert_eq!(record.header("trace"), None);
        assert_eq!((record.key, data.get("requestPayload")), (None, None));
        assert_eq!(data["source"]["offset"], 7);
    }

    #[test]
    fn without_its_payload_a_letter_still_says_where_the_event_stands() {
        let (_, data) = letter(b"{}", Payload::Omitted);
        assert_eq!(data.get("requestPayload"), None);
        assert_eq!(data["source"]["offset"], 7);
    }
}
