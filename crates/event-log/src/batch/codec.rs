//! Records inside a batch.

use std::io::{Read, Write};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clock::Timestamp;
use event::{Header, Record};
use flate2::write::GzEncoder;

use super::StoredRecord;
use super::header::{self, BatchHeader, Compression, invalid};
use crate::{Error, Offset};

/// The most that a compressed batch may inflate to.
const MAX_INFLATED: u64 = 64 << 20;

/// How far compressed batches may still inflate, all of them together: whoever opens many that come
/// from one place can bound what they cost.
#[derive(Debug)]
pub struct Inflation {
    left: u64,
}

impl Inflation {
    /// At most `bytes` in all.
    #[must_use]
    pub fn of(bytes: u64) -> Self {
        Self { left: bytes }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// What one batch may inflate to.
    fn limit(&self) -> u64 {
        self.left.min(MAX_INFLATED)
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }

    fn exceeded(&self) -> Error {
        if self.left < MAX_INFLATED {
            invalid("the batches inflate too far together")
        } else {
            invalid("the records inflate beyond 64 MiB")
        }
    }
}

/// Headers in one batch at most: decoded, each takes many times its bytes, so that a few compressed
/// kilobytes of empty ones would fill the memory.
const MAX_HEADERS: usize = 100_000;

pub(super) fn encode(header: &BatchHeader, records: &[Record]) -> Bytes {
    let placed = records.iter().enumerate();
    header.write(&records_of(header, placed))
}

/// The batch of `header` with these of its records. `None` when they cannot be packed.
pub(super) fn encode_kept(header: &BatchHeader, kept: &[StoredRecord]) -> Option<Bytes> {
    let latest = kept.iter().map(|stored| stored.record.timestamp).max()?;
    let base = header.base_offset.get();
    let placed = kept.iter().map(|stored| {
        let delta = stored.offset.get() - base;
        (usize::try_from(delta).unwrap_or(usize::MAX), &stored.record)
    });
    let records = records_of(header, placed);
    // What we cannot write in the frame that clients expect is packed in the nearest other way.
    let compression = match header.compression() {
        Compression::Snappy => Compression::Lz4,
        other => other,
    };
    let packed = deflate(compression, &records).ok()?;
    Some(
        header
            .holding(kept.len(), latest, compression)
            .write(&packed),
    )
}

fn deflate(compression: Compression, records: &[u8]) -> std::io::Result<Vec<u8>> {
    match compression {
        Compression::None | Compression::Snappy => Ok(records.to_vec()),
        Compression::Gzip => {
            let mut out = GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(records)?;
            out.finish()
        }
        Compression::Lz4 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(records)?;
            Ok(out.finish()?)
        }
        Compression::Zstd => zstd::stream::encode_all(records, 0),
    }
}

fn records_of<'a>(
    header: &BatchHeader,
    records: impl Iterator<Item = (usize, &'a Record)> + Clone,
) -> BytesMut {
    let sizes = records.clone().map(|(_, record)| record.payload_len() + 24);
    let mut out = BytesMut::with_capacity(sizes.sum());
    let mut body = BytesMut::new();
    for (delta, record) in records {
        body.clear();
        let since = record.timestamp.as_millis() - header.base_timestamp.as_millis();
        body.put_u8(0);
        put_varint(&mut body, since);
        put_varint(&mut body, signed(delta));
        put_bytes(&mut body, record.key.as_deref());
        put_bytes(&mut body, record.value.as_deref());
        put_varint(&mut body, signed(record.headers.len()));
        for header in &record.headers {
            put_bytes(&mut body, Some(header.key.as_bytes()));
            put_bytes(&mut body, header.value.as_deref());
        }
        put_varint(&mut out, signed(body.len()));
        out.extend_from_slice(&body);
    }
    out
}

pub(super) fn decode(
    header: &BatchHeader,
    batch: &Bytes,
    inflation: &mut Inflation,
) -> Result<Vec<StoredRecord>, Error> {
    let packed = batch.slice(header::LEN..);
    let mut body = inflate(header.compression(), packed, inflation)?;
    // The claimed count is a hint only: a record takes at least seven bytes.
    let mut records = Vec::with_capacity(header.record_count().min(body.len() / 7));
    let mut headers_left = MAX_HEADERS;
    for _ in 0..header.record_count() {
        let len = take_len(&mut body)?.ok_or_else(|| invalid("a record without a length"))?;
        let mut record = body.split_to(len);
        records.push(decode_one(header, &mut record, &mut headers_left)?);
    }
    if body.has_remaining() {
        return Err(invalid("bytes are left over after the last record"));
    }
    Ok(records)
}

