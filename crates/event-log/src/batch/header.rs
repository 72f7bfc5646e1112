//! The fixed 61 bytes in front of a batch's records.

use bytes::{BufMut, Bytes, BytesMut};
use clock::Timestamp;
use event::Record;

use crate::{Error, Offset, ProducerIdentity};

/// Bytes of a header.
pub(super) const LEN: usize = 61;
/// Bytes that the length field does not count: base offset and the length itself.
const UNCOUNTED: usize = 12;
const MAGIC: u8 = 2;
/// The checksum covers everything from here on.
const CHECKED_FROM: usize = 21;
const COMPRESSION_MASK: i16 = 0x07;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// What a batch says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    len: usize,
    attributes: i16,
    last_offset_delta: i32,
    record_count: i32,
    checksum: u32,
    /// The first record's offset.
    pub base_offset: Offset,
    /// The first record's time.
    pub base_timestamp: Timestamp,
    /// The latest record's time.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, if one wrote it.
    pub producer: Option<Producer>,
}

/// An idempotent producer's mark on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The id handed out by the log.
    pub id: i64,
    /// The producer's epoch.
    pub epoch: i16,
    /// The sequence number of the first record.
    pub base_sequence: i32,
}

/// How a batch's records are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// Gzip (RFC 1952).
    Gzip,
    /// Snappy, raw or in xerial framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl BatchHeader {
    /// The header of an uncompressed batch, its length and checksum still to be filled in.
    pub(super) fn for_records(records: &[Record]) -> Option<Self> {
        let base_timestamp = records.first()?.timestamp;
        let max_timestamp = records.iter().map(|record| record.timestamp).max()?;
        let record_count = i32::try_from(records.len()).ok()?;
        Some(Self {
            len: 0,
            attributes: 0,
            last_offset_delta: record_count - 1,
            record_count,
            checksum: 0,
            base_offset: Offset::ZERO,
            base_timestamp,
            max_timestamp,
            producer: None,
        })
    }

    /// The header of a control batch of one record.
    pub(super) fn for_marker(producer: ProducerIdentity, now: Timestamp) -> Self {
        Self {
            len: 0,
            attributes: TRANSACTIONAL | CONTROL,
            last_offset_delta: 0,
            record_count: 1,
            checksum: 0,
            base_offset: Offset::ZERO,
            base_timestamp: now,
            max_timestamp: now,
            producer: Some(Producer {
                id: producer.id,
                epoch: producer.epoch,
                base_sequence: -1,
            }),
        }
    }

    /// Marks the batch as part of a transaction.
    pub(super) fn join_transaction(&mut self) {
        self.attributes |= TRANSACTIONAL;
    }

    /// Reads the header at the front of `bytes` and checks that the whole batch is there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() < LEN {
            return Err(invalid("shorter than a batch header"));
        }
        let counted = i32_at(bytes, 8);
        let len = usize::try_from(counted)
            .ok()
            .map(|counted| counted + UNCOUNTED);
        let len = len
            .filter(|len| (LEN..=bytes.len()).contains(len))
            .ok_or_else(|| invalid("the length does not fit the bytes"))?;
        if bytes[16] != MAGIC {
            return Err(invalid(
                "magic is not 2: use a client of Kafka 0.11 or later",
            ));
        }
        let base_offset =
            u64::try_from(i64_at(bytes, 0)).map_err(|_| invalid("base offset is negative"))?;
        let producer_id = i64_at(bytes, 43);
        let header = Self {
            len,
            attributes: i16_at(bytes, 21),
            last_offset_delta: i32_at(bytes, 23),
            record_count: i32_at(bytes, 57),
            checksum: u32::from_be_bytes(bytes[17..21].try_into().expect("four bytes")),
            base_offset: Offset::new(base_offset),
            base_timestamp: Timestamp::from_millis(i64_at(bytes, 27)),
            max_timestamp: Timestamp::from_millis(i64_at(bytes, 35)),
            producer: (producer_id >= 0).then(|| Producer {
                id: producer_id,
                epoch: i16_at(bytes, 51),
                base_sequence: i32_at(bytes, 53),
            }),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), Error> {
        if self.record_count < 1 || self.last_offset_delta < self.record_count - 1 {
            return Err(invalid("record count and last offset disagree"));
        }
        if self.attributes & COMPRESSION_MASK > 4 {
            return Err(invalid("unknown compression"));
        }
        if self.compression() == Compression::None {
            let least = usize::try_from(self.record_count)
                .unwrap_or(usize::MAX)
                .saturating_mul(7);
            if self.len - LEN < least {
                return Err(invalid("more records claimed than bytes"));
            }
        }
        Ok(())
    }

    pub(super) fn verify_checksum(&self, bytes: &[u8]) -> Result<(), Error> {
        if crc32c::crc32c(&bytes[CHECKED_FROM..self.len]) == self.checksum {
            Ok(())
        } else {
            Err(invalid("the checksum does not match"))
        }
    }

    /// Writes this header in front of `records` and fills in length and checksum.
    pub(super) fn write(&self, records: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(LEN + records.len());
        out.put_i64(self.base_offset.get().cast_signed());
        let counted = LEN - UNCOUNTED + records.len();
        out.put_i32(i32::try_from(counted).expect("a batch is far below 2 GiB"));
        out.put_i32(0); // Leader epoch: this log has one leader for its life.
        out.put_u8(MAGIC);
        out.put_u32(0);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp.as_millis());
        out.put_i64(self.max_timestamp.as_millis());
        let producer = self.producer.unwrap_or(Producer {
            id: -1,
            epoch: -1,
            base_sequence: -1,
        });
        out.put_i64(producer.id);
        out.put_i16(producer.epoch);
        out.put_i32(producer.base_sequence);
        out.put_i32(self.record_count);
        out.extend_from_slice(records);
        let checksum = crc32c::crc32c(&out[CHECKED_FROM..]);
        out[17..21].copy_from_slice(&checksum.to_be_bytes());
        out.freeze()
    }

    /// Bytes of the whole batch, header included.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes after the header.
    pub(super) fn records_len(&self) -> usize {
        self.len - LEN
    }

    /// How many offsets the batch covers.
    #[must_use]
    pub fn offsets(&self) -> u64 {
        u64::try_from(self.last_offset_delta).unwrap_or(0) + 1
    }

    /// How many records the batch claims to hold.
    #[must_use]
    pub fn record_count(&self) -> usize {
        usize::try_from(self.record_count).unwrap_or(0)
    }

    /// Whether there is a record at every offset. Compaction alone leaves others behind.
    pub(crate) fn is_dense(&self) -> bool {
        self.last_offset_delta == self.record_count - 1
    }

    /// The header of the same batch with other records in it, packed in another way.
    pub(super) fn holding(
        &self,
        records: usize,
        max_timestamp: Timestamp,
        compression: Compression,
    ) -> Self {
        let packing = match compression {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        };
        Self {
            record_count: i32::try_from(records).expect("fewer records than there were"),
            max_timestamp,
            attributes: (self.attributes & !COMPRESSION_MASK) | packing,
            ..self.clone()
        }
    }

    /// How the records are packed.
    #[must_use]
    pub fn compression(&self) -> Compression {
        match self.attributes & COMPRESSION_MASK {
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a transaction marker instead of records.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// Puts a batch at its place: base offset and leader epoch, which the checksum does not cover. The
/// epoch is zero, whatever the client wrote: this log has one leader for its life.
pub(super) fn write_place(bytes: &mut [u8], base: Offset) {
    bytes[..8].copy_from_slice(&base.get().to_be_bytes());
    bytes[12..16].fill(0);
}

pub(super) fn invalid(reason: &str) -> Error {
    Error::InvalidBatch {
        reason: reason.to_owned(),
    }
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
