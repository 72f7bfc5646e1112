//! CloudEvents 1.0 over records: Kafka protocol binding, binary content mode.
//!
//! Attributes ride in headers named `ce_<attribute>`, the data content type in `content-type`,
//! the data in the record's value, the partition key in its key (CloudEvents Kafka binding 1.0.2,
//! section 3.2).

use std::fmt;

use bytes::Bytes;
use clock::Timestamp;

use crate::{EventId, Header, Record, SourceId};

const SPEC_VERSION: &str = "1.0";
const PREFIX: &str = "ce_";
/// The type of a record that was published without CloudEvents headers.
const PLAIN_RECORD: &str = "tidemill.topic.record";

/// One event: CloudEvents attributes and the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Unique within the source; redelivery repeats it.
    pub id: EventId,
    /// Where it comes from.
    pub source: SourceId,
    /// What happened, reverse-DNS style (CloudEvents `type`).
    pub kind: String,
    /// What it happened to, in the source's words.
    pub subject: Option<String>,
    /// When it happened.
    pub time: Timestamp,
    /// Events of one key keep their order.
    pub key: Option<Bytes>,
    /// The data's media type, if the source said one.
    pub content_type: Option<String>,
    /// The data; `None` is a tombstone.
    pub data: Option<Bytes>,
    /// Headers that are no CloudEvents attribute, in order.
    pub extensions: Vec<Header>,
}

/// A record's place in the log, the identity of an event that carries none of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The record's topic.
    pub topic: &'a str,
    /// The record's partition.
    pub partition: u32,
    /// The record's offset.
    pub offset: u64,
}

/// Why a record with CloudEvents headers is not an event.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A required attribute is absent or empty.
    #[error("read the event at {place}: attribute {attribute} is missing")]
    Missing {
        /// The record's place.
        place: String,
        /// The attribute's CloudEvents name.
        attribute: &'static str,
    },
    /// An attribute is not UTF-8 text or not in its format.
    #[error("read the event at {place}: attribute {attribute} is malformed")]
    Malformed {
        /// The record's place.
        place: String,
        /// The attribute's CloudEvents name.
        attribute: &'static str,
    },
}

impl Event {
    /// The record that carries this event.
    #[must_use]
    pub fn into_record(self) -> Record {
        let mut record = Record {
            key: self.key,
            value: self.data,
            headers: Vec::with_capacity(7 + self.extensions.len()),
            timestamp: self.time,
        }
        .with_header("ce_specversion", SPEC_VERSION)
        .with_header("ce_id", self.id.as_str().to_owned())
        .with_header("ce_source", self.source.as_str().to_owned())
        .with_header("ce_type", self.kind)
        .with_header("ce_time", self.time.to_rfc3339());
        if let Some(subject) = self.subject {
            record = record.with_header("ce_subject", subject);
        }
        if let Some(content_type) = self.content_type {
            record = record.with_header("content-type", content_type);
        }
        record.headers.extend(self.extensions);
        record
    }

    /// Reads a record as an event. A record without `ce_specversion` is a plain one: its source is
    /// its topic, its id its place.
    ///
    /// # Errors
    /// The record claims to be a CloudEvent and lacks a required attribute or garbles one.
    pub fn from_record(record: Record, place: Place<'_>) -> Result<Self, Error> {
        if record.header("ce_specversion").is_none() {
            return Ok(Self::from_plain(record, place));
        }
        let attributes = Attributes {
            record: &record,
            place,
        };
        let id = EventId::new(attributes.required("id")?);
        let source = SourceId::new(attributes.required("source")?);
        let kind = attributes.required("type")?;
        let subject = attributes.optional("subject")?;
        let time = match attributes.optional("time")? {
            Some(text) => {
                Timestamp::parse_rfc3339(&text).ok_or_else(|| attributes.malformed("time"))?
            }
            None => record.timestamp,
        };
        let content_type = attributes.text("content-type", "datacontenttype")?;
        Ok(Self {
            id,
            source,
            kind,
            subject,
            time,
            key: record.key,
            content_type,
            data: record.value,
            extensions: record
                .headers
                .into_iter()
                .filter(|header| !is_attribute(&header.key))
                .collect(),
        })
    }

    fn from_plain(record: Record, place: Place<'_>) -> Self {
        Self {
            id: EventId::new(format!("{}-{}", place.partition, place.offset)),
            source: SourceId::new(format!("/topics/{}", place.topic)),
            kind: PLAIN_RECORD.to_owned(),
            subject: None,
            time: record.timestamp,
            key: record.key,
            content_type: None,
            data: record.value,
            extensions: record.headers,
        }
    }
}

fn is_attribute(header: &str) -> bool {
    matches!(
        header,
        "ce_specversion"
            | "ce_id"
            | "ce_source"
            | "ce_type"
            | "ce_time"
            | "ce_subject"
            | "content-type"
    )
}

struct Attributes<'a> {
    record: &'a Record,
    place: Place<'a>,
}

impl Attributes<'_> {
    fn required(&self, attribute: &'static str) -> Result<String, Error> {
        self.optional(attribute)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Error::Missing {
                place: self.place.to_string(),
                attribute,
            })
    }

    fn optional(&self, attribute: &'static str) -> Result<Option<String>, Error> {
        self.text(&format!("{PREFIX}{attribute}"), attribute)
    }

    fn text(&self, header: &str, attribute: &'static str) -> Result<Option<String>, Error> {
        self.record
            .header(header)
            .map(|value| String::from_utf8(value.to_vec()))
            .transpose()
            .map_err(|_| self.malformed(attribute))
    }

    fn malformed(&self, attribute: &'static str) -> Error {
        Error::Malformed {
            place: self.place.to_string(),
            attribute,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}@{}", self.topic, self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLACE: Place<'_> = Place {
        topic: "orders",
        partition: 3,
        offset: 41,
    };

    #[test]
    fn a_plain_record_is_an_event_named_by_its_place() {
        let record = Record::new("{}", Timestamp::from_millis(7)).with_header("trace", "a");
        let event = Event::from_record(record.clone(), PLACE).unwrap();
        assert_eq!(event.id.as_str(), "3-41");
        assert_eq!(event.source.as_str(), "/topics/orders");
        assert_eq!(event.time, Timestamp::from_millis(7));
        assert_eq!(event.extensions, record.headers);
    }

    #[test]
    fn a_cloud_event_without_an_id_is_refused_by_name() {
        let record = Record::default()
            .with_header("ce_specversion", "1.0")
            .with_header("ce_source", "/s")
            .with_header("ce_type", "t");
        assert_eq!(
            Event::from_record(record, PLACE).unwrap_err().to_string(),
            "read the event at orders-3@41: attribute id is missing"
        );
    }

    proptest! {
        #[test]
        fn an_event_survives_its_record(
            id in "[a-z0-9/-]{1,40}", source in "/[a-z]{1,20}", kind in "[a-z.]{1,30}",
            subject in proptest::option::of("\\PC{0,40}"),
            millis in 0i64..4_000_000_000_000,
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
            extension in proptest::collection::vec(any::<u8>(), 0..10),
        ) {
            let event = Event {
                id: EventId::new(id), source: SourceId::new(source), kind, subject,
                time: Timestamp::from_millis(millis), key: key.map(Bytes::from),
                content_type: Some("application/json".to_owned()), data: data.map(Bytes::from),
                extensions: vec![Header { key: "tm-x".to_owned(), value: Some(extension.into()) }],
            };
            let back = Event::from_record(event.clone().into_record(), PLACE).unwrap();
            prop_assert_eq!(back, event);
        }
    }
}
