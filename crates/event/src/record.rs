//! What the log stores.

use bytes::Bytes;
use clock::Timestamp;

/// One record: the unit of a topic. Kafka's fields under Kafka's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The partitioning and compaction key, if any.
    pub key: Option<Bytes>,
    /// The payload; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// Headers in order; a key may repeat.
    pub headers: Vec<Header>,
    /// When the producer says it happened.
    pub timestamp: Timestamp,
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name, UTF-8 on the wire.
    pub key: String,
    /// The header's value; Kafka allows none.
    pub value: Option<Bytes>,
}

impl Record {
    /// A record with a value and a time, without key or headers.
    #[must_use]
    pub fn new(value: impl Into<Bytes>, timestamp: Timestamp) -> Self {
        Self {
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp,
        }
    }

    /// The same record under `key`.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with one more header at the end.
    #[must_use]
    pub fn with_header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header {
            key: key.into(),
            value: Some(value.into()),
        });
        self
    }

    /// The value of the last header called `key`: the last one wins, as in Kafka's `lastHeader`.
    #[must_use]
    pub fn header(&self, key: &str) -> Option<&Bytes> {
        self.headers
            .iter()
            .rev()
            .find(|header| header.key == key)
            .and_then(|header| header.value.as_ref())
    }

    /// Bytes of key, value and headers: what budgets count. Framing is not included.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|header| header.key.len() + len(&header.value))
            .sum();
        len(&self.key) + len(&self.value) + headers
    }
}
