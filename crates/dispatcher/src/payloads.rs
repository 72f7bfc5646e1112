//! The one place where the dispatcher meets a cloud's JSON.

use bytes::Bytes;
use event_log::{Offset, Partition, StoredRecord};
use function::Trigger;

/// Encodes what handlers see and reads what they answer. Implemented by the API crate.
pub trait Payloads: Send + Sync + std::fmt::Debug + 'static {
    /// The event that a handler of `trigger` receives for `records` of one partition.
    fn encode(&self, trigger: &Trigger, partition: Partition, records: &[StoredRecord]) -> Bytes;

    /// Whether `trigger`'s own source selects the record, before any filter: a bucket's event
    /// names, prefix and suffix. A topic's trigger selects every record.
    fn selects(&self, trigger: &Trigger, record: &StoredRecord) -> bool;

    /// What `trigger`'s filters look at: the record as a JSON document, in the shape that AWS's
    /// filters see for this kind of source. `None` when the record has none (it then matches only a
    /// trigger without filters).
    fn filter_document(
        &self,
        trigger: &Trigger,
        partition: Partition,
        record: &StoredRecord,
    ) -> Option<serde_json::Value>;

    /// Reads a successful answer to a batch.
    fn batch_answer(
        &self,
        trigger: &Trigger,
        partition: Partition,
        records: &[StoredRecord],
        answer: &Bytes,
    ) -> BatchAnswer;
}

/// What a function said of a batch that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchAnswer {
    /// Everything succeeded.
    Done,
    /// These offsets failed (`batchItemFailures`), the rest succeeded.
    Failed(Vec<Offset>),
    /// The answer names items that are not in the batch, or is not what it must be: the whole batch
    /// counts as failed.
    Unreadable,
}
