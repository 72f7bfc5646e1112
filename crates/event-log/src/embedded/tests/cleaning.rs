//! What topics keep by their own settings, and how the room of the rest comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use clock::ManualClock;

use super::super::journal::Journal;
use super::*;
use crate::{
    BrokerLog, CheckpointUpdate, Cleanup, ConsumerId, Isolation, Limit, Outcome, Producer, Rule,
    StoredRecord, TopicSettings, TransactionStep, TransactionalId,
};
use disk::Random;

const HOUR: Duration = Duration::from_secs(3600);

fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)))
}

fn embedded(bench: &Bench, clock: &Arc<ManualClock>) -> Arc<EmbeddedLog> {
    let config = small(bench.folder.path());
    let storage = Arc::new(bench.disk.clone());
    EmbeddedLog::open_on(storage, config, Arc::clone(clock) as SharedClock).unwrap()
}

async fn with(
    log: &SharedLog,
    topic: &str,
    lifetime: Lifetime,
    settings: TopicSettings,
) -> TopicPartition {
    let place = partition(log, topic, lifetime).await;
    log.configure_topic(&place.topic, settings).await.unwrap();
    place
}

fn compacted() -> TopicSettings {
    TopicSettings {
        cleanup: Cleanup::Compact,
        ..TopicSettings::DEFAULT
    }
}

fn keyed(key: &str, value: Option<String>) -> Record {
    let mut record = Record::new("", Timestamp::from_millis(1_000));
    record.key = Some(key.to_owned().into());
    record.value = value.map(Into::into);
    record
}

async fn write(log: &SharedLog, to: &TopicPartition, records: &[Record]) {
    let batch = RecordBatch::of(records).unwrap();
    log.commit(Settlement::of(to.clone(), batch)).await.unwrap();
}

/// Fills segments with what another topic needs, until `count` have been begun in all.
async fn fill(log: &SharedLog, place: &TopicPartition, bench: &Bench, count: u64) {
    let newest = |bench: &Bench| {
        let name = bench.last_segment();
        let name = name.file_stem().unwrap().to_string_lossy().into_owned();
        name.parse::<u64>().unwrap()
    };
    while newest(bench) < count {
        append(log, place, "x".repeat(3_000)).await.unwrap();
    }
}

/// Everything that is left of a partition, read as consumers read.
async fn left(log: &SharedLog, place: &TopicPartition) -> Vec<StoredRecord> {
    let bounds = log.bounds(place).unwrap();
    let mut next = bounds.start;
    let mut records = Vec::new();
    while next < bounds.end {
        let chunk = log.read(place, next, 500).await.unwrap();
        assert!(chunk.next > next, "a read leads on from {next}");
        for batch in &chunk.batches {
            records.extend(batch.records().unwrap());
        }
        next = chunk.next;
    }
    assert!(records.is_sorted_by(|a, b| a.offset < b.offset));
    records
}

fn bytes_of(bench: &Bench, journal: &str) -> usize {
    let mut segments = bench.disk.files(".seg");
    segments.retain(|path| path.iter().any(|part| part == journal));
    let sizes = segments.iter().map(|path| bench.disk.content(path).len());
    sizes.sum()
}

/// The same after a restart, with catalogs and without.
async fn survives(
    bench: &Bench,
    clock: &Arc<ManualClock>,
    places: &[(TopicPartition, Vec<StoredRecord>)],
) {
    for _ in 0..2 {
        let log: SharedLog = embedded(bench, clock);
        for (place, expected) in places {
            assert_eq!(&left(&log, place).await, expected, "{place}");
        }
        drop(log);
        bench.forget_catalogs();
    }
}

