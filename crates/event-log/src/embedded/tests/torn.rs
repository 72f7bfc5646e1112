//! Tails that nobody was told of, and how they are told from damage.

use super::*;
use disk::Random;

/// A log of three records, and where the frame of the last one begins and ends.
async fn three_records() -> (Bench, TopicPartition, usize, usize) {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    append(&log, &place, "one").await.unwrap();
    append(&log, &place, "two").await.unwrap();
    let start = bench.written();
    append(&log, &place, "three").await.unwrap();
    let end = bench.written();
    (bench, place, start, end)
}

#[tokio::test]
async fn garbage_after_the_last_frame_is_cut_off() {
    let (bench, place, _, end) = three_records().await;
    let mut random = Random(7);
    for len in [1, 3, 40, 41, 500, 5_000] {
        let bench = bench.copy();
        bench.disk.tamper(&bench.last_segment(), |content| {
            for byte in &mut content[end..end + len] {
                *byte = random.below(256) as u8;
            }
        });
        let log = bench.open();
        assert_eq!(read(&log, &place).await, intact(&["one", "two", "three"]));
        append(&log, &place, "four").await.unwrap();
        drop(log);
        assert_eq!(
            read(&bench.open(), &place).await,
            intact(&["one", "two", "three", "four"])
        );
    }
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_wherever_it_was_torn() {
    let (bench, place, start, end) = three_records().await;
    bench.forget_mark();
    // The last byte of a record without headers is zero already.
    for cut in start..end - 1 {
        let bench = bench.copy();
        let segment = bench.last_segment();
        bench
            .disk
            .tamper(&segment, |content| content[cut..].fill(0));
        let log = bench.open();
        assert_eq!(read(&log, &place).await, intact(&["one", "two"]), "{cut}");
        append(&log, &place, "four").await.unwrap();
        drop(log);
        let log = bench.open();
        assert_eq!(read(&log, &place).await, intact(&["one", "two", "four"]));
    }
}

#[tokio::test]
async fn a_torn_group_is_cut_off_whole_even_when_later_frames_of_it_survived() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    append(&log, &place, "before").await.unwrap();
    let held = bench.disk.hold_syncs("events");
    let mut answers = tokio::task::JoinSet::new();
    let send = |value: &'static str, answers: &mut tokio::task::JoinSet<_>| {
        let (log, place) = (SharedLog::clone(&log), place.clone());
        answers.spawn(async move { append(&log, &place, value).await.unwrap() });
    };
    send("alone", &mut answers);
    bench.disk.held_sync().await;
    for value in ["a", "b", "c"] {
        send(value, &mut answers);
    }
    tokio::task::yield_now().await;
    drop(held);
    answers.join_all().await;
    drop(log);

    let content = bench.disk.content(&bench.last_segment());
    let a = content.windows(2).rposition(|at| at == b"\x02a").unwrap();
    assert!(content[a..].windows(2).any(|at| at == b"\x02c"));
    bench.forget_mark();
    bench
        .disk
        .tamper(&bench.last_segment(), |content| content[a] ^= 1);
    let log = bench.open();
    assert_eq!(read(&log, &place).await, intact(&["before", "alone"]));
    // A frame of the same length: what survived of the group would follow it seamlessly.
    append(&log, &place, "x").await.unwrap();
    drop(log);
    let left = read(&bench.open(), &place).await;
    assert_eq!(left, intact(&["before", "alone", "x"]));
}

#[tokio::test]
async fn below_the_synced_mark_the_last_frame_is_damaged_and_not_torn() {
    let (bench, place, start, end) = three_records().await;
    for at in start..end {
        let bench = bench.copy();
        bench
            .disk
            .tamper(&bench.last_segment(), |content| content[at] ^= 0x10);
        let log = bench.open();
        let values = read(&log, &place).await;
        assert_eq!(values[..2], intact(&["one", "two"]));
        let (file, position) = values[2].clone().unwrap_err();
        assert!(file.starts_with("events/"), "{file}");
        assert!((start as u64..end as u64).contains(&position));
        let settled = append(&log, &place, "four").await.unwrap();
        let new = settled.appended[0].base();
        assert!(
            new > Offset::new(2),
            "an acknowledged offset is never used again"
        );
        drop(log);
        let log = bench.open();
        let values = read(&log, &place).await;
        assert!(values[2].is_err());
        assert_eq!(values.last(), Some(&Ok("four".to_owned())));
        assert_eq!(values.len() as u64, new.get() + 1);
    }
}
