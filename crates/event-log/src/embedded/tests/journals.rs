//! Where the two journals meet: one is held in its sync while the other goes on.

use super::*;
use crate::{CheckpointUpdate, ConsumerId, OwnerId, Rule, Writer};

fn checkpoint(on: &TopicPartition) -> CheckpointUpdate {
    CheckpointUpdate {
        consumer: ConsumerId::new("c"),
        partition: on.clone(),
        next: Offset::new(1),
        finished_above: Vec::new(),
        metadata: bytes::Bytes::new(),
        rule: Rule::Reset,
    }
}

/// Two partitions, one in each journal.
async fn both(bench: &Bench) -> (SharedLog, TopicPartition, TopicPartition) {
    let log = bench.open();
    let short = events(&log, "short").await;
    let long = partition(&log, "long", Lifetime::LongLived).await;
    append(&log, &long, "the first one creates a segment")
        .await
        .unwrap();
    (log, short, long)
}

#[tokio::test]
async fn l3_an_epoch_is_open_only_when_nothing_judged_by_an_older_one_is_under_way() {
    let bench = Bench::new();
    let (log, _, long) = both(&bench).await;
    let owner = OwnerId::new("o");
    let writer = Writer {
        owner: owner.clone(),
        epoch: log.open_epoch(&owner).await.unwrap(),
    };
    let held = bench.disk.hold_syncs("long-lived");
    let stale = Settlement {
        writer: Some(writer),
        ..Settlement::of(long.clone(), batch("judged by the older epoch"))
    };
    let under_way = {
        let log = SharedLog::clone(&log);
        tokio::spawn(async move { log.commit(stale).await })
    };
    bench.disk.held_sync().await;
    let opening = {
        let (log, long) = (SharedLog::clone(&log), long.clone());
        tokio::spawn(async move {
            log.open_epoch(&owner).await.unwrap();
            log.bounds(&long).unwrap().end
        })
    };
    // The epoch itself is durable long before; a write of the other journal after it proves that.
    append(&log, &events(&log, "more").await, "x")
        .await
        .unwrap();
    tokio::task::yield_now().await;
    assert!(!opening.is_finished());
    drop(held);
    under_way.await.unwrap().unwrap();
    assert_eq!(opening.await.unwrap(), Offset::new(2));
}

#[tokio::test]
async fn a_consumer_cannot_begin_in_both_journals_at_once() {
    let bench = Bench::new();
    let (log, short, long) = both(&bench).await;
    let held = bench.disk.hold_syncs("long-lived");
    let mut bill = Settlement::of(long.clone(), batch("bill"));
    bill.checkpoints.push(checkpoint(&short));
    let under_way = {
        let log = SharedLog::clone(&log);
        tokio::spawn(async move { log.commit(bill).await })
    };
    bench.disk.held_sync().await;
    let alone = Settlement {
        checkpoints: vec![checkpoint(&short)],
        ..Settlement::default()
    };
    let mut with_event = Settlement::of(short.clone(), batch("event"));
    with_event.checkpoints.push(checkpoint(&short));
    for settlement in [alone.clone(), with_event] {
        let refusal = log.commit(settlement).await;
        assert!(
            matches!(refusal, Err(Error::InvalidSettlement { .. })),
            "{refusal:?}"
        );
    }
    drop(held);
    under_way.await.unwrap().unwrap();
    log.commit(alone).await.unwrap();
    drop(log);
    let checkpoints = bench.open().checkpoints(&ConsumerId::new("c"));
    assert_eq!(checkpoints.len(), 1);
    assert_eq!(checkpoints[0].1.revision, 2);
}
