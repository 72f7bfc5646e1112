//! Fencing.

use super::*;
use crate::{Epoch, OwnerId, Settlement, Writer};

fn by(owner: &str, epoch: Epoch, to: &TopicPartition) -> Settlement {
    Settlement {
        writer: Some(Writer {
            owner: OwnerId::new(owner),
            epoch,
        }),
        ..Settlement::of(to.clone(), batch(&["x"]))
    }
}

fn is_fenced(error: &Error) -> bool {
    matches!(error, Error::Fenced { .. })
}

/// L3, in both journals.
pub async fn l3_a_stale_epoch_cannot_append(subject: &dyn Subject) {
    let log = subject.open();
    let (a, b) = (events(&log, "a").await, long_lived(&log, "b").await);
    let owner = OwnerId::new("o");
    let old = log.open_epoch(&owner).await.expect("opened");
    for place in [&a, &b] {
        log.commit(by("o", old, place))
            .await
            .expect("it is the newest");
    }
    let new = log.open_epoch(&owner).await.expect("opened");
    assert!(new > old);
    for place in [&a, &b] {
        refused(log.commit(by("o", old, place)).await, is_fenced);
        log.commit(by("o", new, place))
            .await
            .expect("it is the newest");
        assert_eq!(values(&log, place).await.len(), 2);
    }
}

/// Restarts included; other owners are not concerned.
pub async fn a_new_epoch_fences_every_older_one_for_good(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let other = log.open_epoch(&OwnerId::new("p")).await.expect("opened");
    let mut epochs = Vec::new();
    for _ in 0..3 {
        epochs.push(log.open_epoch(&OwnerId::new("o")).await.expect("opened"));
    }
    drop(log);
    let log = subject.open();
    for stale in &epochs[..2] {
        refused(log.commit(by("o", *stale, &place)).await, is_fenced);
    }
    log.commit(by("o", epochs[2], &place))
        .await
        .expect("it is the newest");
    log.commit(by("p", other, &place))
        .await
        .expect("another owner");
    let next = log.open_epoch(&OwnerId::new("o")).await.expect("opened");
    assert!(next > epochs[2]);
}

/// A guess is not a right.
pub async fn an_epoch_that_was_never_opened_is_refused(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let is_invalid = |error: &Error| matches!(error, Error::InvalidSettlement { .. });
    refused(log.commit(by("o", Epoch::new(0), &place)).await, is_invalid);
    let epoch = log.open_epoch(&OwnerId::new("o")).await.expect("opened");
    refused(log.commit(by("o", epoch.next(), &place)).await, is_invalid);
}
