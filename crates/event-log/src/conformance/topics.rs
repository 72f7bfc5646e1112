//! Topics come and go.

use super::*;
use crate::Settlement;

/// Name, id and configuration, in both journals.
pub async fn topics_survive_with_their_identity(subject: &dyn Subject) {
    let log = subject.open();
    let b = topic(&log, "b", 3, Lifetime::Events).await;
    let a = topic(&log, "a", 1, Lifetime::LongLived).await;
    assert_ne!(a.id, b.id);
    drop(log);
    let log = subject.open();
    assert_eq!(log.topics(), [a.clone(), b.clone()]);
    assert_eq!(log.topic(&name("b")), Some(b));
    assert_eq!(log.topic(&name("c")), None);
}

/// Whichever journal holds it.
pub async fn a_topic_exists_once(subject: &dyn Subject) {
    let log = subject.open();
    topic(&log, "t", 1, Lifetime::Events).await;
    for lifetime in [Lifetime::Events, Lifetime::LongLived] {
        let config = TopicConfig {
            partitions: 1,
            lifetime,
        };
        refused(log.create_topic(&name("t"), config).await, |error| {
            matches!(error, Error::TopicExists { .. })
        });
    }
}

/// At least one, and not millions.
pub async fn a_topic_needs_partitions(subject: &dyn Subject) {
    let log = subject.open();
    for partitions in [0, u32::MAX] {
        let config = TopicConfig {
            partitions,
            lifetime: Lifetime::Events,
        };
        refused(log.create_topic(&name("t"), config).await, |error| {
            matches!(error, Error::InvalidTopicConfig { .. })
        });
    }
    assert_eq!(log.topics(), []);
}

/// Those in the other journal too; a topic of the same name begins empty.
pub async fn a_deleted_topic_takes_records_and_checkpoints_with_it(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let kept = long_lived(&log, "kept").await;
    let old = log.topic(&place.topic).expect("exists");
    let mut changes = log.topics_changed();
    changes.borrow_and_update();
    let mut settlement = Settlement::of(place.clone(), batch(&["x"]));
    settlement
        .checkpoints
        .push(update("c", &place, 1, after(0)));
    log.commit(settlement).await.expect("accepted");
    let mut settlement = Settlement::of(kept.clone(), batch(&["x"]));
    settlement
        .checkpoints
        .push(update("d", &place, 1, after(0)));
    settlement.checkpoints.push(update("d", &kept, 1, after(0)));
    log.commit(settlement).await.expect("accepted");

    log.delete_topic(&place.topic).await.expect("deleted");
    assert!(changes.has_changed().expect("open"));
    refused(log.bounds(&place), |error| {
        matches!(error, Error::UnknownTopic { .. })
    });
    drop(log);
    let log = subject.open();
    assert_eq!(log.topic(&place.topic), None);
    assert_eq!(events(&log, "t").await, place);
    assert_ne!(log.topic(&place.topic).expect("exists").id, old.id);
    assert_eq!(log.bounds(&place).expect("exists").end, Offset::ZERO);
    assert_eq!(log.consumers(), [ConsumerId::new("d")]);
    let left = log.checkpoints(&ConsumerId::new("d"));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].0, kept);
}

/// One wins, all go on with the winner's topic.
pub async fn creations_of_one_topic_may_race(subject: &dyn Subject) {
    let log = subject.open();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let log = SharedLog::clone(&log);
        racers.spawn(async move {
            let config = TopicConfig {
                partitions: 2,
                lifetime: Lifetime::Events,
            };
            log.ensure_topic(&name("t"), config)
                .await
                .expect("ensured")
                .id
        });
    }
    let mut ids = racers.join_all().await;
    ids.dedup();
    assert_eq!(ids.len(), 1);
}
