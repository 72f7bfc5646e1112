//! Old segments go, but never with records that somebody still needs.

use std::time::Duration;

use clock::ManualClock;

use super::*;
use crate::{CheckpointUpdate, ConsumerId, Rule};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn keeping(bench: &Bench, age: Option<Duration>, bytes: Option<u64>) -> EmbeddedConfig {
    EmbeddedConfig {
        retention: Retention { age, bytes },
        ..small(bench.folder.path())
    }
}

/// Appends until `count` segments have been begun in all.
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

async fn checkpoint(log: &SharedLog, place: &TopicPartition, next: Offset) {
    checkpoint_of("trigger/1", log, place, next).await;
}

async fn checkpoint_of(consumer: &str, log: &SharedLog, place: &TopicPartition, next: Offset) {
    let update = CheckpointUpdate {
        consumer: ConsumerId::new(consumer),
        partition: place.clone(),
        next,
        finished_above: Vec::new(),
        metadata: bytes::Bytes::new(),
        rule: Rule::Reset,
    };
    let settlement = Settlement {
        checkpoints: vec![update],
        ..Settlement::default()
    };
    log.commit(settlement).await.unwrap();
}

#[tokio::test]
async fn segments_past_their_age_go_when_a_new_one_begins() {
    let bench = Bench::new();
    let manual = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
    let config = keeping(&bench, Some(DAY), None);
    let storage = Arc::new(bench.disk.clone());
    let embedded = EmbeddedLog::open_on(storage, config.clone(), manual.clone()).unwrap();
    let log: SharedLog = embedded.clone();
    let place = events(&log, "t").await;
    fill(&log, &place, &bench, 3).await;
    assert_eq!(bench.segments().len(), 3, "nothing is old yet");
    // Nobody looks any more when time passes.
    embedded.clean_up().await;
    manual.advance(DAY + Duration::from_secs(1));
    fill(&log, &place, &bench, 4).await;
    assert_eq!(
        bench.segments().len(),
        2,
        "the last old one and the new one"
    );
    let bounds = log.bounds(&place).unwrap();
    assert!(bounds.start > Offset::ZERO);
    assert!(matches!(
        log.read(&place, Offset::ZERO, 1).await,
        Err(Error::OffsetOutOfRange { first, .. }) if first == bounds.start
    ));
    let values = read(&log, &place).await;
    assert!(values.iter().all(Result::is_ok));
    drop((embedded, log));
    let log = bench.try_open_with(config.clone(), manual.clone()).unwrap();
    assert_eq!(log.bounds(&place).unwrap(), bounds);
    assert_eq!(read(&log, &place).await, values);
    drop(log);
    let [oldest, _] = bench.segments().try_into().unwrap();
    manual.advance(2 * DAY);
    let log = bench.try_open_with(config, manual).unwrap();
    assert!(
        !bench.segments().contains(&oldest),
        "retention also applies at the start"
    );
    assert_eq!(log.bounds(&place).unwrap().end, bounds.end);
}

#[tokio::test]
async fn the_journal_is_held_below_its_size() {
    let bench = Bench::new();
    let config = keeping(&bench, None, Some(64 << 10));
    let log = bench.try_open_with(config, clock()).unwrap();
    let place = events(&log, "t").await;
    let long = partition(&log, "long", Lifetime::LongLived).await;
    append(&log, &long, "kept").await.unwrap();
    fill(&log, &place, &bench, 12).await;
    assert!(bench.segments().len() <= 4);
    assert_eq!(read(&log, &long).await, intact(&["kept"]));
    for _ in 0..30 {
        append(&log, &long, "x".repeat(3_000)).await.unwrap();
    }
    assert_eq!(read(&log, &long).await.len(), 31, "bills are kept");
}

#[tokio::test]
async fn no_segment_goes_with_records_that_a_consumer_has_not_finished() {
    let bench = Bench::new();
    let config = keeping(&bench, None, Some(1));
    let log = bench.try_open_with(config, clock()).unwrap();
    let (place, other) = (events(&log, "t").await, events(&log, "other").await);
    checkpoint(&log, &place, Offset::ZERO).await;
    append(&log, &place, "unread").await.unwrap();
    fill(&log, &other, &bench, 5).await;
    assert_eq!(bench.segments().len(), 5, "the oldest record is unread");
    assert_eq!(log.bounds(&other).unwrap().start, Offset::ZERO);

    checkpoint(&log, &place, Offset::new(1)).await;
    fill(&log, &other, &bench, 6).await;
    assert_eq!(bench.segments().len(), 1);
    let bounds = log.bounds(&place).unwrap();
    assert_eq!(bounds, Offset::new(1)..Offset::new(1));
    let settled = append(&log, &place, "next").await.unwrap();
    assert_eq!(settled.appended[0].base(), Offset::new(1));
}

#[tokio::test]
async fn the_space_of_a_deleted_topic_returns() {
    let bench = Bench::new();
    let config = keeping(&bench, None, Some(1));
    let log = bench.try_open_with(config, clock()).unwrap();
    let (gone, place) = (events(&log, "gone").await, events(&log, "t").await);
    checkpoint(&log, &gone, Offset::ZERO).await;
    fill(&log, &gone, &bench, 4).await;
    assert_eq!(bench.segments().len(), 4);
    log.delete_topic(&gone.topic).await.unwrap();
    fill(&log, &place, &bench, 5).await;
    assert_eq!(bench.segments().len(), 1);
}

#[tokio::test]
async fn a_kafka_group_that_stopped_reading_holds_nothing_back() {
    let bench = Bench::new();
    let manual = Arc::new(ManualClock::starting_at(Timestamp::from_millis(0)));
    let config = keeping(&bench, Some(DAY), None);
    let log = bench.try_open_with(config, manual.clone()).unwrap();
    let place = events(&log, "t").await;
    fill(&log, &place, &bench, 3).await;
    checkpoint_of("group/gone", &log, &place, Offset::new(1)).await;
    manual.advance(DAY + Duration::from_secs(1));
    fill(&log, &place, &bench, 4).await;
    assert!(log.bounds(&place).unwrap().start > Offset::new(1));
}
