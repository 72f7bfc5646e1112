//! Bytes that were durable once and are wrong now.

use super::*;
use crate::embedded::recovery;
use crate::{CheckpointUpdate, ConsumerId, Rule};

/// Where frames begin in the last segment.
fn frames(bench: &Bench) -> Vec<usize> {
    let content = bench.disk.content(&bench.last_segment());
    (0..bench.written())
        .filter(|at| content[*at..].starts_with(b"TMF1"))
        .collect()
}

fn checkpointed(to: &TopicPartition, value: &str, next: u64) -> Settlement {
    let mut settlement = Settlement::of(to.clone(), batch(value));
    settlement.checkpoints.push(CheckpointUpdate {
        consumer: ConsumerId::new("c"),
        partition: to.clone(),
        next: Offset::new(next),
        finished_above: Vec::new(),
        metadata: bytes::Bytes::new(),
        rule: Rule::Reset,
    });
    settlement
}

#[tokio::test]
async fn every_flipped_bit_below_the_mark_is_noticed() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    log.commit(checkpointed(&place, "one", 1)).await.unwrap();
    append(&log, &place, "two").await.unwrap();
    drop(log);
    let end = bench.written();
    let dir = bench.last_segment().parent().unwrap().to_owned();
    for bit in 0..end * 8 {
        let disk = bench.disk.copy();
        disk.tamper(&bench.last_segment(), |content| {
            content[bit / 8] ^= 1 << (bit % 8);
        });
        let recovered =
            recovery::recover(Arc::new(disk), dir.clone(), Lifetime::Events, 4096, clock());
        if let Ok(recovered) = recovered {
            assert!(recovered.replay.quarantined > 0, "bit {bit} of {}", end * 8);
        }
    }
}

#[tokio::test]
async fn damage_in_a_batch_costs_that_batch_alone() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    for (next, value) in ["one", "two", "three"].into_iter().enumerate() {
        let settlement = checkpointed(&place, value, next as u64);
        log.commit(settlement).await.unwrap();
    }
    drop(log);
    let [.., two, three] = frames(&bench)[..] else {
        panic!("three frames at least");
    };
    bench.disk.tamper(&bench.last_segment(), |content| {
        content[three - 2] ^= 1; // The last bytes of a frame are its batch.
    });
    for _ in 0..2 {
        let log = bench.open();
        let values = read(&log, &place).await;
        assert_eq!(values[0], Ok("one".to_owned()));
        let (_, position) = values[1].clone().unwrap_err();
        assert!((two as u64..three as u64).contains(&position));
        assert_eq!(values[2], Ok("three".to_owned()));
        let checkpoint = log.checkpoint(&ConsumerId::new("c"), &place).unwrap();
        assert_eq!((checkpoint.next.get(), checkpoint.revision), (2, 3));
    }
    // A batch before the damage is served although the read runs into it.
    let chunk = bench.open().read(&place, Offset::ZERO, 1 << 20).await;
    assert_eq!(chunk.unwrap().batches.len(), 1);
}

#[tokio::test]
async fn damage_in_the_middle_is_quarantined_and_the_rest_is_served() {
    let bench = Bench::new();
    let log = bench.open();
    let (a, b) = (events(&log, "a").await, events(&log, "b").await);
    for value in ["one", "two", "three"] {
        append(&log, &a, value).await.unwrap();
        append(&log, &b, value).await.unwrap();
    }
    drop(log);
    let [.., a2, b2, a3, _] = frames(&bench)[..] else {
        panic!("six frames at least");
    };
    bench.forget_mark(); // Later frames prove it too.
    // A lost sector: the second record of both goes with header and manifest.
    bench
        .disk
        .tamper(&bench.last_segment(), |content| content[a2..a3].fill(0xff));
    for _ in 0..2 {
        let log = bench.open();
        for place in [&a, &b] {
            let values = read(&log, place).await;
            assert_eq!(values[0], Ok("one".to_owned()));
            let (_, position) = values[1].clone().unwrap_err();
            assert!((a2 as u64..=b2 as u64).contains(&position));
            assert_eq!(values[2], Ok("three".to_owned()));
        }
        append(&log, &a, "more").await.unwrap();
    }
    assert_eq!(read(&bench.open(), &a).await.len(), 5);
}

#[tokio::test]
async fn offsets_that_lost_frames_may_have_used_are_never_used_again() {
    let bench = Bench::new();
    let log = bench.open();
    let (a, b) = (events(&log, "a").await, events(&log, "b").await);
    append(&log, &a, "one").await.unwrap();
    append(&log, &a, "two").await.unwrap();
    append(&log, &b, "other").await.unwrap();
    drop(log);
    let [.., two, other] = frames(&bench)[..] else {
        panic!("three frames at least");
    };
    bench
        .disk
        .tamper(&bench.last_segment(), |content| content[two..other].fill(0));
    let log = bench.open();
    let settled = append(&log, &a, "new").await.unwrap();
    assert!(settled.appended[0].base() > Offset::new(1));
    let values = read(&log, &a).await;
    assert_eq!(values[0], Ok("one".to_owned()));
    assert!(values[1].is_err());
    // Nothing of `b` can have been lost: a later frame told where it ends.
    assert_eq!(read(&log, &b).await, intact(&["other"]));
    drop(log);
    let again = read(&bench.open(), &a).await;
    assert_eq!(again, values);
}

