//! What is written, and what is not.

use super::*;

#[tokio::test]
async fn what_was_produced_is_fetched_unchanged() {
    let (served, mut client) = with_topic("t").await;
    let sent = batch(&["a", "b", "c"]);
    let first = call!(client, Produce, 9, produce("t", 0, sent.as_bytes().clone()));
    assert_eq!(outcome(&first), (0, 0));
    let second = call!(client, Produce, 9, produce("t", 0, sent.as_bytes().clone()));
    assert_eq!(outcome(&second), (0, 3));
    let fetched = call!(client, Fetch, 12, fetch("t", 0, Duration::ZERO));
    assert_eq!(values(&fetched), ["a", "b", "c", "a", "b", "c"]);
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 6);
    served.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (served, mut client) = with_topic("t").await;
    let mut sent = Vec::new();
    for index in 0..100 {
        let body = if index % 10 == 7 {
            RequestKind::Fetch(fetch("t", 0, Duration::ZERO))
        } else {
            let value = index.to_string();
            let batch = batch(&[&value]);
            RequestKind::Produce(produce("t", 0, batch.as_bytes().clone()))
        };
        let (api, version) = match &body {
            RequestKind::Fetch(_) => (ApiKey::Fetch, 12),
            _ => (ApiKey::Produce, 9),
        };
        sent.push((client.send(api, version, &body).await, api, version));
    }
    let mut next = 0;
    for (correlation, api, version) in sent {
        let (answered, body) = client.receive(api, version).await;
        assert_eq!(answered, correlation);
        match body {
            ResponseKind::Produce(response) => {
                assert_eq!(outcome(&response), (0, next));
                next += 1;
            }
            ResponseKind::Fetch(response) => {
                let seen = i64::try_from(values(&response).len()).unwrap();
                assert_eq!(
                    seen, next,
                    "a fetch sees the writes sent before it, no later ones"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn batches_that_lie_are_refused_and_nothing_is_written() {
    let (served, mut client) = with_topic("t").await;
    let good = batch(&["a", "b"]);
    let mut flipped = BytesMut::from(&good.as_bytes()[..]);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let mut twice = BytesMut::from(&good.as_bytes()[..]);
    twice.extend_from_slice(good.as_bytes());
    // The records' own lengths are wrong under a checksum that is right.
    let mut garbled = BytesMut::from(&good.as_bytes()[..]);
    garbled[61] ^= 0x7f;
    checksum(&mut garbled);
    let mut transactional = BytesMut::from(&good.as_bytes()[..]);
    transactional[22] |= 0x10;
    checksum(&mut transactional);
    let invalid = ResponseError::InvalidRecord.code();
    for (records, code) in [
        (flipped, invalid),
        (twice, invalid),
        (garbled, invalid),
        (transactional, invalid),
        (BytesMut::new(), invalid),
    ] {
        let refused = call!(client, Produce, 9, produce("t", 0, records.freeze()));
        assert_eq!(outcome(&refused), (code, -1));
    }
    let fetched = call!(client, Fetch, 12, fetch("t", 0, Duration::ZERO));
    assert!(values(&fetched).is_empty());
    served.stop().await;
}

/// Writes a batch's checksum anew (CRC32C over everything from the attributes on).
fn checksum(batch: &mut [u8]) {
    let mut crc = !0u32;
    for byte in &batch[21..] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    batch[17..21].copy_from_slice(&(!crc).to_be_bytes());
}

#[tokio::test]
async fn a_repeated_batch_of_an_idempotent_producer_is_written_once() {
    let (served, mut client) = with_topic("t").await;
    let given = call!(
        client,
        InitProducerId,
        4,
        InitProducerIdRequest::default().with_transactional_id(None)
    );
    assert_eq!(given.error_code, 0);
    let with_sequence = |sequence: i32| {
        let mut bytes = BytesMut::from(&batch(&["once"]).as_bytes()[..]);
        bytes[43..51].copy_from_slice(&given.producer_id.0.to_be_bytes());
        bytes[51..53].copy_from_slice(&given.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
        checksum(&mut bytes);
        produce("t", 0, bytes.freeze())
    };
    for _ in 0..2 {
        let written = call!(client, Produce, 9, with_sequence(0));
        assert_eq!(outcome(&written), (0, 0));
    }
    let gap = call!(client, Produce, 9, with_sequence(5));
    let code = ResponseError::OutOfOrderSequenceNumber.code();
    assert_eq!(outcome(&gap), (code, -1));
    let fetched = call!(client, Fetch, 12, fetch("t", 0, Duration::ZERO));
    assert_eq!(values(&fetched), ["once"]);
    served.stop().await;
}

#[tokio::test]
async fn unheard_writes_are_written_even_when_the_client_leaves_at_once() {
    let (served, mut client) = with_topic("t").await;
    let mut tail = {
        let place = TopicName::new("t").unwrap().partition(Partition::new(0));
        served.log.tail(&place).unwrap()
    };
    let asked = produce("t", 0, batch(&["unheard"]).as_bytes().clone()).with_acks(0);
    client
        .send(ApiKey::Produce, 9, &RequestKind::Produce(asked))
        .await;
    drop(client);
    let written = tail.wait_for(|end| end.get() == 1);
    written.await.expect("the topic is still there");
    served.stop().await;
}

#[tokio::test]
async fn an_unheard_write_that_is_refused_closes_the_connection() {
    let (served, mut client) = with_topic("t").await;
    let asked = produce("absent", 0, batch(&["x"]).as_bytes().clone()).with_acks(0);
    client
        .send(ApiKey::Produce, 9, &RequestKind::Produce(asked))
        .await;
    assert_eq!(client.receive_frame().await, None);
    served.stop().await;
}
