//! Records of a topic as a Kafka event source mapping shows them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use event::Header;
use event_log::{Partition, StoredRecord, TopicName};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};
use serde_json::{Value, json};

/// The event for records of one partition (AWS developer guide, "Using Lambda with self-managed
/// Apache Kafka", 2026).
pub(super) fn encode(
    bootstrap_servers: &str,
    topic: &TopicName,
    partition: Partition,
    records: &[StoredRecord],
) -> Bytes {
    let event = Event {
        bootstrap_servers,
        records: Records {
            topic,
            partition,
            records,
        },
    };
    let json = serde_json::to_vec(&event).expect("records have a JSON form");
    json.into()
}

/// What a filter looks at: the record's place, and key and value as JSON where they are JSON, as
/// text where they are text. What is neither is not there.
pub(super) fn filter_document(
    topic: &TopicName,
    partition: Partition,
    stored: &StoredRecord,
) -> Value {
    let mut document = json!({
        "topic": topic.as_str(),
        "partition": partition.index(),
        "offset": stored.offset.get(),
        "timestamp": stored.record.timestamp.as_millis(),
        "timestampType": TIMESTAMP_TYPE,
    });
    for (name, bytes) in [("key", &stored.record.key), ("value", &stored.record.value)] {
        if let Some(value) = bytes.as_deref().and_then(readable) {
            document[name] = value;
        }
    }
    document
}

const TIMESTAMP_TYPE: &str = "CREATE_TIME";

fn readable(bytes: &[u8]) -> Option<Value> {
    if let Ok(json) = serde_json::from_slice(bytes) {
        return Some(json);
    }
    std::str::from_utf8(bytes).ok().map(|text| json!(text))
}

struct Event<'a> {
    bootstrap_servers: &'a str,
    records: Records<'a>,
}

struct Records<'a> {
    topic: &'a TopicName,
    partition: Partition,
    records: &'a [StoredRecord],
}

struct Batch<'a>(&'a Records<'a>);

struct Shown<'a> {
    batch: &'a Records<'a>,
    stored: &'a StoredRecord,
}

struct Headers<'a>(&'a [Header]);

struct Signed<'a>(&'a [u8]);

impl Serialize for Event<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(3))?;
        map.serialize_entry("eventSource", "SelfManagedKafka")?;
        map.serialize_entry("bootstrapServers", self.bootstrap_servers)?;
        map.serialize_entry("records", &self.records)?;
        map.end()
    }
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry(&format!("{}-{}", self.topic, self.partition), &Batch(self))?;
        map.end()
    }
}

impl Serialize for Batch<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.records.iter().map(|stored| Shown {
            batch: self.0,
            stored,
        }))
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let record = &self.stored.record;
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("topic", self.batch.topic.as_str())?;
        map.serialize_entry("partition", &self.batch.partition.index())?;
        map.serialize_entry("offset", &self.stored.offset.get())?;
        map.serialize_entry("timestamp", &record.timestamp.as_millis())?;
        map.serialize_entry("timestampType", TIMESTAMP_TYPE)?;
        for (name, bytes) in [("key", &record.key), ("value", &record.value)] {
            if let Some(bytes) = bytes {
                map.serialize_entry(name, &STANDARD.encode(bytes))?;
            }
        }
        map.serialize_entry("headers", &Headers(&record.headers))?;
        map.end()
    }
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        struct One<'a>(&'a Header);
        impl Serialize for One<'_> {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let value = self.0.value.as_deref().unwrap_or_default();
                to.collect_map([(&self.0.key, Signed(value))])
            }
        }
        to.collect_seq(self.0.iter().map(One))
    }
}

impl Serialize for Signed<'_> {
    /// Java's bytes: AWS writes 200 as -56, and typed handlers expect it so.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut numbers = to.serialize_seq(Some(self.0.len()))?;
        for byte in self.0 {
            numbers.serialize_element(&byte.cast_signed())?;
        }
        numbers.end()
    }
}
