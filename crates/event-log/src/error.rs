//! What can go wrong at the log's seam, grouped by what the caller must do.

use crate::{
    ConsumerId, Epoch, Offset, OwnerId, ProducerIdentity, TopicName, TopicPartition,
    TransactionalId,
};

/// An operation of the log that did not happen. Nothing of a failed [`Settlement`] is visible.
///
/// [`Settlement`]: crate::Settlement
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Reject: the name breaks Kafka's rule for topics.
    #[error("topic name {name:?} is invalid: use 1 to 249 of a-z A-Z 0-9 . _ -, not . or ..")]
    InvalidTopicName {
        /// The offending name, cut to 300 characters.
        name: String,
    },
    /// Reject: there is no such topic.
    #[error("topic {topic} does not exist")]
    UnknownTopic {
        /// The topic asked for.
        topic: TopicName,
    },
    /// Reject: the topic has no such partition.
    #[error("partition {partition} does not exist")]
    UnknownPartition {
        /// The partition asked for.
        partition: TopicPartition,
    },
    /// Reject: a topic of that name exists already.
    #[error("topic {topic} exists already")]
    TopicExists {
        /// The topic asked for.
        topic: TopicName,
    },
    /// Reject: a topic cannot be made like that.
    #[error("topic {topic} cannot be made like that: {reason}")]
    InvalidTopicConfig {
        /// The topic asked for.
        topic: TopicName,
        /// What is wrong with its configuration.
        reason: String,
    },
    /// Reject: the offset is below the first kept record or above the end.
    #[error("offset {offset} of {partition} is out of range {first}..{end}")]
    OffsetOutOfRange {
        /// The partition read.
        partition: TopicPartition,
        /// The offset asked for.
        offset: Offset,
        /// The first offset kept.
        first: Offset,
        /// One past the last offset.
        end: Offset,
    },
    /// Reject: the batch is not a well-formed Kafka v2 record batch, or lies about itself.
    #[error("record batch is invalid: {reason}")]
    InvalidBatch {
        /// What is wrong with it.
        reason: String,
    },
    /// Reject: the settlement or batch is larger than the log takes.
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooLarge {
        /// Bytes offered.
        bytes: usize,
        /// Bytes taken at most.
        limit: usize,
    },
    /// Reject: a settlement spans both journals, or mixes what must not be mixed.
    #[error("settlement is invalid: {reason}")]
    InvalidSettlement {
        /// What is wrong with it.
        reason: String,
    },
    /// Fenced: a newer epoch of the same owner exists. The caller must stop writing.
    #[error("{owner} at epoch {} is fenced by epoch {}", .epoch.get(), .current.get())]
    Fenced {
        /// The owner that wrote.
        owner: OwnerId,
        /// The epoch it wrote under.
        epoch: Epoch,
        /// The newest epoch.
        current: Epoch,
    },
    /// Not held: the settlement moves a checkpoint or a position that another node works on. The
    /// caller must leave that work alone until the node's [share](crate::EventLog::share) has it.
    #[error("{what} is not in this node's share")]
    NotHeld {
        /// The consumer and partition, or the source.
        what: String,
    },
    /// Conflict: the checkpoint is not where the caller believed, or would go backwards. Reload it.
    #[error("checkpoint of {consumer} on {partition} conflicts: {reason}")]
    CheckpointConflict {
        /// The checkpoint's consumer.
        consumer: ConsumerId,
        /// The checkpoint's partition.
        partition: TopicPartition,
        /// What was expected and found.
        reason: String,
    },
    /// Reject: an idempotent producer's sequence does not follow its last one.
    #[error("producer {producer_id} sent sequence {sequence} to {partition}, expected {expected}")]
    OutOfOrderSequence {
        /// The batch's partition.
        partition: TopicPartition,
        /// The producer.
        producer_id: i64,
        /// The first sequence sent.
        sequence: i32,
        /// The sequence that would follow.
        expected: i32,
    },
    /// Reject: a newer epoch of the same idempotent producer has written.
    #[error("producer {producer_id} at epoch {epoch} is fenced on {partition}")]
    ProducerFenced {
        /// The batch's partition.
        partition: TopicPartition,
        /// The producer.
        producer_id: i64,
        /// The epoch it wrote under.
        epoch: i16,
    },
    /// Reject: no transactional id writes as this producer; the caller must enroll again.
    #[error("producer {producer_id} is not that of a known transactional id")]
    UnknownProducer {
        /// The producer.
        producer_id: i64,
    },
    /// Fenced: another life of the same transactional id has begun. The caller must stop writing.
    #[error("{id} at epoch {} of producer {} is fenced", .by.epoch, .by.id)]
    StaleProducer {
        /// The transactional id.
        id: TransactionalId,
        /// Who wrote.
        by: ProducerIdentity,
    },
    /// Reject: the transaction is not in a state that allows it.
    #[error("the transaction of producer {producer_id} cannot go on: {reason}")]
    InvalidTransaction {
        /// The producer.
        producer_id: i64,
        /// What is wrong.
        reason: String,
    },
    /// Retry later: there is no room on the disk. Nothing was written; reads go on.
    #[error("the disk is full")]
    Full {
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// Retry later: the cluster under the log did not answer in time, or could not do it just now. What
    /// waits for it to be written is not answered like that: it is written once the cluster is back.
    #[error("{act}")]
    Unavailable {
        /// The failed act.
        act: String,
        /// The client library's error.
        #[source]
        source: std::io::Error,
    },
    /// Fatal for this range only: stored bytes do not match their checksum.
    #[error("stored data is damaged in {file} at byte {position}: {reason}")]
    Corrupt {
        /// The file, relative to the log's folder.
        file: String,
        /// The first byte of the damaged frame.
        position: u64,
        /// What did not match.
        reason: String,
    },
    /// Fatal: the log cannot read or write its files.
    #[error("{act}")]
    Io {
        /// The failed act and the file.
        act: String,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// Another process has the log's folder open. A server that was killed a moment ago may still be
    /// on its way out: the lock ends with the last process that it forked.
    #[error("another server runs on {folder}")]
    Locked {
        /// The log's folder.
        folder: String,
    },
    /// Reject: this log cannot do that at all.
    #[error("{what}")]
    Unsupported {
        /// What it cannot do, and what can.
        what: &'static str,
    },
    /// Fatal, at start: the cluster under the log cannot keep the contract.
    #[error("the Kafka cluster cannot keep the log: {reason}")]
    Unfit {
        /// What is missing, and what to do.
        reason: String,
    },
    /// Fatal: another process runs under this node's name.
    #[error("another server runs as node {node}")]
    Superseded {
        /// The name of both.
        node: String,
    },
    /// The log has been closed.
    #[error("the log is closed")]
    Closed,
}
