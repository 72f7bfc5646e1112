//! Kafka v2 record batches: the log's currency, the same bytes on disk, on the wire and here.
//!
//! Layout: `org.apache.kafka.common.record.DefaultRecordBatch` (magic 2). The checksum (CRC32C)
//! covers everything from the attributes on, so that the log can assign base offset and leader
//! epoch without touching it.

mod codec;
mod header;

use bytes::{Bytes, BytesMut};
use clock::Timestamp;
use event::Record;

use crate::{Error, Offset, Outcome, ProducerIdentity};

pub use codec::Inflation;
pub use header::{BatchHeader, Compression, Producer};

/// A record and its place in its partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its offset.
    pub offset: Offset,
    /// The record.
    pub record: Record,
}

/// One well-formed batch: length, checksum and counts have been verified. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    bytes: Bytes,
    header: BatchHeader,
}

impl RecordBatch {
    /// A batch of `records` at base offset 0, uncompressed, from no particular producer. `None` for
    /// no records.
    #[must_use]
    pub fn of(records: &[Record]) -> Option<Self> {
        let header = BatchHeader::for_records(records)?;
        let bytes = codec::encode(&header, records);
        Some(Self::from_own(bytes))
    }

    /// A batch of one record.
    #[must_use]
    pub fn of_one(record: Record) -> Self {
        Self::of(&[record]).expect("one record is not none")
    }

    /// The same batch from an idempotent producer. Copies the bytes once.
    #[must_use]
    pub fn from_producer(&self, producer: Producer) -> Self {
        let mut header = self.header.clone();
        header.producer = Some(producer);
        let header_len = self.bytes.len() - self.header.records_len();
        Self::from_own(header.write(&self.bytes[header_len..]))
    }

    /// The same batch as part of its producer's transaction. Copies the bytes once.
    #[must_use]
    pub fn in_transaction(&self) -> Self {
        let mut header = self.header.clone();
        header.join_transaction();
        let header_len = self.bytes.len() - self.header.records_len();
        Self::from_own(header.write(&self.bytes[header_len..]))
    }

    /// The control batch that ends a transaction
    /// (`org.apache.kafka.common.record.EndTransactionMarker`).
    pub(crate) fn marker(producer: ProducerIdentity, outcome: Outcome, now: Timestamp) -> Self {
        let kind: u8 = match outcome {
            Outcome::Abort => 0,
            Outcome::Commit => 1,
        };
        // Both begin with a version of zero; the value goes on with the coordinator's epoch.
        let mut record = Record::new(vec![0, 0, 0, 0, 0, 0], now);
        record.key = Some(Bytes::copy_from_slice(&[0, 0, 0, kind]));
        let header = BatchHeader::for_marker(producer, now);
        Self::from_own(codec::encode(&header, &[record]))
    }

    fn from_own(bytes: Bytes) -> Self {
        let header = BatchHeader::parse(&bytes).expect("the codec writes what it reads");
        Self { bytes, header }
    }

    /// Takes one batch from the front of `bytes`, which then holds the rest.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`] when length, magic, checksum or counts are wrong. Records inside a
    /// compressed batch are only checked when they are decoded.
    pub fn take(bytes: &mut Bytes) -> Result<Self, Error> {
        let header = BatchHeader::parse(bytes)?;
        header.verify_checksum(bytes)?;
        let bytes = bytes.split_to(header.len());
        Ok(Self { bytes, header })
    }

    /// Wraps one batch that the log itself verified before it stored it.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`] when the header is garbled; the checksum is not computed again.
    pub fn trusted(bytes: Bytes) -> Result<Self, Error> {
        let header = BatchHeader::parse(&bytes)?;
        Ok(Self {
            bytes: bytes.slice(..header.len()),
            header,
        })
    }

    /// The batch as it stands on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The batch's header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The offset of the first record.
    #[must_use]
    pub fn base_offset(&self) -> Offset {
        self.header.base_offset
    }

    /// The offset after the last record.
    #[must_use]
    pub fn end_offset(&self) -> Offset {
        self.header.base_offset.plus(self.header.offsets())
    }

    /// The largest record time in the batch.
    #[must_use]
    pub fn max_timestamp(&self) -> Timestamp {
        self.header.max_timestamp
    }

    /// The same batch at another place. Copies the bytes once.
    #[must_use]
    pub fn at(&self, base: Offset) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        header::write_place(&mut bytes, base);
        let mut header = self.header.clone();
        header.base_offset = base;
        Self {
            bytes: bytes.freeze(),
            header,
        }
    }

    /// Puts the batch in `bytes` at a place of this log: what lies outside its checksum.
    pub(crate) fn write_place(bytes: &mut [u8], base: Offset) {
        header::write_place(bytes, base);
    }

    /// The first record from `from` on that is not older than `time`, and its time. A batch whose
    /// records cannot be decoded answers with its own first offset and largest time.
    pub(crate) fn first_since(&self, time: Timestamp, from: Offset) -> Option<(Offset, Timestamp)> {
        let records = self.records().unwrap_or_default();
        if records.is_empty() {
            return Some((self.base_offset().max(from), self.max_timestamp()));
        }
        records
            .iter()
            .find(|stored| stored.offset >= from && stored.record.timestamp >= time)
            .map(|stored| (stored.offset, stored.record.timestamp))
    }

    /// The same batch with those of its records that `keeps`, in their places; `None` when it keeps
    /// none. A batch that cannot be decoded is kept whole.
    pub(crate) fn retain(&self, keeps: impl Fn(&StoredRecord) -> bool) -> Option<Self> {
        let Ok(records) = self.records() else {
            return Some(self.clone());
        };
        let before = records.len();
        let kept: Vec<StoredRecord> = records.into_iter().filter(|stored| keeps(stored)).collect();
        if kept.is_empty() && before > 0 {
            return None;
        }
        if kept.len() == before {
            return Some(self.clone());
        }
        let bytes = codec::encode_kept(&self.header, &kept);
        Some(bytes.map_or_else(|| self.clone(), Self::from_own))
    }

    /// Decodes the records. Keys, values and headers share the batch's memory where it is not
    /// compressed. A compressed batch is inflated to at most 64 MiB, whatever it claims.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`] when the records do not match the header or inflate too far.
    pub fn records(&self) -> Result<Vec<StoredRecord>, Error> {
        self.records_within(&mut Inflation::of(u64::MAX))
    }

    /// As [`records`](Self::records), where this batch and others may inflate only so far together.
    ///
    /// # Errors
    /// Those of [`records`](Self::records), and when nothing more may inflate.
    pub fn records_within(&self, inflation: &mut Inflation) -> Result<Vec<StoredRecord>, Error> {
        if self.header.is_control() {
            return Ok(Vec::new());
        }
        codec::decode(&self.header, &self.bytes, inflation)
    }
}

#[cfg(test)]
mod tests;
