//! Records that were read and whose events have not ended, within a byte budget.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use event_log::{Offset, StoredRecord};

use super::Shared;

/// What a record takes in memory beyond its payload.
const OVERHEAD: usize = 256;
/// Bytes of one read at most.
const READ: usize = 1 << 20;

/// The records of one partition.
#[derive(Debug)]
pub(super) struct Shelf {
    shared: Arc<Shared>,
    records: BTreeMap<Offset, StoredRecord>,
    /// Why a record could not be decoded.
    unreadable: BTreeMap<Offset, String>,
    bytes: usize,
}

impl Shelf {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            records: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// How much may be read now. An empty shelf may always take one read, so that partitions that
    /// hold much cannot starve this one.
    pub(super) fn room(&self) -> Option<usize> {
        let settings = &self.shared.parts().settings;
        let left = settings.prefetch_bytes.saturating_sub(self.bytes);
        let total = self.shared.held.load(Ordering::Relaxed);
        let within = left > 0 && total < settings.prefetch_bytes_total;
        (self.bytes == 0 || within).then(|| left.clamp(1, READ))
    }

    pub(super) fn put(&mut self, record: StoredRecord) {
        let size = size(&record);
        self.bytes += size;
        self.shared.held.fetch_add(size, Ordering::Relaxed);
        if let Some(before) = self.records.insert(record.offset, record) {
            self.shrink(&before);
        }
    }

    pub(super) fn put_unreadable(&mut self, offset: Offset, reason: String) {
        self.unreadable.insert(offset, reason);
    }

    /// Copies of those records that are here.
    pub(super) fn get(&self, offsets: impl IntoIterator<Item = Offset>) -> Vec<StoredRecord> {
        offsets
            .into_iter()
            .filter_map(|offset| self.records.get(&offset).cloned())
            .collect()
    }

    pub(super) fn reason(&self, offset: Offset) -> Option<&String> {
        self.unreadable.get(&offset)
    }

    pub(super) fn drop_all(&mut self, offsets: &[Offset]) {
        for offset in offsets {
            self.unreadable.remove(offset);
            if let Some(record) = self.records.remove(offset) {
                self.shrink(&record);
            }
        }
    }

    fn shrink(&mut self, record: &StoredRecord) {
        let size = size(record);
        self.bytes -= size;
        self.shared.held.fetch_sub(size, Ordering::Relaxed);
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.shared.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn size(record: &StoredRecord) -> usize {
    record.record.payload_len() + OVERHEAD
}
