//! Batches that inflate to more than they are, in every compression there is.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};
use event::Record;
use event_log::{Lifetime, RecordBatch, TopicConfig, TopicName};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{self, ApiKey, ProduceRequest};

use super::super::client::{Client, Served, call};
use super::super::samples::{self, Subject, text};
use super::alone::{Growth, alone};

const GZIP: i16 = 1;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;

/// `CORRUPT_MESSAGE`, `INVALID_RECORD`.
const REFUSALS: [i16; 2] = [2, 87];
/// What opening one batch may take: 64 MiB of it, a million records, and what goes back and forth.
const MOST: usize = 224 << 20;

#[test]
fn bombs_of_every_compression_are_refused_and_cost_bounded_memory() {
    let test = "tests::hostile::bombs::\
                bombs_of_every_compression_are_refused_and_cost_bounded_memory";
    alone(test, || async {
        let (served, mut client) = served().await;
        let zeros = vec![0; 80 << 20];
        let bombs = [
            (GZIP, gzip(&zeros)),
            // Bombs in a row: members, frames and blocks are inflated one after the other.
            (GZIP, gzip(&zeros[..1 << 20]).repeat(80)),
            (LZ4, lz4(&zeros)),
            (LZ4, lz4(&zeros[..1 << 20]).repeat(80)),
            (ZSTD, zstd(&zeros)),
            (ZSTD, zstd(&zeros[..1 << 20]).repeat(80)),
            (SNAPPY, snappy(&zeros)),
            (SNAPPY, xerial(&zeros[..1 << 20], 80)),
            // A bomb in a bomb is one record of rubbish.
            (ZSTD, zstd(&gzip(&zeros))),
            // Lengths that lie about what follows.
            (SNAPPY, vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
            (
                SNAPPY,
                [&b"\x82SNAPPY\0"[..], &[0, 0, 0, 1, 0, 0, 0, 1], &[0xff; 8]].concat(),
            ),
            (GZIP, gzip(&[0xff; 64])),
            (
                ZSTD,
                b"\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec(),
            ),
            (
                LZ4,
                b"\x04\x22\x4d\x18\x68\x70\xff\xff\xff\xff\xff\xff\xff\x7f\x00".to_vec(),
            ),
        ];
        drop(zeros);
        let growth = Growth::begin();
        for (index, (compression, packed)) in bombs.iter().enumerate() {
            let code = produce(&mut client, vec![batch(*compression, 1, packed)]).await[0];
            assert!(REFUSALS.contains(&code), "bomb {index}: {code}");
        }
        growth.assert_within(MOST, "a bomb");
        is_served(&mut client).await;
        served.stop().await;
    });
}

#[test]
fn counts_that_lie_are_refused_before_they_cost_anything() {
    let test = "tests::hostile::bombs::counts_that_lie_are_refused_before_they_cost_anything";
    alone(test, || async {
        let (served, mut client) = served().await;
        let growth = Growth::begin();
        let one = record(&[]);
        let many_headers = record_with(100_001, &[0, 1].repeat(100_001));
        for count in [-1, 0, 2, 999_999, 1_000_001, i32::MAX] {
            for compression in [0, GZIP, SNAPPY, LZ4, ZSTD] {
                let packed = pack(compression, &one);
                let codes = produce(&mut client, vec![batch(compression, count, &packed)]).await;
                assert!(REFUSALS.contains(&codes[0]), "{count} in {compression}");
            }
        }
        for lying in [
            record_with(i64::from(i32::MAX), &[]),
            record_with(-1, &[]),
            many_headers,
        ] {
            let packed = zstd(&lying);
            let codes = produce(&mut client, vec![batch(ZSTD, 1, &packed)]).await;
            assert!(REFUSALS.contains(&codes[0]), "{} bytes", lying.len());
        }
        growth.assert_within(64 << 20, "a lying count");
        is_served(&mut client).await;
        served.stop().await;
    });
}

#[test]
fn a_million_records_in_a_few_bytes_are_taken_at_a_bounded_cost() {
    let test =
        "tests::hostile::bombs::a_million_records_in_a_few_bytes_are_taken_at_a_bounded_cost";
    alone(test, || async {
        let (served, mut client) = served().await;
        let mut records = Vec::new();
        for delta in 0..1_000_000 {
            records.extend_from_slice(&record_at(delta));
        }
        let packed = zstd(&records);
        drop(records);
        let growth = Growth::begin();
        let codes = produce(&mut client, vec![batch(ZSTD, 1_000_000, &packed)]).await;
        assert_eq!(codes, [0]);
        growth.assert_within(MOST, "a million records");
        served.stop().await;
    });
}

/// All in one request: what is opened while others wait is bounded as a whole.
#[test]
fn a_request_full_of_bombs_is_given_up_early() {
    let test = "tests::hostile::bombs::a_request_full_of_bombs_is_given_up_early";
    alone(test, || async {
        let (served, mut client) = served().await;
        let fine = Bytes::from(value(60 << 20));
        let packed = zstd(&fine);
        drop(fine);
        let growth = Growth::begin();
        let bombs = vec![batch(ZSTD, 1, &packed); 1_000];
        let codes = produce(&mut client, bombs).await;
        let taken = codes.iter().filter(|code| **code == 0).count();
        assert_eq!(taken, 4, "256 MiB in all");
        growth.assert_within(MOST, "many bombs");
        is_served(&mut client).await;
        served.stop().await;
    });
}

async fn served() -> (Served, Client) {
    let served = Served::new().await;
    let name = TopicName::new("target").unwrap();
    let config = TopicConfig::new(1, Lifetime::Events);
    served.log.create_topic(&name, config).await.unwrap();
    let client = served.client().await;
    (served, client)
}

async fn is_served(client: &mut Client) {
    let body = samples::request(ApiKey::Metadata, 9, &Subject::default());
    client.call(ApiKey::Metadata, 9, &body).await;
    let codes = produce(client, vec![batch(0, 1, &record(b"fine"))]).await;
    assert_eq!(codes, [0]);
}

/// Writes each batch to the one partition there is; returns what became of them.
async fn produce(client: &mut Client, batches: Vec<Bytes>) -> Vec<i16> {
    let partitions = batches.into_iter().map(|batch| {
        PartitionProduceData::default()
            .with_index(0)
            .with_records(Some(batch))
    });
    let topic = TopicProduceData::default()
        .with_name(messages::TopicName(text("target")))
        .with_partition_data(partitions.collect());
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![topic]);
    let answer = call!(client, Produce, 9, request);
    let partitions = &answer.responses[0].partition_responses;
    partitions.iter().map(|it| it.error_code).collect()
}

