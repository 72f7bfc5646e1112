//! Durability, order, atomicity.

use event::{Header, SourceId, SourcePosition};

use super::*;
use crate::{Append, Appended, OwnerId, PositionUpdate, Settlement, Writer};

/// L1.
pub async fn l1_an_acknowledged_append_survives_and_keeps_its_place(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, long_lived(&log, "b").await);
    let mut offsets = Vec::new();
    for at in 0..5 {
        for place in [&a, &b] {
            let settlement = Settlement::of(place.clone(), batch(&[&format!("{place} {at}")]));
            let settled = log.commit(settlement).await.expect("accepted");
            offsets.push((place.clone(), settled.appended[0]));
            match subject.layout() {
                Layout::Batches => assert_eq!(settled.appended, [Appended::At(Offset::new(at))]),
                Layout::Records => {}
            }
        }
    }
    drop(log);
    let log = subject.open();
    for place in [&a, &b] {
        let expected: Vec<String> = (0..5).map(|at| format!("{place} {at}")).collect();
        assert_eq!(values(&log, place).await, expected);
        let found = stored(&log, place).await;
        let found = found.iter().map(|stored| Appended::At(stored.offset));
        let given = offsets.iter().filter(|(at, _)| at == place);
        assert!(found.eq(given.map(|(_, at)| *at)), "{place}");
    }
    let last = stored(&log, &a).await[4].offset;
    let more = Settlement::of(a.clone(), batch(&["more"]));
    let settled = log.commit(more).await.expect("accepted");
    assert!(settled.appended[0].base() > last);
}

/// L2, with many writers, batches of different sizes and refusals in between.
pub async fn l2_offsets_of_a_partition_are_dense(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..20 {
        let (log, place) = (SharedLog::clone(&log), place.clone());
        writers.spawn(async move {
            for round in 0..5 {
                let text = format!("{writer}.{round}");
                let values = vec![text.as_str(); 1 + (writer + round) % 3];
                let mut settlement = Settlement::of(place.clone(), batch(&values));
                if round == 2 {
                    settlement
                        .checkpoints
                        .push(update("c", &place, 0, after(99)));
                    let refusal = log.commit(settlement).await;
                    refused(refusal, |error| {
                        matches!(error, Error::CheckpointConflict { .. })
                    });
                    continue;
                }
                let settled = log.commit(settlement).await.expect("accepted");
                let base = settled.appended[0].base();
                let read = log.read(&place, base, 1).await.expect("it is visible");
                let read = read.batches;
                assert_eq!(read[0].base_offset(), base);
                let value = read[0].records().expect("ours")[0].record.value.clone();
                assert_eq!(value.expect("a value"), text);
            }
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer.expect("no writer fails");
    }
    drop(log);
    let log = subject.open();
    let records = stored(&log, &place).await;
    let offsets: Vec<u64> = records.iter().map(|stored| stored.offset.get()).collect();
    match subject.layout() {
        Layout::Batches => assert_eq!(offsets, (0..records.len() as u64).collect::<Vec<_>>()),
        Layout::Records => assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}"),
    }
    assert!(records.len() > 80);
}

/// L4: one part that may not happen keeps every other part from happening.
pub async fn l4_a_settlement_is_all_or_nothing(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, events(&log, "b").await);
    let owner = OwnerId::new("o");
    let epoch = log.open_epoch(&owner).await.expect("opened");
    let whole = |expected_revision, value: &str| Settlement {
        appends: vec![
            Append {
                to: a.clone(),
                batch: batch(&[value]),
            },
            Append {
                to: b.clone(),
                batch: batch(&[value, value]),
            },
        ],
        checkpoints: vec![
            update("c", &a, 1, after(0)),
            update("d", &a, 1, after(expected_revision)),
        ],
        positions: vec![PositionUpdate {
            source: SourceId::new("s"),
            position: SourcePosition::new(value.to_owned()),
        }],
        writer: Some(Writer {
            owner: owner.clone(),
            epoch,
        }),
    };
    refused(log.commit(whole(7, "no")).await, |error| {
        matches!(error, Error::CheckpointConflict { .. })
    });
    let mut unknown = whole(0, "no");
    unknown.appends[1].to = name("nowhere").partition(Partition::new(0));
    refused(log.commit(unknown).await, |error| {
        matches!(error, Error::UnknownTopic { .. })
    });
    for place in [&a, &b] {
        assert_eq!(log.bounds(place).expect("exists").end, Offset::ZERO);
    }
    assert_eq!(log.consumers(), []);
    assert_eq!(log.position(&SourceId::new("s")), None);

    log.commit(whole(0, "yes")).await.expect("accepted");
    drop(log);
    let log = subject.open();
    assert_eq!(values(&log, &a).await, ["yes"]);
    assert_eq!(values(&log, &b).await, ["yes", "yes"]);
    for consumer in ["c", "d"] {
        let checkpoint = log.checkpoint(&ConsumerId::new(consumer), &a);
        assert_eq!(checkpoint.expect("written").revision, 1);
    }
    let position = log.position(&SourceId::new("s")).expect("written");
    assert_eq!(position, SourcePosition::new("yes"));
}