#[tokio::test]
async fn a_topic_keeps_its_records_as_long_as_it_says_and_the_room_of_others_returns() {
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let short = TopicSettings {
        retention_age: Some(Limit::AtMost(HOUR)),
        ..TopicSettings::DEFAULT
    };
    let brief = with(&log, "brief", Lifetime::Events, short).await;
    let kept = events(&log, "kept").await;
    append(&log, &kept, "first").await.unwrap();
    fill(&log, &brief, &bench, 4).await;
    append(&log, &kept, "second").await.unwrap();
    fill(&log, &brief, &bench, 9).await;
    let before = bytes_of(&bench, "events");
    embedded.clean_up().await;
    assert_eq!(
        log.bounds(&brief).unwrap().start,
        Offset::ZERO,
        "nothing is old"
    );
    clock.advance(HOUR + Duration::from_secs(1));
    embedded.clean_up().await;
    clock.advance(HOUR + Duration::from_secs(1));
    embedded.clean_up().await;
    let bounds = log.bounds(&brief).unwrap();
    assert_eq!(
        bounds.start, bounds.end,
        "the active segment was sealed too, and went"
    );
    let expected = left(&log, &kept).await;
    assert_eq!(expected.len(), 2);
    assert!(bytes_of(&bench, "events") < before / 2);
    assert_eq!(read(&log, &kept).await, intact(&["first", "second"]));
    let settled = append(&log, &brief, "next").await.unwrap();
    assert_eq!(settled.appended[0].base(), bounds.end);
    drop((embedded, log));
    survives(&bench, &clock, &[(kept, expected)]).await;
}

#[tokio::test]
async fn a_topic_keeps_as_many_bytes_as_it_says() {
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let bounded = TopicSettings {
        retention_bytes: Some(Limit::AtMost(30_000)),
        ..TopicSettings::DEFAULT
    };
    let place = with(&log, "bounded", Lifetime::LongLived, bounded).await;
    let other = partition(&log, "other", Lifetime::LongLived).await;
    append(&log, &other, "kept").await.unwrap();
    for _ in 0..40 {
        append(&log, &place, "x".repeat(3_000)).await.unwrap();
    }
    embedded.clean_up().await;
    let left = left(&log, &place).await.len();
    assert!((10..20).contains(&left), "{left} records of 3,000 bytes");
    assert!(bytes_of(&bench, "long-lived") < 80_000);
    assert_eq!(read(&log, &other).await, intact(&["kept"]));
}

#[tokio::test]
async fn the_room_of_a_deleted_topic_returns_though_others_stay() {
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let (gone, kept) = (events(&log, "gone").await, events(&log, "kept").await);
    for segment in 2..10 {
        append(&log, &kept, segment.to_string()).await.unwrap();
        fill(&log, &gone, &bench, segment).await;
    }
    let expected = left(&log, &kept).await;
    log.delete_topic(&gone.topic).await.unwrap();
    embedded.clean_up().await;
    assert!(bench.segments().len() <= 3, "{:?}", bench.segments());
    assert_eq!(left(&log, &kept).await, expected);
    drop((embedded, log));
    survives(&bench, &clock, &[(kept, expected)]).await;
}

#[tokio::test]
async fn the_first_segment_is_rewritten_as_often_as_there_is_room_to_win() {
    for lifetime in [Lifetime::Events, Lifetime::LongLived] {
        let (bench, clock) = (Bench::new(), manual());
        let embedded = embedded(&bench, &clock);
        let log: SharedLog = embedded.clone();
        let kept = partition(&log, "kept", lifetime).await;
        let brief = partition(&log, "brief", lifetime).await;
        append(&log, &kept, "first").await.unwrap();
        for _ in 0..3 {
            for _ in 0..16 {
                append(&log, &brief, "x".repeat(3_000)).await.unwrap();
            }
            let end = log.bounds(&brief).unwrap().end;
            log.delete_records(&brief, end).await.unwrap();
            embedded.clean_up().await;
            let bytes = bytes_of(&bench, Journal::name(lifetime));
            assert!(bytes < 40_000, "{bytes} bytes for one small record");
        }
        let expected = left(&log, &kept).await;
        assert_eq!(expected.len(), 1);
        drop((embedded, log));
        survives(&bench, &clock, &[(kept, expected)]).await;
    }
}

