//! Asynchronous invocations as records of `tidemill.async`.
//!
//! A CloudEvent whose id is the request's id and whose data is the payload; what else the caller
//! said rides in headers of ours.

use bytes::Bytes;
use clock::Timestamp;
use event::{Event, EventId, Header, Record, SourceId};
use event_log::{Lifetime, TopicConfig, TopicName};
use function::{FunctionName, QualifiedName};

use crate::InvokeRequest;

/// The topic that holds accepted asynchronous invocations.
pub const ASYNC_TOPIC: &str = "tidemill.async";

const KIND: &str = "tidemill.invocation.accepted";
const FUNCTION: &str = "tm-function";
const CLIENT_CONTEXT: &str = "tm-client-context";
const TRACE_ID: &str = "tm-trace-id";
const QUALIFIER: &str = "tm-qualifier";

/// How the topics are made that this crate writes to.
pub(crate) const OWN_TOPIC: TopicConfig = TopicConfig::new(8, Lifetime::Events);

/// A topic of ours.
pub(crate) fn own_topic(name: &'static str) -> TopicName {
    TopicName::new(name).expect("our own topic names are legal")
}

/// The record that keeps an accepted invocation.
pub(crate) fn encode(request: InvokeRequest, now: Timestamp) -> Record {
    let mut extensions = vec![header(FUNCTION, request.target.name.as_str().to_owned())];
    extensions.extend(
        request
            .client_context
            .map(|context| header(CLIENT_CONTEXT, context)),
    );
    extensions.extend(request.trace_id.map(|id| header(TRACE_ID, id)));
    let qualifier = request.target.qualifier.as_ref();
    extensions.extend(qualifier.map(|qualifier| header(QUALIFIER, qualifier.to_string())));
    Event {
        id: EventId::new(request.request_id),
        source: SourceId::new(format!("/functions/{}", request.target.name)),
        kind: KIND.to_owned(),
        subject: None,
        time: now,
        key: None,
        content_type: None,
        data: Some(request.payload),
        extensions,
    }
    .into_record()
}

/// The invocation that a record keeps; `None` when it is not one of ours.
pub(crate) fn decode(record: &Record) -> Option<InvokeRequest> {
    let text = |name: &str| {
        record
            .header(name)
            .and_then(|value| String::from_utf8(value.to_vec()).ok())
    };
    let qualifier = text(QUALIFIER).map(|qualifier| qualifier.parse());
    Some(InvokeRequest {
        target: QualifiedName {
            name: FunctionName::new(text(FUNCTION)?).ok()?,
            qualifier: qualifier.transpose().ok()?,
        },
        request_id: text("ce_id")?,
        payload: record.value.clone().unwrap_or_default(),
        client_context: text(CLIENT_CONTEXT),
        trace_id: text(TRACE_ID),
    })
}

fn header(key: &str, value: String) -> Header {
    Header {
        key: key.to_owned(),
        value: Some(Bytes::from(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_invocation_is_read_back_as_it_was() {
        let request = InvokeRequest {
            target: QualifiedName {
                name: FunctionName::new("resize").unwrap(),
                qualifier: Some("live".parse().unwrap()),
            },
            request_id: "0d6c".to_owned(),
            payload: Bytes::from_static(b"{}"),
            client_context: Some("e30=".to_owned()),
            trace_id: None,
        };
        let record = encode(request.clone(), Timestamp::from_millis(5));
        assert_eq!(decode(&record), Some(request));
        assert_eq!(record.timestamp, Timestamp::from_millis(5));
    }

    #[test]
    fn a_stranger_in_the_queue_is_no_invocation() {
        assert_eq!(decode(&Record::new("{}", Timestamp::default())), None);
    }
}
