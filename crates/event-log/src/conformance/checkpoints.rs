//! Cursors made durable.

use super::*;
use crate::{Checkpoint, Settlement};

fn only(update: CheckpointUpdate) -> Settlement {
    Settlement {
        checkpoints: vec![update],
        ..Settlement::default()
    }
}

fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::CheckpointConflict { .. })
}

fn is_invalid(error: &Error) -> bool {
    matches!(error, Error::InvalidSettlement { .. })
}

/// Compare and swap.
pub async fn a_checkpoint_advances_only_from_the_expected_revision(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let commit = |next, rule| log.commit(only(update("c", &place, next, rule)));
    refused(commit(1, after(1)).await, is_conflict);
    commit(1, after(0)).await.expect("the first has revision 0");
    refused(commit(2, after(0)).await, is_conflict);
    commit(2, after(1))
        .await
        .expect("the next names revision 1");
    // Staying at the same offset is no way back: only what is remembered there may change.
    commit(2, after(2)).await.expect("it may stay");
    let checkpoint = log.checkpoint(&ConsumerId::new("c"), &place);
    let checkpoint = checkpoint.expect("written");
    assert_eq!((checkpoint.next.get(), checkpoint.revision), (2, 3));
}

/// Rule `Reset` is the only way back.
pub async fn a_checkpoint_never_goes_back_unless_reset(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let commit = |next, rule| log.commit(only(update("c", &place, next, rule)));
    commit(10, after(0)).await.expect("accepted");
    refused(commit(9, after(1)).await, is_conflict);
    commit(3, Rule::Reset).await.expect("an order from outside");
    let checkpoint = log.checkpoint(&ConsumerId::new("c"), &place);
    let checkpoint = checkpoint.expect("written");
    assert_eq!((checkpoint.next.get(), checkpoint.revision), (3, 2));
    refused(commit(4, after(1)).await, is_conflict);
    commit(4, after(2)).await.expect("from the reset on");
}

/// In both journals.
pub async fn a_checkpoint_survives_with_everything_in_it(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, long_lived(&log, "b").await);
    let full = |consumer, on| CheckpointUpdate {
        finished_above: [7..9, 9..10, 12..20]
            .map(|range| Offset::new(range.start)..Offset::new(range.end))
            .to_vec(),
        metadata: Bytes::from_static(b"\0notes"),
        ..update(consumer, on, 5, after(0))
    };
    log.commit(only(full("c", &a))).await.expect("accepted");
    let mut settlement = Settlement::of(b.clone(), batch(&["bill"]));
    settlement.checkpoints.push(full("d", &a));
    log.commit(settlement).await.expect("accepted");
    drop(log);
    let log = subject.open();
    let expected = Checkpoint {
        next: Offset::new(5),
        finished_above: full("c", &a).finished_above,
        metadata: Bytes::from_static(b"\0notes"),
        revision: 1,
    };
    for consumer in ["c", "d"].map(ConsumerId::new) {
        let checkpoints = log.checkpoints(&consumer);
        assert_eq!(checkpoints, [(a.clone(), expected.clone())]);
    }
    assert_eq!(log.consumers(), ["c", "d"].map(ConsumerId::new));
}

/// Half-open, ascending, disjoint, none adjacent to `next`.
pub async fn unordered_finished_offsets_are_refused(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    for ranges in [
        &[(5, 6)][..],
        &[(4, 6)],
        &[(8, 8)],
        &[(9, 8)],
        &[(8, 10), (9, 12)],
        &[(9, 10), (7, 8)],
    ] {
        let ranges = ranges.iter();
        let ranges = ranges.map(|(start, end)| Offset::new(*start)..Offset::new(*end));
        let update = CheckpointUpdate {
            finished_above: ranges.collect(),
            ..update("c", &place, 5, after(0))
        };
        refused(log.commit(only(update)).await, is_invalid);
    }
    assert_eq!(log.consumers(), []);
}

/// Which of the two would hold?
pub async fn a_checkpoint_named_twice_is_refused(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let mut twice = only(update("c", &place, 1, after(0)));
    twice.checkpoints.push(update("c", &place, 2, after(0)));
    refused(log.commit(twice).await, is_invalid);
}

/// Else two frames in two journals could not be put in order.
pub async fn all_checkpoints_of_a_consumer_live_in_one_journal(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, long_lived(&log, "b").await);
    let with = |to: &TopicPartition, revision| {
        let mut settlement = Settlement::of(to.clone(), batch(&["x"]));
        settlement
            .checkpoints
            .push(update("c", &a, 1, after(revision)));
        settlement
    };
    log.commit(with(&a, 0)).await.expect("accepted");
    refused(log.commit(with(&b, 1)).await, is_invalid);
    log.forget_consumer(&ConsumerId::new("c"))
        .await
        .expect("forgotten");
    log.commit(with(&b, 0))
        .await
        .expect("it may live elsewhere now");
    drop(log);
    let log = subject.open();
    refused(log.commit(with(&a, 1)).await, is_invalid);
    log.commit(with(&b, 1)).await.expect("accepted");
}

/// With the last topic that it had a checkpoint on, a consumer loses its home too.
pub async fn a_consumer_whose_topics_are_gone_may_begin_in_the_other_journal(
    subject: &dyn Subject,
) {
    let log = subject.open();
    let (a, long) = (events(&log, "a").await, long_lived(&log, "long").await);
    let mut bill = Settlement::of(long, batch(&["bill"]));
    bill.checkpoints.push(update("c", &a, 1, after(0)));
    log.commit(bill).await.expect("accepted");
    log.delete_topic(&a.topic).await.expect("deleted");
    let b = events(&log, "b").await;
    let alone = only(update("c", &b, 2, after(0)));
    log.commit(alone).await.expect("accepted");
    drop(log);
    let log = subject.open();
    let checkpoint = log.checkpoint(&ConsumerId::new("c"), &b);
    assert_eq!(checkpoint.expect("written").next, Offset::new(2));
}

/// A consumer of bills checkpoints also when there is nothing to bill.
pub async fn a_checkpoint_alone_stays_where_the_consumer_lives(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, long_lived(&log, "b").await);
    let mut first = Settlement::of(b.clone(), batch(&["bill"]));
    first.checkpoints.push(update("c", &a, 1, after(0)));
    log.commit(first).await.expect("accepted");
    let alone = only(update("c", &a, 2, after(1)));
    log.commit(alone).await.expect("accepted");
    let mut third = Settlement::of(b, batch(&["bill"]));
    third.checkpoints.push(update("c", &a, 3, after(2)));
    log.commit(third).await.expect("accepted");
    drop(log);
    let log = subject.open();
    let checkpoint = log.checkpoint(&ConsumerId::new("c"), &a);
    assert_eq!(checkpoint.expect("written").next, Offset::new(3));
}

/// And starts anew when it comes back.
pub async fn a_forgotten_consumer_stays_forgotten(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let consumer = ConsumerId::new("c");
    log.forget_consumer(&consumer).await.expect("nothing to do");
    let first = only(update("c", &place, 8, after(0)));
    log.commit(first.clone()).await.expect("accepted");
    log.forget_consumer(&consumer).await.expect("forgotten");
    assert_eq!(log.checkpoints(&consumer), []);
    drop(log);
    let log = subject.open();
    assert_eq!(log.consumers(), []);
    log.commit(first).await.expect("revision 0 again");
}
