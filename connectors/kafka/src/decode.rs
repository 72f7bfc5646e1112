//! A message of librdkafka as a record.

use bytes::Bytes;
use clock::Timestamp;
use event::{Header, Record};
use rdkafka::Message;
use rdkafka::message::Headers as _;

/// Copies a message: nothing is added, nothing is left out. A message without a time, as very old
/// clients send it, has the epoch.
pub(crate) fn record(message: &impl Message) -> Record {
    Record {
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| Header {
                    key: header.key.to_owned(),
                    value: header.value.map(Bytes::copy_from_slice),
                })
                .collect()
        }),
        timestamp: message
            .timestamp()
            .to_millis()
            .map(Timestamp::from_millis)
            .unwrap_or_default(),
    }
}
