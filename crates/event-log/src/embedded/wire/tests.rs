use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::{Cleanup, Limit};

fn key() -> impl Strategy<Value = PartitionKey> {
    (any::<u128>(), any::<u32>()).prop_map(|(topic, partition)| PartitionKey {
        topic: Uuid::from_u128(topic),
        partition: Partition::new(partition),
    })
}

fn offset() -> impl Strategy<Value = Offset> {
    any::<u64>().prop_map(Offset::new)
}

fn extent() -> impl Strategy<Value = Extent> {
    let producer =
        (any::<i64>(), any::<i16>(), any::<i32>()).prop_map(|(id, epoch, base_sequence)| {
            Producer {
                id,
                epoch,
                base_sequence,
            }
        });
    (
        key(),
        offset(),
        any::<u32>(),
        any::<u32>(),
        any::<i64>(),
        option::of(producer),
        part(),
    )
        .prop_map(|(key, base, offsets, len, time, producer, part)| Extent {
            key,
            base,
            offsets,
            len,
            max_timestamp: Timestamp::from_millis(time),
            producer,
            part: producer.map_or(Part::None, |_| part),
        })
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        Just(Part::None),
        Just(Part::Inside),
        Just(Part::End(Outcome::Commit)),
        Just(Part::End(Outcome::Abort)),
    ]
}

fn transactional_id() -> impl Strategy<Value = TransactionalId> {
    ".{0,12}".prop_map(TransactionalId::new)
}

fn transaction_change() -> impl Strategy<Value = Change> {
    let identity =
        || (0..i64::MAX, any::<i16>()).prop_map(|(id, epoch)| ProducerIdentity { id, epoch });
    let time = || any::<i64>().prop_map(Timestamp::from_millis);
    let consumer = || ".{0,12}".prop_map(ConsumerId::new);
    let enrolled = (
        transactional_id(),
        identity(),
        option::of(identity()),
        any::<u32>(),
        time(),
    )
        .prop_map(|(id, producer, before, timeout, at)| {
            Change::Enrolled(Enrolled {
                id,
                producer,
                before,
                timeout: Duration::from_millis(timeout.into()),
                at,
            })
        });
    let joined = (
        transactional_id(),
        time(),
        vec(key(), 0..4),
        vec(consumer(), 0..3),
    )
        .prop_map(
            |(id, since, partitions, consumers)| Change::TransactionJoined {
                id,
                since,
                partitions,
                consumers,
            },
        );
    let staged = (
        transactional_id(),
        consumer(),
        key(),
        offset(),
        vec(any::<u8>(), 0..50),
    )
        .prop_map(|(id, consumer, key, next, metadata)| Change::Staged {
            id,
            staged: Staged {
                consumer,
                key,
                next,
                metadata: metadata.into(),
            },
        });
    let ended = (transactional_id(), any::<bool>()).prop_map(|(id, commits)| {
        let outcome = if commits {
            Outcome::Commit
        } else {
            Outcome::Abort
        };
        Change::TransactionEnded { id, outcome }
    });
    let aborted =
        (any::<i64>(), offset(), offset()).prop_map(|(producer_id, first, marker)| Aborted {
            producer_id,
            first,
            marker,
        });
    let decisions = (
        key(),
        vec((any::<i64>(), offset()), 0..4),
        vec(aborted, 0..4),
    )
        .prop_map(|(key, open, aborted)| Change::Decisions { key, open, aborted });
    prop_oneof![
        enrolled,
        joined,
        staged,
        ended,
        transactional_id().prop_map(Change::ProducerForgotten),
        decisions,
    ]
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    (
        offset(),
        vec((offset(), offset()), 0..4),
        vec(any::<u8>(), 0..50),
        any::<u64>(),
    )
        .prop_map(|(next, above, metadata, revision)| Checkpoint {
            next,
            finished_above: above.into_iter().map(|(a, b)| a..b).collect(),
            metadata: metadata.into(),
            revision,
        })
}