/// A batch that claims `count` records, with a checksum that is right.
fn batch(compression: i16, count: i32, packed: &[u8]) -> Bytes {
    let record = Record::new("x", clock::Timestamp::from_millis(1_795_000_000_000));
    let header = RecordBatch::of_one(record);
    let mut batch = BytesMut::from(&header.as_bytes()[..61]);
    batch.extend_from_slice(packed);
    let counted = i32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&counted.to_be_bytes());
    batch[21..23].copy_from_slice(&compression.to_be_bytes());
    batch[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch.freeze()
}

/// One record without key and headers.
fn record(value: &[u8]) -> Vec<u8> {
    framed(&[&[0, 0, 0, 1], &varint(value.len() as i64)[..], value, &[0]].concat())
}

/// The same with a large value of zeros.
fn value(len: usize) -> Vec<u8> {
    record(&vec![0; len])
}

/// An empty record at an offset in its batch.
fn record_at(delta: i64) -> Vec<u8> {
    framed(&[&[0, 0], &varint(delta)[..], &[1, 1, 0]].concat())
}

/// A record that claims so many headers.
fn record_with(headers: i64, body: &[u8]) -> Vec<u8> {
    framed(&[&[0, 0, 0, 1, 1], &varint(headers)[..], body].concat())
}

fn framed(record: &[u8]) -> Vec<u8> {
    [&varint(record.len() as i64)[..], record].concat()
}

fn varint(value: i64) -> Vec<u8> {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while zigzag >= 0x80 {
        out.put_u8((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.put_u8(zigzag as u8);
    out
}

fn pack(compression: i16, bytes: &[u8]) -> Vec<u8> {
    match compression {
        GZIP => gzip(bytes),
        SNAPPY => snappy(bytes),
        LZ4 => lz4(bytes),
        ZSTD => zstd(bytes),
        _ => bytes.to_vec(),
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 0).unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

/// The same block again and again, framed as snappy-java does.
fn xerial(block: &[u8], times: usize) -> Vec<u8> {
    let block = snappy(block);
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for _ in 0..times {
        out.put_u32(u32::try_from(block.len()).unwrap());
        out.extend_from_slice(&block);
    }
    out
}
