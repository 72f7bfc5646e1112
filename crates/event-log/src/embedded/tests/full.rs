//! A disk without room.

use rustix::io::Errno;

use super::*;
use crate::{ConsumerId, OwnerId};

fn is_full(result: Result<Settled, Error>) {
    match result {
        Err(Error::Full { source }) => {
            assert_eq!(source.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads_until_there_is_room() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    bench.disk.set_size(Some(40 << 10));
    let mut accepted = Vec::new();
    let refusal = loop {
        let value = format!("{}{}", accepted.len(), "x".repeat(2_000));
        match append(&log, &place, value.clone()).await {
            Ok(_) => accepted.push(value),
            Err(error) => break error,
        }
        assert!(accepted.len() < 1_000);
    };
    is_full(Err(refusal));
    let config = TopicConfig::new(1, Lifetime::Events);
    for number in 0.. {
        let topic = TopicName::new(format!("u{number}")).unwrap();
        match log.create_topic(&topic, config).await {
            Ok(_) => assert!(number < 100, "topics take room too"),
            Err(Error::Full { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    is_full(append(&log, &place, "x").await);
    let expected: Vec<&str> = accepted.iter().map(String::as_str).collect();
    assert_eq!(read(&log, &place).await, intact(&expected));

    bench.disk.set_size(None);
    let settled = append(&log, &place, "room again").await.unwrap();
    assert_eq!(settled.appended[0].base().get(), accepted.len() as u64);
    drop(log);
    let log = bench.open();
    let expected = [&expected[..], &["room again"]].concat();
    assert_eq!(read(&log, &place).await, intact(&expected));
}

#[tokio::test]
async fn a_write_that_finds_no_room_half_way_leaves_no_trace() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    append(&log, &place, "before").await.unwrap();
    let owner = OwnerId::new("o");
    let epoch = log.open_epoch(&owner).await.unwrap();

    bench.disk.fail_next_write(Errno::NOSPC);
    is_full(append(&log, &place, "x".repeat(500)).await);
    bench.disk.fail_next_write(Errno::NOSPC);
    assert!(matches!(
        log.open_epoch(&owner).await,
        Err(Error::Full { .. })
    ));
    // What was accepted for the refused group is forgotten, in memory and on disk.
    let crashed = bench.copy();
    assert_eq!(log.open_epoch(&owner).await.unwrap(), epoch.next());
    let settled = append(&log, &place, "after").await.unwrap();
    assert_eq!(settled.appended[0].base(), Offset::new(1));
    drop(log);

    assert_eq!(
        read(&bench.open(), &place).await,
        intact(&["before", "after"])
    );
    let log = crashed.open();
    assert_eq!(read(&log, &place).await, intact(&["before"]));
    assert_eq!(log.consumers(), [] as [ConsumerId; 0]);
}

#[tokio::test]
async fn a_whole_frame_of_a_refused_group_does_not_come_back_after_a_crash() {
    let bench = Bench::new();
    let log = bench.open();
    let place = events(&log, "t").await;
    let held = bench.disk.hold_syncs("events");
    let mut answers = tokio::task::JoinSet::new();
    for number in 0..9 {
        let (log, place) = (SharedLog::clone(&log), place.clone());
        answers.spawn(async move { append(&log, &place, number.to_string()).await });
        if number == 0 {
            bench.disk.held_sync().await;
        }
    }
    tokio::task::yield_now().await;
    // Half of the next group's bytes get across, among them whole frames.
    bench.disk.fail_next_write(Errno::NOSPC);
    drop(held);
    let answers = answers.join_all().await;
    let refused = answers.into_iter().filter(|answer| answer.is_err());
    assert_eq!(refused.map(is_full).count(), 8);
    let crashed = bench.copy();
    drop(log);
    assert_eq!(read(&crashed.open(), &place).await, intact(&["0"]));
}

#[tokio::test]
async fn a_refused_group_leaves_what_the_other_journal_has_in_flight() {
    let bench = Bench::new();
    let log = bench.open();
    let short = events(&log, "short").await;
    let long = partition(&log, "long", Lifetime::LongLived).await;
    let held = bench.disk.hold_syncs("long-lived");
    let in_flight = {
        let (log, long) = (SharedLog::clone(&log), long.clone());
        tokio::spawn(async move { append(&log, &long, "one").await })
    };
    bench.disk.held_sync().await;
    bench.disk.fail_next_write(Errno::NOSPC);
    is_full(append(&log, &short, "refused").await);
    drop(held);
    in_flight.await.unwrap().unwrap();
    append(&log, &long, "two").await.unwrap();
    assert_eq!(read(&log, &long).await, intact(&["one", "two"]));
    append(&log, &short, "accepted").await.unwrap();
    drop(log);
    let log = bench.open();
    assert_eq!(read(&log, &long).await, intact(&["one", "two"]));
    assert_eq!(read(&log, &short).await, intact(&["accepted"]));
}