/// Only the place of a batch is the log's; the rest is the writer's. A log that cuts batches anew
/// leaves the records as they were.
pub async fn batches_come_back_byte_for_byte(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let batches = [batch(&["a"]), batch(&["b", "c"]), full()];
    for batch in &batches {
        let settlement = Settlement::of(place.clone(), batch.clone());
        log.commit(settlement).await.expect("accepted");
    }
    drop(log);
    let log = subject.open();
    if subject.layout() == Layout::Records {
        let found = stored(&log, &place).await.into_iter().map(|it| it.record);
        let records = batches.iter().map(|batch| batch.records().expect("ours"));
        let records: Vec<Record> = records.flatten().map(|it| it.record).collect();
        assert_eq!(found.collect::<Vec<_>>(), records);
        return;
    }
    let read = log
        .read(&place, Offset::ZERO, 1 << 20)
        .await
        .expect("readable");
    let bases = [0, 1, 3].map(Offset::new);
    let expected: Vec<_> = batches.iter().zip(bases).map(|(b, at)| b.at(at)).collect();
    assert_eq!(read.batches, expected);
}

/// Records with everything that a record can have, and without.
fn full() -> RecordBatch {
    let mut record = Record::new("", Timestamp::from_millis(1_234_567))
        .with_key("k")
        .with_header("h", "1")
        .with_header("h", "");
    record.headers.push(Header {
        key: "none".to_owned(),
        value: None,
    });
    let tombstone = Record {
        value: None,
        ..Record::new("", Timestamp::from_millis(1_234_000)).with_key("")
    };
    RecordBatch::of(&[record, tombstone]).expect("there are records")
}

/// A partition may be named more than once.
pub async fn several_batches_of_a_settlement_keep_their_order(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, events(&log, "b").await);
    let append = |to: &TopicPartition, value: &str| Append {
        to: to.clone(),
        batch: batch(&[value]),
    };
    let settlement = Settlement {
        appends: vec![append(&a, "1"), append(&b, "2"), append(&a, "3")],
        ..Settlement::default()
    };
    let settled = log.commit(settlement).await.expect("accepted");
    let bases: Vec<u64> = settled.appended.iter().map(|at| at.base().get()).collect();
    assert_eq!(bases, [0, 0, 1]);
    drop(log);
    let log = subject.open();
    assert_eq!(values(&log, &a).await, ["1", "3"]);
    assert_eq!(values(&log, &b).await, ["2"]);
}

/// A settlement lies in one journal.
pub async fn a_settlement_across_journals_is_refused(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, long_lived(&log, "b").await);
    let mut settlement = Settlement::of(a.clone(), batch(&["x"]));
    settlement.appends.push(Append {
        to: b.clone(),
        batch: batch(&["x"]),
    });
    refused(log.commit(settlement).await, |error| {
        matches!(error, Error::InvalidSettlement { .. })
    });
    for place in [&a, &b] {
        assert_eq!(log.bounds(place).expect("exists").end, Offset::ZERO);
    }
}

/// Nothing to do is done.
pub async fn an_empty_settlement_changes_nothing(subject: &dyn Subject) {
    let log = subject.open();
    let settled = log.commit(Settlement::default()).await.expect("accepted");
    assert_eq!(settled.appended, []);
}

/// C1, as far as the log has a part in it.
pub async fn source_positions_survive_with_their_batch(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, long_lived(&log, "b").await);
    let at = |source: &str, position: &str| PositionUpdate {
        source: SourceId::new(source),
        position: SourcePosition::new(position.to_owned()),
    };
    for (place, source) in [(&a, "events"), (&b, "long")] {
        for position in ["1", "2"] {
            let mut settlement = Settlement::of(place.clone(), batch(&[position]));
            settlement.positions.push(at(source, position));
            log.commit(settlement).await.expect("accepted");
        }
    }
    let mut moved = Settlement::of(b.clone(), batch(&["x"]));
    moved.positions.push(at("events", "3"));
    refused(log.commit(moved).await, |error| {
        matches!(error, Error::InvalidSettlement { .. })
    });
    drop(log);
    let log = subject.open();
    for source in ["events", "long"] {
        let position = log.position(&SourceId::new(source));
        assert_eq!(position, Some(SourcePosition::new("2")), "{source}");
    }
    assert_eq!(log.position(&SourceId::new("other")), None);
}

/// Every way to name a partition.
pub async fn unknown_places_are_refused_everywhere(subject: &dyn Subject) {
    let log = subject.open();
    let known = events(&log, "t").await;
    let no_topic = name("none").partition(Partition::new(0));
    let no_partition = name("t").partition(Partition::new(1));
    let unknown = |error: &Error| {
        matches!(
            error,
            Error::UnknownTopic { .. } | Error::UnknownPartition { .. }
        )
    };
    for place in [&no_topic, &no_partition] {
        refused(log.bounds(place), unknown);
        refused(log.tail(place), unknown);
        refused(log.read(place, Offset::ZERO, 1).await, unknown);
        refused(log.offset_at(place, Timestamp::default()).await, unknown);
        let append = Settlement::of(place.clone(), batch(&["x"]));
        refused(log.commit(append).await, unknown);
        let checkpoint = Settlement {
            checkpoints: vec![update("c", place, 0, after(0))],
            ..Settlement::default()
        };
        refused(log.commit(checkpoint).await, unknown);
        assert_eq!(log.checkpoint(&ConsumerId::new("c"), place), None);
    }
    refused(log.delete_topic(&name("none")).await, unknown);
    assert_eq!(log.bounds(&known).expect("exists").end, Offset::ZERO);
}