fn sequences() -> impl Strategy<Value = Sequences> {
    let sent = (
        any::<i16>(),
        vec((any::<i32>(), any::<i32>(), offset()), 0..5),
    )
        .prop_map(|(epoch, batches)| Sent {
            epoch,
            batches: batches.into(),
        });
    vec((any::<i64>(), sent), 0..4).prop_map(|known| {
        let mut sequences = Sequences::default();
        for (id, sent) in known {
            sequences.insert(id, sent);
        }
        sequences
    })
}

fn settings() -> impl Strategy<Value = TopicSettings> {
    let cleanup = prop_oneof![
        Just(Cleanup::Delete),
        Just(Cleanup::Compact),
        Just(Cleanup::CompactAndDelete),
    ];
    let age = prop_oneof![
        Just(Limit::Unlimited),
        any::<Duration>().prop_map(Limit::AtMost),
    ];
    let bytes = prop_oneof![Just(Limit::Unlimited), any::<u64>().prop_map(Limit::AtMost)];
    let grace = option::of(any::<Duration>());
    let set = (
        cleanup,
        option::of(age),
        option::of(bytes),
        grace,
        option::of(any::<u32>()),
    );
    set.prop_map(
        |(cleanup, retention_age, retention_bytes, tombstone_grace, max_batch_bytes)| {
            TopicSettings {
                cleanup,
                retention_age,
                retention_bytes,
                tombstone_grace,
                max_batch_bytes,
            }
        },
    )
}

fn change() -> impl Strategy<Value = Change> {
    let topic = (
        "[a-z.]{3,20}",
        any::<u128>(),
        any::<u32>(),
        any::<bool>(),
        settings(),
    )
        .prop_map(|(name, id, partitions, long, settings)| Topic {
            name: TopicName::new(name.replace("..", "x")).unwrap(),
            id: Uuid::from_u128(id),
            config: TopicConfig::new(
                partitions,
                if long {
                    Lifetime::LongLived
                } else {
                    Lifetime::Events
                },
            )
            .with(settings),
        });
    prop_oneof![
        topic.prop_map(Change::TopicCreated),
        any::<u128>().prop_map(|id| Change::TopicDeleted(Uuid::from_u128(id))),
        extent().prop_map(Change::Appended),
        (any::<u128>(), settings()).prop_map(|(id, settings)| Change::TopicConfigured {
            id: Uuid::from_u128(id),
            settings,
        }),
        (any::<u128>(), any::<u32>()).prop_map(|(id, partitions)| Change::PartitionsAdded {
            id: Uuid::from_u128(id),
            partitions,
        }),
        (key(), offset(), offset()).prop_map(|(key, base, end)| Change::Cleaned { key, base, end }),
        (key(), offset()).prop_map(|(key, before)| Change::RecordsDeleted { key, before }),
        (".{0,20}", key(), checkpoint()).prop_map(|(consumer, key, checkpoint)| {
            Change::Checkpointed {
                consumer: ConsumerId::new(consumer),
                key,
                checkpoint,
            }
        }),
        ".{0,20}".prop_map(|consumer| Change::ConsumerForgotten(ConsumerId::new(consumer))),
        (".{0,20}", key()).prop_map(|(consumer, key)| Change::CheckpointForgotten {
            consumer: ConsumerId::new(consumer),
            key,
        }),
        (".{0,20}", vec(any::<u8>(), 0..30)).prop_map(|(source, position)| Change::Positioned {
            source: SourceId::new(source),
            position: SourcePosition::new(position),
        }),
        (".{0,20}", any::<u64>()).prop_map(|(owner, epoch)| Change::EpochOpened {
            owner: OwnerId::new(owner),
            epoch: Epoch::new(epoch),
        }),
        any::<i64>().prop_map(|next| Change::ProducerIds { next }),
        transaction_change(),
        (key(), offset(), sequences()).prop_map(|(key, end, sequences)| Change::Partition {
            key,
            end,
            sequences,
        }),
    ]
}

