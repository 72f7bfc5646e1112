//! The event log: every event, bill and checkpoint lives in it.
//!
//! [`EventLog`] is the contract and says what is durable when. Three logs keep it: the embedded one on
//! disk, the one on Apache Kafka that several nodes share (feature `kafka`), and one in memory for
//! tests and simulation. All run the same conformance suite. A reader that meets
//! damage and may go on without what it took asks [`end_of_damage`] where the rest begins.
//!
//! What this crate knows: topics, partitions, offsets, record batches, checkpoints, epochs. What it
//! does not know: functions, triggers, buckets, the Kafka protocol, configuration.

mod batch;
mod broker;
mod checkpoint;
mod contract;
mod damage;
mod embedded;
mod error;
#[cfg(feature = "kafka")]
mod kafka;
mod ledger;
mod memory;
mod names;
mod settings;
mod settlement;
mod share;
mod topic;
mod transaction;

pub mod inspect;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

pub use batch::{BatchHeader, Compression, Inflation, Producer, RecordBatch, StoredRecord};
pub use broker::{BrokerLog, Isolation, SharedBrokerLog, StoredChunk};
pub use checkpoint::{Checkpoint, CheckpointUpdate, Rule};
pub use contract::{Chunk, EventLog, Permit, SharedLog};
pub use damage::end_of_damage;
#[cfg(feature = "crash-points")]
pub use embedded::CrashPoints;
pub use embedded::{EmbeddedConfig, EmbeddedLog, Retention};
pub use error::Error;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaConfig, KafkaLog};
pub use memory::MemoryLog;
pub use names::{ConsumerId, Epoch, Offset, OwnerId, Partition, TopicName, TopicPartition};
pub use settings::{Cleanup, Limit, TopicSettings};
pub use settlement::{Append, Appended, PositionUpdate, Settled, Settlement, Writer};
pub use share::{Shard, Share};
pub use topic::{Lifetime, Topic, TopicConfig};
pub use transaction::{
    Aborted, Outcome, PartitionProducer, ProducerIdentity, StagedOffset, Transaction,
    TransactionStage, TransactionStep, TransactionalId,
};
