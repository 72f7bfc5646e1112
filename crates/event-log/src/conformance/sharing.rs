//! Work shared among nodes.

use event::{SourceId, SourcePosition};

use super::*;
use crate::{PositionUpdate, Settlement, Shard, Share};

/// A log with one node gives it everything, sooner or later.
pub async fn a_node_alone_holds_everything(subject: &dyn Subject) {
    let log = subject.open();
    let mut share = log.share();
    let whole = share.wait_for(|share| *share == Share::all()).await;
    whole.expect("the log is open");
}

/// Two nodes never settle the same work, and whoever takes it over finds it as it was left.
pub async fn what_another_node_holds_cannot_be_settled(subject: &dyn Subject) {
    let log = subject.open();
    let place = topic(&log, "t", 32, Lifetime::Events).await;
    let alone = log
        .share()
        .wait_for(|share| *share == Share::all())
        .await
        .map(|_| ());
    alone.expect("the log is open");
    let Some(other) = subject.open_beside(&log) else {
        return;
    };
    for partition in place.partitions() {
        let first = update("c", &partition, 1, after(0));
        let commit = commit_where_held([&log, &other], first).await;
        assert_eq!(commit, 1, "{partition}");
    }
    let (mut ours, mut theirs) = (log.share(), other.share());
    let some = |share: &Share| *share != Share::none() && *share != Share::all();
    ours.wait_for(some).await.expect("the log is open");
    theirs.wait_for(some).await.expect("the log is open");
    for shard in Shard::all() {
        let both = ours.borrow().contains(shard) && theirs.borrow().contains(shard);
        assert!(!both, "{shard:?} is held twice");
    }
    let source = SourceId::new("s");
    let moved = Settlement {
        positions: vec![PositionUpdate {
            source: source.clone(),
            position: SourcePosition::new("1"),
        }],
        ..Settlement::default()
    };
    let here = log.commit(moved.clone()).await;
    let there = other.commit(moved).await;
    assert_ne!(here.is_ok(), there.is_ok(), "one of the two holds it");
    for result in [here, there] {
        if result.is_err() {
            refused(result, |error| matches!(error, Error::NotHeld { .. }));
        }
    }

    drop(other);
    ours.wait_for(|share| *share == Share::all())
        .await
        .expect("the log is open");
    assert_eq!(log.position(&source), Some(SourcePosition::new("1")));
    for partition in place.partitions() {
        let checkpoint = log.checkpoint(&ConsumerId::new("c"), &partition);
        assert_eq!(
            checkpoint.expect("written").next,
            Offset::new(1),
            "{partition}"
        );
    }
}

/// On how many of the logs the update went through; work that changes hands is tried again.
async fn commit_where_held(logs: [&SharedLog; 2], update: CheckpointUpdate) -> usize {
    loop {
        let mut done = 0;
        for log in logs {
            let only = Settlement {
                checkpoints: vec![update.clone()],
                ..Settlement::default()
            };
            match log.commit(only).await {
                Ok(_) => done += 1,
                Err(Error::NotHeld { .. }) => {}
                // It was settled by the other log, and then changed hands.
                Err(Error::CheckpointConflict { .. }) => {}
                Err(error) => panic!("refused for another reason: {error}"),
            }
        }
        if done > 0 {
            return done;
        }
        tokio::task::yield_now().await;
    }
}
