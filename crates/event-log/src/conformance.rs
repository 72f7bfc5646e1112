//! What every [`EventLog`](crate::EventLog) must do, as checks that any of them can run.
//!
//! A crate that implements the contract enables the feature `conformance` and writes
//! `event_log::conformance_tests!(subject())`, which makes one test per check, each on a subject of
//! its own. A check opens its log through the [`Subject`] and opens it again where the contract
//! promises that something survives. A log that is its own broker runs
//! `event_log::broker_conformance_tests!(subject())` too.

mod appends;
mod checkpoints;
mod epochs;
mod forgetting;
mod producers;
mod reads;
mod sharing;
mod topics;
mod transactions;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use clock::Timestamp;
use event::Record;

use crate::{
    BrokerLog, CheckpointUpdate, ConsumerId, Error, EventLog, Lifetime, Offset, Partition,
    RecordBatch, Rule, SharedBrokerLog, SharedLog, StoredRecord, Topic, TopicConfig, TopicName,
    TopicPartition,
};

pub use appends::*;
pub use checkpoints::*;
pub use epochs::*;
pub use forgetting::*;
pub use producers::*;
pub use reads::*;
pub use sharing::*;
pub use topics::*;
pub use transactions::*;

/// One log, empty when first opened.
pub trait Subject: Send + Sync {
    /// Opens the log, after every earlier handle has been dropped: what was durable is there.
    fn open(&self) -> SharedLog;

    /// A second node on the same log, beside the first, whose `log` stays open. `None` where a log
    /// has only one.
    fn open_beside(&self, log: &SharedLog) -> Option<SharedLog> {
        let _ = log;
        None
    }

    /// How the log lays records out.
    fn layout(&self) -> Layout {
        Layout::Batches
    }
}

/// What a log keeps of the shape in which records came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Batches as they were appended, one right behind the other.
    Batches,
    /// Records in their order. Batches are cut anew, and offsets may be missing between settlements.
    Records,
}

/// One log that is its own broker, empty when first opened.
pub trait BrokerSubject: Subject {
    /// Opens the log, as [`Subject::open`] does.
    fn open_broker(&self) -> SharedBrokerLog;
}

/// A log that lives as long as its subject: opening it again finds it as it was.
#[derive(Debug)]
pub struct Lasting<L>(Arc<L>);

impl<L> Lasting<L> {
    /// A subject of `log`, which must be empty.
    pub fn new(log: Arc<L>) -> Self {
        Self(log)
    }
}

impl<L: EventLog> Subject for Lasting<L> {
    fn open(&self) -> SharedLog {
        self.0.clone()
    }
}

impl<L: BrokerLog> BrokerSubject for Lasting<L> {
    fn open_broker(&self) -> SharedBrokerLog {
        self.0.clone()
    }
}

/// Makes one test per check; the argument is evaluated anew for each.
#[macro_export]
macro_rules! conformance_tests {
    ($subject:expr) => {
        $crate::conformance_tests! { @ $subject;
            l1_an_acknowledged_append_survives_and_keeps_its_place
            l2_offsets_of_a_partition_are_dense
            l3_a_stale_epoch_cannot_append
            l4_a_settlement_is_all_or_nothing
            batches_come_back_byte_for_byte
            several_batches_of_a_settlement_keep_their_order
            a_settlement_across_journals_is_refused
            an_empty_settlement_changes_nothing
            source_positions_survive_with_their_batch
            unknown_places_are_refused_everywhere
            a_checkpoint_advances_only_from_the_expected_revision
            a_checkpoint_never_goes_back_unless_reset
            a_checkpoint_survives_with_everything_in_it
            unordered_finished_offsets_are_refused
            a_checkpoint_named_twice_is_refused
            all_checkpoints_of_a_consumer_live_in_one_journal
            a_consumer_whose_topics_are_gone_may_begin_in_the_other_journal
            a_checkpoint_alone_stays_where_the_consumer_lives
            a_forgotten_consumer_stays_forgotten
            a_new_epoch_fences_every_older_one_for_good
            an_epoch_that_was_never_opened_is_refused
            a_read_begins_with_the_batch_that_holds_the_offset
            a_read_keeps_to_its_bytes_but_gives_at_least_one_batch
            reading_outside_the_bounds_is_refused
            the_tail_grows_when_an_append_is_durable
            an_offset_is_found_by_time
            topics_survive_with_their_identity
            a_topic_exists_once
            a_topic_needs_partitions
            a_deleted_topic_takes_records_and_checkpoints_with_it
            creations_of_one_topic_may_race
            a_topic_can_be_given_partitions
            the_settings_of_a_topic_survive
            a_topic_takes_batches_up_to_its_limit
            a_compacted_topic_takes_only_records_with_keys
            records_can_be_deleted_up_to_an_offset
            a_deleted_record_is_not_found_by_time
            a_node_alone_holds_everything
            what_another_node_holds_cannot_be_settled
        }
    };
    (@ $subject:expr; $($check:ident)*) => {
        $(
            #[tokio::test]
            async fn $check() {
                $crate::conformance::$check(&$subject).await;
            }
        )*
    };
}