proptest! {
    #[test]
    fn changes_survive_the_disk(changes in vec(change(), 0..10)) {
        let mut bytes = Vec::new();
        for change in &changes {
            put(&mut bytes, change);
        }
        prop_assert_eq!(take_all(&bytes), Some(changes));
    }

    #[test]
    fn garbage_never_panics(garbage in vec(any::<u8>(), 0..200)) {
        let _ = take_all(&garbage);
    }
}

#[test]
fn the_bytes_of_a_change_never_change() {
    let key = PartitionKey {
        topic: Uuid::from_u128(7),
        partition: Partition::new(2),
    };
    let golden = [
        (
            Change::Appended(Extent {
                key,
                base: Offset::new(9),
                offsets: 3,
                len: 100,
                max_timestamp: Timestamp::from_millis(5),
                producer: None,
                part: Part::None,
            }),
            "03000000000000000000000000000000070000000200000000000000090000000300000064\
             0000000000000005",
        ),
        (
            Change::Checkpointed {
                consumer: ConsumerId::new("c"),
                key,
                checkpoint: Checkpoint {
                    next: Offset::new(4),
                    finished_above: vec![Offset::new(6)..Offset::new(7)],
                    metadata: Bytes::from_static(b"m"),
                    revision: 8,
                },
            },
            "050000000163000000000000000000000000000000070000000200000000000000040000000000\
             00000800000001000000000000000600000000000000070000 00016d",
        ),
        (Change::ProducerIds { next: 1 }, "090000000000000001"),
        (
            Change::Appended(Extent {
                key,
                base: Offset::new(9),
                offsets: 1,
                len: 78,
                max_timestamp: Timestamp::from_millis(5),
                producer: Some(Producer {
                    id: 3,
                    epoch: 1,
                    base_sequence: -1,
                }),
                part: Part::End(Outcome::Abort),
            }),
            "2a00000000000000000000000000000007000000020000000000000009000000010000004e\
             000000000000000500000000000000030001ffffffff",
        ),
        (
            Change::Enrolled(Enrolled {
                id: TransactionalId::new("t"),
                producer: ProducerIdentity { id: 3, epoch: 1 },
                before: None,
                timeout: Duration::from_millis(60_000),
                at: Timestamp::from_millis(5),
            }),
            "2b000000017400000000000000030001ffffffffffffffffffff000000000000ea60\
             0000000000000005",
        ),
        (
            Change::TransactionJoined {
                id: TransactionalId::new("t"),
                since: Timestamp::from_millis(5),
                partitions: vec![key],
                consumers: vec![ConsumerId::new("c")],
            },
            "2c000000017400000000000000050000000100000000000000000000000000000007\
             00000002000000010000000163",
        ),
        (
            Change::Staged {
                id: TransactionalId::new("t"),
                staged: Staged {
                    consumer: ConsumerId::new("c"),
                    key,
                    next: Offset::new(4),
                    metadata: Bytes::from_static(b"m"),
                },
            },
            "2d000000017400000001630000000000000000000000000000000700000002\
             0000000000000004000000016d",
        ),
        (
            Change::TransactionEnded {
                id: TransactionalId::new("t"),
                outcome: Outcome::Commit,
            },
            "2e0000000174",
        ),
        (
            Change::Decisions {
                key,
                open: vec![(3, Offset::new(4))],
                aborted: vec![Aborted {
                    producer_id: 5,
                    first: Offset::new(6),
                    marker: Offset::new(7),
                }],
            },
            "310000000000000000000000000000000700000002000000010000000000000003\
             000000000000000400000001000000000000000500000000000000060000000000000007",
        ),
        (
            Change::RecordsDeleted {
                key,
                before: Offset::new(9),
            },
            "1700000000000000000000000000000007000000020000000000000009",
        ),
    ];
    for (change, hex) in golden {
        let mut bytes = Vec::new();
        put(&mut bytes, &change);
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, hex.replace(' ', ""), "{change:?}");
    }
}