fn decode_one(
    header: &BatchHeader,
    body: &mut Bytes,
    headers_left: &mut usize,
) -> Result<StoredRecord, Error> {
    if !body.has_remaining() {
        return Err(invalid("a record is empty"));
    }
    body.advance(1);
    let since = take_varint(body)?;
    let delta = u64::try_from(take_varint(body)?)
        .ok()
        .filter(|delta| *delta < header.offsets())
        .ok_or_else(|| invalid("a record's offset lies outside its batch"))?;
    let key = take_bytes(body)?;
    let value = take_bytes(body)?;
    let count = take_varint(body)?;
    let count = usize::try_from(count)
        .ok()
        // A header takes at least two bytes.
        .filter(|count| *count <= body.len() / 2)
        .ok_or_else(|| invalid("more headers claimed than bytes"))?;
    *headers_left = headers_left
        .checked_sub(count)
        .ok_or_else(|| invalid("more than 100,000 headers in one batch"))?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = take_bytes(body)?.ok_or_else(|| invalid("a header without a name"))?;
        let key = String::from_utf8(name.to_vec())
            .map_err(|_| invalid("a header's name is not UTF-8"))?;
        let value = take_bytes(body)?;
        headers.push(Header { key, value });
    }
    if body.has_remaining() {
        return Err(invalid("bytes are left over inside a record"));
    }
    Ok(StoredRecord {
        offset: Offset::new(header.base_offset.get() + delta),
        record: Record {
            key,
            value,
            headers,
            timestamp: Timestamp::from_millis(
                header.base_timestamp.as_millis().saturating_add(since),
            ),
        },
    })
}

fn inflate(
    compression: Compression,
    packed: Bytes,
    inflation: &mut Inflation,
) -> Result<Bytes, Error> {
    match compression {
        Compression::None => Ok(packed),
        Compression::Gzip => bounded(
            flate2::read::MultiGzDecoder::new(packed.reader()),
            inflation,
        ),
        Compression::Lz4 => bounded(
            lz4_flex::frame::FrameDecoder::new(packed.reader()),
            inflation,
        ),
        Compression::Zstd => bounded(
            zstd::stream::read::Decoder::new(packed.reader())
                .map_err(|_| invalid("the zstd stream does not open"))?,
            inflation,
        ),
        Compression::Snappy => snappy(&packed, inflation),
    }
}

fn bounded(stream: impl Read, inflation: &mut Inflation) -> Result<Bytes, Error> {
    let limit = inflation.limit();
    let mut out = Vec::new();
    let read = stream.take(limit + 1).read_to_end(&mut out);
    let exceeded = (out.len() as u64 > limit).then(|| inflation.exceeded());
    // What was damaged in the end has cost as much.
    inflation.spend(out.len());
    read.map_err(|_| invalid("the compressed records are damaged"))?;
    exceeded.map_or(Ok(out.into()), Err)
}

/// Java clients frame snappy as xerial's snappy-java does (16 bytes of header, then length-prefixed
/// blocks); librdkafka sends one raw block.
fn snappy(packed: &[u8], inflation: &mut Inflation) -> Result<Bytes, Error> {
    const XERIAL: &[u8] = b"\x82SNAPPY\0";
    let Some(mut blocks) = packed.strip_prefix(XERIAL).and_then(|rest| rest.get(8..)) else {
        return Ok(snappy_block(packed, 0, inflation)?.into());
    };
    let mut out = Vec::new();
    while !blocks.is_empty() {
        let len = blocks
            .get(..4)
            .map(|len| u32::from_be_bytes(len.try_into().expect("four bytes")) as usize)
            .ok_or_else(|| invalid("a snappy block without a length"))?;
        let block = blocks
            .get(4..4 + len)
            .ok_or_else(|| invalid("a snappy block is cut off"))?;
        out.extend_from_slice(&snappy_block(block, out.len(), inflation)?);
        blocks = &blocks[4 + len..];
    }
    Ok(out.into())
}

/// `before` is what the batch's earlier blocks have inflated to.
fn snappy_block(block: &[u8], before: usize, inflation: &mut Inflation) -> Result<Vec<u8>, Error> {
    let len = snap::raw::decompress_len(block).map_err(|_| invalid("a snappy block is damaged"))?;
    if (before + len) as u64 > MAX_INFLATED || len as u64 > inflation.left {
        return Err(inflation.exceeded());
    }
    inflation.spend(len);
    snap::raw::Decoder::new()
        .decompress_vec(block)
        .map_err(|_| invalid("a snappy block is damaged"))
}

fn signed(len: usize) -> i64 {
    i64::try_from(len).expect("a length in memory fits i64")
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.put_u8((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.put_u8(zigzag as u8);
}

fn put_bytes(out: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, signed(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn take_varint(from: &mut Bytes) -> Result<i64, Error> {
    let mut zigzag = 0u64;
    for shift in (0..64).step_by(7) {
        if !from.has_remaining() {
            return Err(invalid("a number is cut off"));
        }
        let byte = from.get_u8();
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        }
    }
    Err(invalid("a number is longer than ten bytes"))
}

fn take_len(from: &mut Bytes) -> Result<Option<usize>, Error> {
    match take_varint(from)? {
        -1 => Ok(None),
        len => usize::try_from(len)
            .ok()
            .filter(|len| *len <= from.len())
            .map(Some)
            .ok_or_else(|| invalid("a length exceeds the bytes")),
    }
}

fn take_bytes(from: &mut Bytes) -> Result<Option<Bytes>, Error> {
    Ok(take_len(from)?.map(|len| from.split_to(len)))
}
