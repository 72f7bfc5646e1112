//! Single checkpoints that go, and what a partition takes.

use super::*;
use crate::Settlement;

/// Also after a restart, and with its last checkpoint a consumer goes.
pub async fn single_checkpoints_are_forgotten_unless_they_have_been_written_since(
    subject: &dyn BrokerSubject,
) {
    let broker = subject.open_broker();
    let log: SharedLog = broker.clone();
    let topic = topic(&log, "t", 3, Lifetime::Events).await;
    let places: Vec<TopicPartition> = topic.partitions().collect();
    let consumer = ConsumerId::new("c");
    for place in &places {
        checkpoint(&log, place).await;
    }
    checkpoint(&log, &places[1]).await;
    let elsewhere = name("absent").partition(Partition::new(0));
    let first = vec![
        (places[0].clone(), 1),
        (places[0].clone(), 1),
        // It is in its second by now.
        (places[1].clone(), 1),
        (elsewhere, 1),
    ];
    let gone = broker.forget_checkpoints(&consumer, first).await;
    assert_eq!(gone.expect("there is room"), places[..1]);
    drop((log, broker));

    let broker = subject.open_broker();
    let left = broker.checkpoints(&consumer).into_iter();
    let left: Vec<_> = left.map(|(place, found)| (place, found.revision)).collect();
    assert_eq!(left, [(places[1].clone(), 2), (places[2].clone(), 1)]);
    let gone = broker.forget_checkpoints(&consumer, left).await;
    assert_eq!(gone.expect("there is room"), places[1..]);
    assert_eq!(broker.consumers(), []);
    let gone = broker.forget_checkpoints(&consumer, vec![(places[0].clone(), 1)]);
    assert_eq!(gone.await.expect("nothing to do"), []);
    drop(broker);
    assert_eq!(subject.open().consumers(), []);
}

/// Whatever a log keeps besides.
pub async fn the_bytes_of_a_partition_are_those_of_its_batches(subject: &dyn BrokerSubject) {
    let broker = subject.open_broker();
    let log: SharedLog = broker.clone();
    let place = events(&log, "t").await;
    let bytes = || broker.stored_bytes(&place).expect("it exists");
    assert_eq!(bytes(), 0);
    let batch = batch(&["a", "b"]);
    for times in 1..4 {
        let settled = log.commit(Settlement::of(place.clone(), batch.clone()));
        settled.await.expect("accepted");
        assert_eq!(bytes(), batch.as_bytes().len() as u64 * times);
    }
    let absent = name("absent").partition(Partition::new(0));
    refused(broker.stored_bytes(&absent), |error| {
        matches!(error, Error::UnknownTopic { .. })
    });
}

async fn checkpoint(log: &SharedLog, place: &TopicPartition) {
    let settlement = Settlement {
        checkpoints: vec![update("c", place, 1, Rule::Reset)],
        ..Settlement::default()
    };
    log.commit(settlement).await.expect("accepted");
}
