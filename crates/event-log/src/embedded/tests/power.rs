//! Power cuts at every moment of a seeded run: whatever was acknowledged is there, whole and in place.

use super::*;
use crate::{Append, CheckpointUpdate, ConsumerId, Rule};
use disk::Random;

const ROUNDS: u64 = 150;

/// What the driver was told before the power went.
#[derive(Default)]
struct Told {
    /// Settlements acknowledged, by the offset of their record in the first partition.
    settled: Vec<(Offset, Offset, String)>,
    sent: usize,
}

/// Two records and a checkpoint in one settlement.
fn settlement(a: &TopicPartition, b: &TopicPartition, number: usize) -> Settlement {
    let value = format!("{number}:{}", "x".repeat(number * 37 % 900));
    let to = |place: &TopicPartition| Append {
        to: place.clone(),
        batch: batch(value.clone()),
    };
    Settlement {
        appends: vec![to(a), to(b)],
        checkpoints: vec![CheckpointUpdate {
            consumer: ConsumerId::new("c"),
            partition: a.clone(),
            next: Offset::new(number as u64),
            finished_above: Vec::new(),
            metadata: bytes::Bytes::new(),
            rule: Rule::Reset,
        }],
        ..Settlement::default()
    }
}

async fn run(bench: &Bench, random: &mut Random) -> Option<Told> {
    let log = bench.open();
    let (a, b) = (events(&log, "a").await, events(&log, "b").await);
    if bench.disk.is_cut() {
        return None; // Nobody was told that the topics exist.
    }
    let mut told = Told::default();
    for _ in 0..12 {
        let burst = 1 + random.below(4) as usize;
        let mut answers = tokio::task::JoinSet::new();
        for number in told.sent..told.sent + burst {
            let (log, settlement) = (SharedLog::clone(&log), settlement(&a, &b, number));
            answers.spawn(async move {
                let value = settlement.appends[0].batch.records().unwrap().remove(0);
                let value = String::from_utf8(value.record.value.unwrap().into()).unwrap();
                (log.commit(settlement).await.unwrap(), value)
            });
        }
        told.sent += burst;
        let answers = answers.join_all().await;
        // An answer that came before the cut was a promise; this may drop some of them.
        if bench.disk.is_cut() {
            break;
        }
        for (settled, value) in answers {
            let [a, b] = settled.appended[..] else {
                panic!("two appends");
            };
            told.settled.push((a.base(), b.base(), value));
        }
    }
    Some(told)
}

async fn check(bench: &Bench, told: &Told, what: &str) {
    let log = bench.open();
    let (a, b) = (events(&log, "a").await, events(&log, "b").await);
    let (in_a, in_b) = (read(&log, &a).await, read(&log, &b).await);
    for (at_a, at_b, value) in &told.settled {
        for (values, at) in [(&in_a, at_a), (&in_b, at_b)] {
            let found = values.get(at.get() as usize);
            assert_eq!(
                found,
                Some(&Ok(value.clone())),
                "{what}: {at} was acknowledged"
            );
        }
    }
    // Whole or not at all, the unacknowledged too: both partitions got the same settlements.
    assert_eq!(in_a, in_b, "{what}");
    assert!(in_a.len() <= told.sent);
    let checkpoint = log.checkpoint(&ConsumerId::new("c"), &a);
    let revision = checkpoint.map_or(0, |checkpoint| checkpoint.revision);
    assert_eq!(revision, in_a.len() as u64, "{what}");
    append(&log, &a, "after").await.unwrap();
}

#[tokio::test]
async fn l1_l4_an_acknowledged_settlement_survives_a_power_cut_whole() {
    let calm = Bench::new();
    run(&calm, &mut Random(0)).await.unwrap();
    let operations = calm.disk.operations();
    let mut cut_short = 0;
    for seed in 0..ROUNDS {
        let mut random = Random(seed);
        let bench = calm.with(Disk::default());
        let cut = 1 + random.below(operations);
        bench.disk.cut_power_at(cut);
        let Some(told) = run(&bench, &mut random).await else {
            continue;
        };
        cut_short += u64::from(bench.disk.is_cut());
        let left = bench.with(bench.disk.after_power_cut(&mut random));
        let what = format!("seed {seed}, power cut at operation {cut}");
        check(&left, &told, &what).await;
    }
    assert!(cut_short > ROUNDS / 4, "the cuts hit the run");
}

#[tokio::test]
async fn what_readers_see_after_a_crash_survives_a_power_cut_right_after() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    let held = bench.disk.hold_syncs("events");
    let in_flight = {
        let (log, place) = (SharedLog::clone(&log), place.clone());
        tokio::spawn(async move { append(&log, &place, "written, not synced").await })
    };
    bench.disk.held_sync().await;
    let killed = bench.copy();
    drop(held);
    in_flight.await.unwrap().unwrap();
    drop(log);

    let log = killed.open();
    let seen = read(&log, &place).await;
    assert_eq!(seen, intact(&["written, not synced"]));
    let cuts: Vec<Disk> = (0..20)
        .map(|seed| killed.disk.after_power_cut(&mut Random(seed)))
        .collect();
    drop(log);
    for disk in cuts {
        assert_eq!(read(&killed.with(disk).open(), &place).await, seen);
    }
}