#[tokio::test]
async fn the_latest_record_of_every_key_survives_compaction_in_its_place() {
    for lifetime in [Lifetime::Events, Lifetime::LongLived] {
        let (bench, clock) = (Bench::new(), manual());
        let embedded = embedded(&bench, &clock);
        let log: SharedLog = embedded.clone();
        let place = with(&log, "keyed", lifetime, compacted()).await;
        let other = partition(&log, "other", lifetime).await;
        let mut random = Random(11);
        let mut latest = BTreeMap::new();
        let mut offset = 0;
        for round in 0..150 {
            let records: Vec<Record> = (0..1 + random.below(5))
                .map(|_| {
                    let key = format!("k{}", random.below(20));
                    let value = format!("{round}:{}", "v".repeat(random.below(900) as usize));
                    latest.insert(key.clone(), (offset, value.clone()));
                    offset += 1;
                    keyed(&key, Some(value))
                })
                .collect();
            write(&log, &place, &records).await;
            append(&log, &other, round.to_string()).await.unwrap();
        }
        let journal = if lifetime == Lifetime::Events {
            "events"
        } else {
            "long-lived"
        };
        let others = left(&log, &other).await;
        embedded.clean_up().await;
        let records = left(&log, &place).await;
        let count = records.len() as u64;
        assert!(count * 3 < offset, "{count} of {offset} are left");
        assert!(bytes_of(&bench, journal) < 100_000, "of more than 200,000");
        let mut found = BTreeMap::new();
        for stored in &records {
            let text = |bytes: Option<&bytes::Bytes>| String::from_utf8(bytes.unwrap().to_vec());
            let key = text(stored.record.key.as_ref()).unwrap();
            let value = text(stored.record.value.as_ref()).unwrap();
            found.insert(key, (stored.offset.get(), value));
        }
        assert_eq!(found, latest);
        assert_eq!(left(&log, &other).await, others);
        assert_eq!(
            log.bounds(&place).unwrap(),
            Offset::ZERO..Offset::new(offset)
        );
        // From the middle of a hole a read goes on with what follows.
        for from in 0..offset {
            let chunk = log.read(&place, Offset::new(from), 1).await.unwrap();
            let first = records.iter().find(|stored| stored.offset.get() >= from);
            if let (Some(batch), Some(first)) = (chunk.batches.first(), first) {
                let held = batch.records().unwrap();
                let next = held.iter().find(|stored| stored.offset.get() >= from);
                assert!(next.is_none_or(|next| next.offset == first.offset));
            }
        }
        drop((embedded, log));
        survives(&bench, &clock, &[(place, records), (other, others)]).await;
    }
}

#[tokio::test]
async fn compaction_goes_on_when_half_of_a_topic_is_new() {
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let place = with(&log, "keyed", Lifetime::LongLived, compacted()).await;
    for round in 0..6 {
        for number in 0..60 {
            let value = format!("{round}.{number}:{}", "v".repeat(800));
            write(
                &log,
                &place,
                &[keyed(&format!("k{}", number % 5), Some(value))],
            )
            .await;
        }
        embedded.clean_up().await;
        let bytes = bytes_of(&bench, "long-lived");
        assert!(bytes < 100_000, "{bytes} after round {round}");
    }
    let expected = left(&log, &place).await;
    drop((embedded, log));
    survives(&bench, &clock, &[(place, expected)]).await;
}

#[tokio::test]
async fn a_tombstone_stays_for_its_grace_and_then_goes_for_good() {
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let settings = TopicSettings {
        tombstone_grace: Some(HOUR),
        ..compacted()
    };
    let place = with(&log, "keyed", Lifetime::Events, settings).await;
    let other = events(&log, "other").await;
    write(
        &log,
        &place,
        &[
            keyed("gone", Some("value".to_owned())),
            keyed("kept", Some("value".to_owned())),
        ],
    )
    .await;
    write(&log, &place, &[keyed("gone", None)]).await;
    fill(&log, &other, &bench, 4).await;
    embedded.clean_up().await;
    let offsets =
        |records: &[StoredRecord]| records.iter().map(|it| it.offset.get()).collect::<Vec<_>>();
    assert_eq!(
        offsets(&left(&log, &place).await),
        [1, 2],
        "the tombstone stands for its key"
    );
    clock.advance(HOUR + Duration::from_secs(1));
    // Something new, or there would be nothing to compact.
    for number in 0..3 {
        write(
            &log,
            &place,
            &[keyed("new", Some(format!("{number}{}", "x".repeat(3_000))))],
        )
        .await;
    }
    fill(&log, &other, &bench, 8).await;
    embedded.clean_up().await;
    assert_eq!(offsets(&left(&log, &place).await), [1, 5]);
    let expected = left(&log, &place).await;
    drop((embedded, log));
    survives(&bench, &clock, &[(place, expected)]).await;
}

