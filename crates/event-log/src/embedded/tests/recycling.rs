//! Files of dropped segments that are written again: nothing of what they held comes back.

use super::*;
use crate::{CheckpointUpdate, ConsumerId, Rule};
use disk::Random;

fn brief(bench: &Bench) -> EmbeddedConfig {
    EmbeddedConfig {
        retention: Retention {
            age: None,
            bytes: Some(40 << 10),
        },
        ..small(bench.folder.path())
    }
}

fn open(bench: &Bench) -> SharedLog {
    bench.try_open_with(brief(bench), clock()).unwrap()
}

/// A record and a checkpoint that counts it.
fn counted(place: &TopicPartition, number: u64) -> Settlement {
    let mut settlement = Settlement::of(
        place.clone(),
        batch(format!(
            "{number}:{}",
            "x".repeat(number as usize * 61 % 1_500)
        )),
    );
    settlement.checkpoints.push(CheckpointUpdate {
        consumer: ConsumerId::new("group/c"),
        partition: place.clone(),
        next: Offset::new(number),
        finished_above: Vec::new(),
        metadata: bytes::Bytes::new(),
        rule: Rule::Reset,
    });
    settlement
}

async fn check(log: &SharedLog, place: &TopicPartition, acknowledged: u64, what: &str) {
    let bounds = log.bounds(place).unwrap();
    assert!(
        bounds.end.get() >= acknowledged,
        "{what}: {bounds:?} of {acknowledged}"
    );
    let values = read(log, place).await;
    for (offset, value) in (bounds.start.get()..).zip(values) {
        let expected = format!("{offset}:{}", "x".repeat(offset as usize * 61 % 1_500));
        assert_eq!(value, Ok(expected), "{what}");
    }
    if acknowledged > 0 {
        let checkpoint = log.checkpoint(&ConsumerId::new("group/c"), place).unwrap();
        assert!(checkpoint.next.get() + 1 >= acknowledged, "{what}");
    }
}

#[tokio::test]
async fn files_of_dropped_segments_are_written_again() {
    let bench = Bench::new();
    let log = open(&bench);
    let place = events(&log, "t").await;
    let mut number = 0;
    while bench.disk.files(".spare").is_empty() {
        log.commit(counted(&place, number)).await.unwrap();
        number += 1;
    }
    for _ in 0..200 {
        log.commit(counted(&place, number)).await.unwrap();
        number += 1;
    }
    let content = bench.disk.content(&bench.last_segment());
    let old = content
        .windows(4)
        .filter(|window| *window == b"TMF1")
        .count();
    assert!(old > 0);
    assert!(bench.disk.files(".spare").len() <= 2);
    check(&log, &place, number, "open").await;
    drop(log);
    for _ in 0..3 {
        let log = open(&bench);
        check(&log, &place, number, "opened again").await;
        log.commit(counted(&place, number)).await.unwrap();
        number += 1;
    }
    let log = open(&bench);
    check(&log, &place, number, "written on").await;
}

#[tokio::test]
async fn a_power_cut_on_a_recycled_segment_loses_nothing_and_brings_nothing_back() {
    let mut random = Random(23);
    let run = async |bench: &Bench| {
        let log = open(bench);
        let place = events(&log, "t").await;
        let mut acknowledged = 0;
        for number in 0..160 {
            log.commit(counted(&place, number)).await.unwrap();
            if bench.disk.is_cut() {
                break;
            }
            acknowledged = number + 1;
        }
        (place, acknowledged)
    };
    let whole = Bench::new();
    run(&whole).await;
    let operations = whole.disk.operations();
    for round in 0..150 {
        let bench = Bench::new();
        // The second half: the first files have been dropped by then.
        bench
            .disk
            .cut_power_at(operations / 2 + random.below(operations / 2));
        let (place, acknowledged) = run(&bench).await;
        let after = bench.with(bench.disk.after_power_cut(&mut random));
        for _ in 0..2 {
            let log = open(&after);
            check(&log, &place, acknowledged, &format!("round {round}")).await;
            drop(log);
            after.forget_catalogs();
        }
    }
}

#[tokio::test]
async fn a_reader_keeps_the_file_that_it_reads_from_being_written_again() {
    let bench = Bench::new();
    let embedded =
        EmbeddedLog::open_on(Arc::new(bench.disk.clone()), brief(&bench), clock()).unwrap();
    let log: SharedLog = embedded.clone();
    let place = events(&log, "t").await;
    let mut number = 0;
    while bench.segments().len() < 2 {
        log.commit(counted(&place, number)).await.unwrap();
        number += 1;
    }
    let held = embedded.hold_oldest(&place);
    let mut before = vec![0; 2_000];
    held.file.read_at(&mut before, 0).unwrap();
    for _ in 0..200 {
        log.commit(counted(&place, number)).await.unwrap();
        number += 1;
    }
    let mut after = vec![0; 2_000];
    held.file.read_at(&mut after, 0).unwrap();
    assert_eq!(before, after);
}
