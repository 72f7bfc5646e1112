//! Topics come and go.

use std::time::Duration;

use super::*;
use crate::{Cleanup, Limit, Settlement, TopicSettings};

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
        let config = TopicConfig::new(1, lifetime);
        refused(log.create_topic(&name("t"), config).await, |error| {
            matches!(error, Error::TopicExists { .. })
        });
    }
}

/// At least one, and not millions.
pub async fn a_topic_needs_partitions(subject: &dyn Subject) {
    let log = subject.open();
    for partitions in [0, u32::MAX] {
        let config = TopicConfig::new(partitions, Lifetime::Events);
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

/// With records and checkpoints where they were.
pub async fn a_topic_can_be_given_partitions(subject: &dyn Subject) {
    let log = subject.open();
    for lifetime in [Lifetime::Events, Lifetime::LongLived] {
        let text = format!("{lifetime:?}");
        let old = topic(&log, &text, 2, lifetime).await;
        let place = old.name.partition(Partition::new(1));
        let settlement = Settlement::of(place.clone(), batch(&["x"]));
        log.commit(settlement).await.expect("accepted");
        let mut changes = log.topics_changed();
        changes.borrow_and_update();
        for count in [0, 1, 2, u32::MAX] {
            refused(log.add_partitions(&old.name, count).await, |error| {
                matches!(error, Error::InvalidTopicConfig { .. })
            });
        }
        let grown = log.add_partitions(&old.name, 4).await.expect("it grows");
        assert_eq!((grown.id, grown.config.partitions), (old.id, 4));
        assert!(changes.has_changed().expect("open"));
        let new = old.name.partition(Partition::new(3));
        let settlement = Settlement::of(new.clone(), batch(&["y"]));
        log.commit(settlement).await.expect("accepted");
    }
    refused(log.add_partitions(&name("none"), 4).await, |error| {
        matches!(error, Error::UnknownTopic { .. })
    });
    drop(log);
    let log = subject.open();
    for text in ["Events", "LongLived"] {
        let grown = log.topic(&name(text)).expect("exists");
        assert_eq!(grown.config.partitions, 4);
        let kept = |index| grown.name.partition(Partition::new(index));
        assert_eq!(values(&log, &kept(1)).await, ["x"]);
        assert_eq!(values(&log, &kept(2)).await, [""; 0]);
        assert_eq!(values(&log, &kept(3)).await, ["y"]);
    }
}

/// Those it was created with, and those it was given later.
pub async fn the_settings_of_a_topic_survive(subject: &dyn Subject) {
    let log = subject.open();
    let first = TopicSettings {
        cleanup: Cleanup::CompactAndDelete,
        retention_age: Some(Limit::AtMost(Duration::from_secs(60))),
        ..TopicSettings::DEFAULT
    };
    let second = TopicSettings {
        retention_bytes: Some(Limit::Unlimited),
        max_batch_bytes: Some(1_000_000),
        ..TopicSettings::DEFAULT
    };
    for lifetime in [Lifetime::Events, Lifetime::LongLived] {
        for text in ["kept", "changed"] {
            let config = TopicConfig::new(1, lifetime).with(first);
            let name = name(&format!("{text}-{lifetime:?}"));
            let created = log.create_topic(&name, config).await;
            assert_eq!(created.expect("new").config, config);
        }
        let changed = name(&format!("changed-{lifetime:?}"));
        let mut changes = log.topics_changed();
        changes.borrow_and_update();
        let topic = log.configure_topic(&changed, second).await;
        assert_eq!(topic.expect("configured").config.settings, second);
        assert!(changes.has_changed().expect("open"));
    }
    refused(log.configure_topic(&name("none"), second).await, |error| {
        matches!(error, Error::UnknownTopic { .. })
    });
    drop(log);
    let log = subject.open();
    for lifetime in [Lifetime::Events, Lifetime::LongLived] {
        for (text, settings) in [("kept", first), ("changed", second)] {
            let topic = log.topic(&name(&format!("{text}-{lifetime:?}")));
            assert_eq!(topic.expect("exists").config.settings, settings);
        }
    }
}

/// In bytes of the batch as a whole.
pub async fn a_topic_takes_batches_up_to_its_limit(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let (small, large) = (batch(&["a"]), batch(&["a", "b"]));
    let settings = TopicSettings {
        max_batch_bytes: u32::try_from(small.as_bytes().len()).ok(),
        ..TopicSettings::DEFAULT
    };
    log.configure_topic(&place.topic, settings)
        .await
        .expect("configured");
    refused(
        log.commit(Settlement::of(place.clone(), large)).await,
        |error| matches!(error, Error::TooLarge { .. }),
    );
    log.commit(Settlement::of(place.clone(), small))
        .await
        .expect("accepted");
    assert_eq!(values(&log, &place).await, ["a"]);
}

/// Without one it could neither be superseded nor supersede.
pub async fn a_compacted_topic_takes_only_records_with_keys(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let settings = TopicSettings {
        cleanup: Cleanup::Compact,
        ..TopicSettings::DEFAULT
    };
    log.configure_topic(&place.topic, settings)
        .await
        .expect("configured");
    refused(
        log.commit(Settlement::of(place.clone(), batch(&["a"])))
            .await,
        |error| matches!(error, Error::InvalidBatch { .. }),
    );
    let mut record = Record::new("b", Timestamp::from_millis(1_000));
    record.key = Some(Bytes::from_static(b"k"));
    let keyed = RecordBatch::of_one(record);
    log.commit(Settlement::of(place.clone(), keyed))
        .await
        .expect("accepted");
    assert_eq!(values(&log, &place).await, ["b"]);
}

/// They stay deleted, and offsets go on from where they were.
pub async fn records_can_be_deleted_up_to_an_offset(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    for values in [&["a", "b", "c"][..], &["d"], &["e"]] {
        let settlement = Settlement::of(place.clone(), batch(values));
        log.commit(settlement).await.expect("accepted");
    }
    let delete = |log: &SharedLog, before| {
        let (log, place) = (SharedLog::clone(log), place.clone());
        async move { log.delete_records(&place, before).await }
    };
    let at: Vec<_> = stored(&log, &place)
        .await
        .iter()
        .map(|it| it.offset)
        .collect();
    for (before, start) in [(1, 1), (0, 1), (3, 3), (2, 3)] {
        let left = delete(&log, at[before]).await.expect("deleted");
        assert_eq!(left, at[start], "before {before}");
    }
    let end = log.bounds(&place).expect("exists").end;
    refused(delete(&log, end.plus(3)).await, |error| {
        matches!(error, Error::OffsetOutOfRange { .. })
    });
    refused(
        log.read(&place, at[2], 1).await,
        |error| matches!(error, Error::OffsetOutOfRange { offset, first, .. } if first > offset),
    );
    let since = log.offset_at(&place, Timestamp::from_millis(0)).await;
    assert_eq!(since.expect("exists").expect("one is left").0, at[3]);
    drop(log);
    let log = subject.open();
    let bounds = log.bounds(&place).expect("exists");
    assert_eq!(bounds.start, at[3]);
    assert_eq!(values(&log, &place).await, ["d", "e"]);
    assert_eq!(delete(&log, bounds.end).await.expect("deleted"), bounds.end);
    drop(log);
    let log = subject.open();
    assert_eq!(values(&log, &place).await, [""; 0]);
    let settlement = Settlement::of(place.clone(), batch(&["f"]));
    let settled = log.commit(settlement).await.expect("accepted");
    match subject.layout() {
        Layout::Batches => assert_eq!(settled.appended[0].base(), at[4].next()),
        Layout::Records => assert!(settled.appended[0].base() > at[4]),
    }
    assert_eq!(values(&log, &place).await, ["f"]);
}

/// In the middle of a batch, too.
pub async fn a_deleted_record_is_not_found_by_time(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let at = Timestamp::from_millis;
    let records: Vec<_> = [30, 10, 20].map(|time| Record::new("x", at(time))).into();
    let batch = RecordBatch::of(&records).expect("there are records");
    log.commit(Settlement::of(place.clone(), batch))
        .await
        .expect("accepted");
    log.delete_records(&place, Offset::new(1))
        .await
        .expect("deleted");
    let found = log.offset_at(&place, at(15)).await.expect("exists");
    assert_eq!(found, Some((Offset::new(2), at(20))));
    let found = log.offset_at(&place, at(25)).await.expect("exists");
    assert_eq!(found, None);
}

/// One wins, all go on with the winner's topic.
pub async fn creations_of_one_topic_may_race(subject: &dyn Subject) {
    let log = subject.open();
    let mut racers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let log = SharedLog::clone(&log);
        racers.spawn(async move {
            let config = TopicConfig::new(2, Lifetime::Events);
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