#[tokio::test]
async fn a_tombstone_outlives_a_value_that_damage_beside_it_keeps_from_going() {
    const BESIDE: &str = "damaged beside it";
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let settings = TopicSettings {
        tombstone_grace: Some(HOUR),
        ..compacted()
    };
    let place = with(&log, "keyed", Lifetime::Events, settings).await;
    let other = events(&log, "other").await;
    append(&log, &other, BESIDE).await.unwrap();
    let value = Some("value".to_owned());
    write(&log, &place, &[keyed("gone", value)]).await;
    fill(&log, &other, &bench, 2).await;
    bench.disk.tamper(&bench.segments()[0], |content| {
        let found = content
            .windows(BESIDE.len())
            .position(|it| it == BESIDE.as_bytes());
        content[found.expect("it was written")] ^= 1;
    });
    write(&log, &place, &[keyed("gone", None)]).await;
    fill(&log, &other, &bench, 4).await;
    clock.advance(HOUR + Duration::from_secs(1));
    for number in 0..3 {
        let value = format!("{number}{}", "x".repeat(3_000));
        write(&log, &place, &[keyed("new", Some(value))]).await;
    }
    fill(&log, &other, &bench, 8).await;
    for _ in 0..3 {
        embedded.clean_up().await;
    }
    let left = left(&log, &place).await;
    let offsets: Vec<_> = left.iter().map(|it| it.offset.get()).collect();
    assert_eq!(
        offsets,
        [0, 1, 4],
        "the value, its tombstone, and the newest"
    );
}

#[tokio::test]
async fn compaction_leaves_what_a_consumer_has_not_finished() {
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let place = with(&log, "keyed", Lifetime::Events, compacted()).await;
    let other = events(&log, "other").await;
    let update = |next| Settlement {
        checkpoints: vec![CheckpointUpdate {
            consumer: ConsumerId::new("trigger/1"),
            partition: place.clone(),
            next: Offset::new(next),
            finished_above: Vec::new(),
            metadata: bytes::Bytes::new(),
            rule: Rule::Reset,
        }],
        ..Settlement::default()
    };
    log.commit(update(0)).await.unwrap();
    for number in 0..5 {
        write(&log, &place, &[keyed("k", Some(number.to_string()))]).await;
    }
    fill(&log, &other, &bench, 4).await;
    embedded.clean_up().await;
    assert_eq!(left(&log, &place).await.len(), 5, "none has been finished");
    log.commit(update(5)).await.unwrap();
    embedded.clean_up().await;
    assert_eq!(left(&log, &place).await.len(), 1);
}

