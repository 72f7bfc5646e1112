//! Requests of every API and version with bytes cut off, changed and made to lie.

use std::fmt::Debug;

use bytes::Bytes;
use event::Record;
use event_log::{Lifetime, RecordBatch, TopicConfig, TopicName};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::client::Served;
use super::super::samples::{self, Subject};
use super::alone::{Growth, alone};
use crate::apis::SERVED;

/// Lengths and counts that nothing bears out, in both ways in which they are written.
const LIES: [&[u8]; 6] = [
    &i32::MAX.to_be_bytes(),
    &(-2i32).to_be_bytes(),
    &i16::MAX.to_be_bytes(),
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
];
/// Places at which each lie is told, and frames with changed bytes, of every request.
const EACH: usize = 6;
const CHANGED: usize = 16;

#[test]
fn damaged_requests_of_every_version_end_in_an_answer_or_a_closed_connection() {
    let test = "tests::hostile::damage::\
                damaged_requests_of_every_version_end_in_an_answer_or_a_closed_connection";
    alone(test, || async {
        let served = Served::new().await;
        let subject = there(&served).await;
        let mut honest = served.client().await;
        let mut random = Random(0x7461_6d6c);
        let growth = Growth::begin();
        for entry in SERVED {
            for version in entry.from..=entry.to {
                let body = samples::request(entry.api, version, &subject);
                let frame = samples::frame(entry.api, version, 5, &body);
                for damaged in damages(&frame, &mut random) {
                    outcome(&served, &damaged, &(entry.api, version)).await;
                }
            }
            // Nobody else is disturbed.
            let body = samples::request(ApiKey::Metadata, 9, &subject);
            honest.call(ApiKey::Metadata, 9, &body).await;
        }
        growth.assert_within(64 << 20, "damage");
        served.stop().await;
    });
}

/// A topic with a record, and what requests say about it.
async fn there(served: &Served) -> Subject {
    let name = TopicName::new("there").unwrap();
    let config = TopicConfig::new(4, Lifetime::Events);
    let topic = served.log.create_topic(&name, config).await.unwrap();
    let record = Record::new("x", clock::Timestamp::from_millis(1_795_000_000_000));
    Subject {
        topic: "there",
        id: topic.id,
        group: "somebody",
        records: RecordBatch::of_one(record).as_bytes().clone(),
    }
}

fn damages(frame: &Bytes, random: &mut Random) -> Vec<Vec<u8>> {
    let mut damaged = Vec::new();
    for len in [0, 7, 8, frame.len() / 2, frame.len() - 1] {
        damaged.push(frame[..len].to_vec());
    }
    for lie in LIES {
        for _ in 0..EACH {
            let mut lying = frame.to_vec();
            // The last lies reach beyond the end.
            let at = random.below(frame.len());
            lying.truncate(at.max(4));
            lying.extend_from_slice(lie);
            lying.extend_from_slice(frame.get(at + lie.len()..).unwrap_or_default());
            damaged.push(lying);
        }
    }
    for _ in 0..CHANGED {
        let mut changed = frame.to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(frame.len());
            changed[at] = random.below(256) as u8;
        }
        damaged.push(changed);
    }
    damaged
}

/// Sends a frame as the last thing ever, and looks at what comes back: one whole frame or none.
async fn outcome(served: &Served, frame: &[u8], what: &impl Debug) {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let len = i32::try_from(frame.len()).unwrap();
    let whole = [&len.to_be_bytes(), frame].concat();
    // A server that has seen enough may have closed already.
    let _: Result<(), _> = stream.write_all(&whole).await;
    let _: Result<(), _> = stream.shutdown().await;
    let mut answer = Vec::new();
    let _: Result<usize, _> = stream.read_to_end(&mut answer).await;
    if let Some((len, rest)) = answer.split_first_chunk() {
        let claimed = usize::try_from(i32::from_be_bytes(*len)).unwrap();
        assert_eq!(claimed, rest.len(), "{what:?} was answered with {answer:?}");
    }
}

/// Numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
