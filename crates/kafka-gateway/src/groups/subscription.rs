//! What members of the classic protocol say of themselves in the words of consumers
//! (`ConsumerProtocolSubscription`). The bytes are a client's own: nothing in them is believed.

use std::collections::BTreeSet;

use bytes::Buf;

/// The topics that a consumer subscribes to; `None` when the bytes say something else.
pub(super) fn topics(mut metadata: &[u8]) -> Option<BTreeSet<String>> {
    let version = metadata.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = u32::try_from(metadata.try_get_i32().ok()?).ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let len = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let name = metadata.split_off(..len)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use kafka_protocol::messages::ConsumerProtocolSubscription;
    use kafka_protocol::protocol::{Encodable, StrBytes};

    use super::*;

    #[test]
    fn a_subscription_names_its_topics() {
        for version in 0..=3 {
            let topics = ["b", "a"].map(StrBytes::from_static_str);
            let said = ConsumerProtocolSubscription::default().with_topics(topics.to_vec());
            let mut bytes = BytesMut::new();
            bytes.put_i16(version);
            said.encode(&mut bytes, version).unwrap();
            let expected = ["a", "b"].map(str::to_owned).into();
            assert_eq!(super::topics(&bytes), Some(expected));
        }
    }

    #[test]
    fn other_bytes_name_nothing() {
        for bytes in [
            &b""[..],
            b"meta",
            &[0, 0, 0x7f, 0xff, 0xff, 0xff],
            &[0, 0, 0xff, 0xff, 0xff, 0xff],
            &[0, 0, 0, 0, 0, 1, 0, 9, b'a'],
            &[0, 0, 0, 0, 0, 1, 0, 1, 0xff],
        ] {
            assert_eq!(topics(bytes), None, "{bytes:?}");
        }
    }
}