/// Whatever the moment: the latest acknowledged value of a key, or one that was sent after it.
#[tokio::test]
async fn a_power_cut_while_segments_are_rewritten_costs_nothing() {
    let clock = manual();
    let run = async |bench: &Bench| {
        let embedded = embedded(bench, &clock);
        let log: SharedLog = embedded.clone();
        let place = with(&log, "keyed", Lifetime::Events, compacted()).await;
        let other = events(&log, "other").await;
        let mut told = [None; 4];
        for number in 0..100_usize {
            let value = format!("{number:04}{}", "v".repeat(number * 37 % 900));
            let key = format!("k{}", number % 4);
            let batch = RecordBatch::of_one(keyed(&key, Some(value)));
            log.commit(Settlement::of(place.clone(), batch))
                .await
                .unwrap();
            if number % 9 == 0 {
                append(&log, &other, number.to_string()).await.unwrap();
            }
            if !bench.disk.is_cut() {
                told[number % 4] = Some(number);
            }
            if number % 25 == 24 {
                embedded.clean_up().await;
            }
        }
        (place, other, told)
    };
    let whole = Bench::new();
    run(&whole).await;
    let operations = whole.disk.operations();
    assert!(whole.segments().len() < 4, "it does rewrite");
    let mut random = Random(5);
    for round in 0..120 {
        let bench = Bench::new();
        bench.disk.cut_power_at(20 + random.below(operations - 20));
        let (place, other, told) = run(&bench).await;
        let after = bench.with(bench.disk.after_power_cut(&mut random));
        for _ in 0..2 {
            let log: SharedLog = after.open();
            if log.topic(&other.topic).is_none() {
                break;
            }
            let records = left(&log, &place).await;
            for (key, told) in told.iter().enumerate() {
                let Some(told) = told else { continue };
                let key = format!("k{key}");
                let mut values = records
                    .iter()
                    .filter(|it| it.record.key == Some(key.clone().into()));
                let last = values
                    .next_back()
                    .map(|it| it.record.value.clone().unwrap());
                let number = last.map(|value| String::from_utf8(value[..4].to_vec()).unwrap());
                let number: usize = number.unwrap().parse().unwrap();
                assert!(
                    number >= *told,
                    "round {round}: {key} fell from {told} to {number}"
                );
            }
            left(&log, &other).await;
        }
    }
}

#[tokio::test]
async fn aborted_records_go_and_supersede_nothing() {
    let (bench, clock) = (Bench::new(), manual());
    let embedded = embedded(&bench, &clock);
    let log: SharedLog = embedded.clone();
    let place = with(&log, "keyed", Lifetime::Events, compacted()).await;
    let other = events(&log, "other").await;
    let now = Timestamp::from_millis(0);
    let id = TransactionalId::new("t");
    let enroll = TransactionStep::Enroll {
        timeout: HOUR,
        current: None,
        now,
    };
    let by = embedded.transact(&id, enroll).await.unwrap();
    for (sequence, value, outcome) in [
        (0, "committed", Outcome::Commit),
        (1, "aborted", Outcome::Abort),
    ] {
        let join = TransactionStep::Join {
            by,
            partitions: vec![place.clone()],
            consumers: Vec::new(),
            now,
        };
        embedded.transact(&id, join).await.unwrap();
        write(&log, &place, &[keyed("k", Some("old".to_owned()))]).await;
        let batch = RecordBatch::of_one(keyed("k", Some(value.to_owned())));
        let producer = Producer {
            id: by.id,
            epoch: by.epoch,
            base_sequence: sequence,
        };
        let batch = batch.from_producer(producer).in_transaction();
        log.commit(Settlement::of(place.clone(), batch))
            .await
            .unwrap();
        let end = TransactionStep::End { by, outcome, now };
        embedded.transact(&id, end).await.unwrap();
        if outcome == Outcome::Commit {
            fill(&log, &other, &bench, 4).await;
            embedded.clean_up().await;
            let records = left(&log, &place).await;
            assert_eq!(records.len(), 1);
            assert_eq!(records[0].record.value, Some("committed".into()));
        }
    }
    fill(&log, &other, &bench, 8).await;
    embedded.clean_up().await;
    let records = left(&log, &place).await;
    // What the aborted transaction wrote came last.
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].record.value, Some("old".into()));
    let stored = embedded.read_stored(&place, Offset::ZERO, 1 << 20, Isolation::Uncommitted);
    let stored = stored.await.unwrap();
    let aborted = stored.batches.iter().filter(|batch| {
        let header = batch.header();
        header.is_transactional() && !header.is_control()
    });
    assert_eq!(aborted.count(), 0);
    drop((embedded, log));
    survives(&bench, &clock, &[(place, records)]).await;
}