/// Makes one test per check of a log that is its own broker; beside [`conformance_tests`].
#[macro_export]
macro_rules! broker_conformance_tests {
    ($subject:expr) => {
        $crate::conformance_tests! { @ $subject;
            a_repeated_batch_is_a_duplicate_even_after_a_restart
            a_gap_in_a_producers_sequence_is_refused
            an_old_producer_epoch_is_fenced
            producer_ids_are_never_given_twice
            records_of_a_transaction_are_for_readers_once_it_commits
            an_aborted_transaction_leaves_a_hole_that_readers_pass
            offsets_of_a_transaction_become_checkpoints_if_it_commits
            an_open_transaction_survives_a_restart_but_not_its_time
            a_new_life_of_a_transactional_id_fences_the_older_one
            a_life_that_is_named_begins_one_more_at_most
            a_batch_outside_of_its_transaction_is_refused
            deciding_a_transaction_again_changes_nothing
            a_deleted_topic_is_in_no_transaction
            a_settlement_may_stand_between_the_parts_of_a_transaction
            single_checkpoints_are_forgotten_unless_they_have_been_written_since
            the_bytes_of_a_partition_are_those_of_its_batches
        }
    };
}

fn name(text: &str) -> TopicName {
    TopicName::new(text).expect("a legal name")
}

async fn topic(log: &SharedLog, text: &str, partitions: u32, lifetime: Lifetime) -> Topic {
    let config = TopicConfig::new(partitions, lifetime);
    let created = log.create_topic(&name(text), config).await;
    created.expect("the topic is new")
}

/// The only partition of a new topic of events.
async fn events(log: &SharedLog, text: &str) -> TopicPartition {
    let topic = topic(log, text, 1, Lifetime::Events).await;
    topic.name.partition(Partition::new(0))
}

/// The only partition of a new long-lived topic.
async fn long_lived(log: &SharedLog, text: &str) -> TopicPartition {
    let topic = topic(log, text, 1, Lifetime::LongLived).await;
    topic.name.partition(Partition::new(0))
}

fn batch(values: &[&str]) -> RecordBatch {
    let records: Vec<Record> = values
        .iter()
        .map(|value| Record::new(value.to_string(), Timestamp::from_millis(1_000)))
        .collect();
    RecordBatch::of(&records).expect("there are records")
}

async fn stored(log: &SharedLog, place: &TopicPartition) -> Vec<StoredRecord> {
    let bounds = log.bounds(place).expect("the partition exists");
    let mut next = bounds.start;
    let mut records = Vec::new();
    while next < bounds.end {
        let chunk = log.read(place, next, 1 << 20).await;
        let chunk = chunk.expect("it is readable");
        for batch in &chunk.batches {
            records.extend(batch.records().expect("we wrote it"));
        }
        assert!(chunk.next > next, "a read below the end leads on");
        next = chunk.next;
    }
    records
}

async fn values(log: &SharedLog, place: &TopicPartition) -> Vec<String> {
    let records = stored(log, place).await;
    let text = |value: Option<Bytes>| String::from_utf8(value.expect("a value").into());
    let values = records
        .into_iter()
        .map(|stored| text(stored.record.value).expect("text"));
    values.collect()
}

fn update(consumer: &str, on: &TopicPartition, next: u64, rule: Rule) -> CheckpointUpdate {
    CheckpointUpdate {
        consumer: ConsumerId::new(consumer),
        partition: on.clone(),
        next: Offset::new(next),
        finished_above: Vec::new(),
        metadata: Bytes::new(),
        rule,
    }
}

fn after(expected_revision: u64) -> Rule {
    Rule::Advance { expected_revision }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: fn(&Error) -> bool) {
    let error = result.expect_err("it must be refused");
    assert!(expected(&error), "refused for another reason: {error}");
}