#[tokio::test]
async fn a_later_snapshot_restores_what_damaged_frames_had_changed() {
    let bench = Bench::new();
    let log = bench.open();
    let (place, other) = (events(&log, "t").await, events(&log, "other").await);
    append(&log, &other, "before").await.unwrap();
    log.commit(checkpointed(&place, "one", 1)).await.unwrap();
    let first = bench.last_segment();
    while bench.last_segment() == first {
        append(&log, &other, "x".repeat(1_000)).await.unwrap();
    }
    drop(log);
    let content = bench.disk.content(&first);
    let at = content
        .windows(3)
        .position(|window| window == b"one")
        .unwrap();
    let frame = content[..at]
        .windows(4)
        .rposition(|window| window == b"TMF1")
        .unwrap();
    bench
        .disk
        .tamper(&first, |content| content[frame + 40] ^= 1);
    bench.forget_catalogs(); // Or nobody would ask what stands there.
    let log = bench.open();
    let checkpoint = log.checkpoint(&ConsumerId::new("c"), &place).unwrap();
    assert_eq!(checkpoint.next, Offset::new(1));
    let values = read(&log, &place).await;
    assert_eq!(values.len(), 1);
    assert_eq!(
        values[0].clone().unwrap_err(),
        (
            format!("events/{}", first.file_name().unwrap().to_string_lossy()),
            frame as u64
        )
    );
}

#[tokio::test]
async fn a_missing_segment_costs_its_records_alone() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    while bench.segments().len() < 4 {
        append(&log, &place, "x".repeat(3_000)).await.unwrap();
    }
    let whole = read(&log, &place).await;
    drop(log);
    bench.disk.delete(&bench.segments()[1]);
    let log = bench.open();
    let values = read(&log, &place).await;
    assert_eq!(values.len(), whole.len());
    assert!(values.iter().any(Result::is_err));
    assert!(values[0].is_ok() && values[values.len() - 1].is_ok());
}

#[tokio::test]
async fn a_missing_last_segment_is_noticed_and_its_offsets_are_not_used_again() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    while bench.segments().len() < 3 {
        append(&log, &place, "x".repeat(3_000)).await.unwrap();
    }
    let whole = read(&log, &place).await;
    drop(log);
    bench.disk.delete(&bench.last_segment());
    let log = bench.open();
    let settled = append(&log, &place, "new").await.unwrap();
    assert!(settled.appended[0].base().get() >= whole.len() as u64);
    drop(log);
    let values = read(&bench.open(), &place).await;
    assert!(values[whole.len() - 1].is_err());
    assert_eq!(values.last(), Some(&Ok("new".to_owned())));
}

#[tokio::test]
async fn a_journal_that_lost_every_segment_does_not_open_as_an_empty_one() {
    let bench = Bench::new();
    let log = bench.open();
    events(&log, "t").await;
    drop(log);
    for segment in bench.segments() {
        bench.disk.delete(&segment);
    }
    let opened = bench.try_open_with(small(bench.folder.path()), clock());
    assert!(matches!(opened, Err(Error::Corrupt { file, .. }) if file == "events"));
}

#[tokio::test]
async fn a_segment_without_any_header_costs_its_records_alone() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    while bench.segments().len() < 3 {
        append(&log, &place, "x".repeat(3_000)).await.unwrap();
    }
    let whole = read(&log, &place).await;
    drop(log);
    for damaged in 0..3 {
        let bench = bench.copy();
        bench.disk.tamper(&bench.segments()[damaged], |content| {
            content[..1024].fill(1)
        });
        let log = bench.open();
        let settled = append(&log, &place, "new").await.unwrap();
        assert!(settled.appended[0].base().get() >= whole.len() as u64);
        let values = read(&log, &place).await;
        assert!(values.iter().any(Result::is_err));
        drop(log);
        assert_eq!(read(&bench.open(), &place).await, values);
    }
}

#[tokio::test]
async fn bytes_that_rot_while_the_log_is_open_are_noticed_by_the_reader() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    append(&log, &place, "one").await.unwrap();
    let start = bench.written();
    append(&log, &place, "two").await.unwrap();
    let end = bench.written();
    let sound = read(&log, &place).await;
    assert_eq!(sound, intact(&["one", "two"]));
    let content = bench.disk.content(&bench.last_segment());
    let two = start
        + content[start..end]
            .windows(3)
            .position(|at| at == b"two")
            .unwrap();
    for at in [two, two + 2] {
        bench
            .disk
            .tamper(&bench.last_segment(), |content| content[at] ^= 4);
        let values = read(&log, &place).await;
        assert_eq!(values[0], Ok("one".to_owned()));
        assert!(values[1].is_err());
        bench
            .disk
            .tamper(&bench.last_segment(), |content| content[at] ^= 4);
    }
}
