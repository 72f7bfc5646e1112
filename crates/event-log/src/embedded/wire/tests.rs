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
    )
        .prop_map(|(key, base, offsets, len, time, producer)| Extent {
            key,
            base,
            offsets,
            len,
            max_timestamp: Timestamp::from_millis(time),
            producer,
        })
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
        (key(), offset()).prop_map(|(key, before)| Change::RecordsDeleted { key, before }),
        (".{0,20}", key(), checkpoint()).prop_map(|(consumer, key, checkpoint)| {
            Change::Checkpointed {
                consumer: ConsumerId::new(consumer),
                key,
                checkpoint,
            }
        }),
        ".{0,20}".prop_map(|consumer| Change::ConsumerForgotten(ConsumerId::new(consumer))),
        (".{0,20}", vec(any::<u8>(), 0..30)).prop_map(|(source, position)| Change::Positioned {
            source: SourceId::new(source),
            position: SourcePosition::new(position),
        }),
        (".{0,20}", any::<u64>()).prop_map(|(owner, epoch)| Change::EpochOpened {
            owner: OwnerId::new(owner),
            epoch: Epoch::new(epoch),
        }),
        any::<i64>().prop_map(|next| Change::ProducerIds { next }),
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
