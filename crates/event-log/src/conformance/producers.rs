//! Idempotent producers.

use super::*;
use crate::{Append, Appended, Producer, Settlement};

fn sent(id: i64, epoch: i16, base_sequence: i32, records: usize) -> RecordBatch {
    let producer = Producer {
        id,
        epoch,
        base_sequence,
    };
    batch(&vec!["x"; records]).from_producer(producer)
}

/// The last five batches are remembered.
pub async fn a_repeated_batch_is_a_duplicate_even_after_a_restart(subject: &dyn BrokerSubject) {
    let broker = subject.open_broker();
    let id = broker.producer_id().await.expect("given");
    let log: SharedLog = broker;
    let place = events(&log, "t").await;
    let commit = |log: &SharedLog, batch| {
        let (log, settlement) = (SharedLog::clone(log), Settlement::of(place.clone(), batch));
        async move {
            log.commit(settlement)
                .await
                .map(|settled| settled.appended[0])
        }
    };
    for at in 0..5 {
        let first = commit(&log, sent(id, 0, at * 2, 2))
            .await
            .expect("accepted");
        assert_eq!(first, Appended::At(Offset::new(at as u64 * 2)));
    }
    let repeat = async |log: &SharedLog| {
        for at in 0..5 {
            let again = commit(log, sent(id, 0, at * 2, 2)).await.expect("accepted");
            assert_eq!(again, Appended::Duplicate(Offset::new(at as u64 * 2)));
        }
    };
    repeat(&log).await;
    drop(log);
    let log = subject.open();
    repeat(&log).await;
    let twice = Append {
        to: place.clone(),
        batch: sent(id, 0, 10, 1),
    };
    let settlement = Settlement {
        appends: vec![twice.clone(), twice],
        ..Settlement::default()
    };
    let settled = log.commit(settlement).await.expect("accepted");
    let at = Offset::new(10);
    assert_eq!(
        settled.appended,
        [Appended::At(at), Appended::Duplicate(at)]
    );
    assert_eq!(log.bounds(&place).expect("exists").end, Offset::new(11));
}

/// A batch before it was lost.
pub async fn a_gap_in_a_producers_sequence_is_refused(subject: &dyn BrokerSubject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let commit = |batch| log.commit(Settlement::of(place.clone(), batch));
    commit(sent(7, 0, 0, 3)).await.expect("accepted");
    refused(commit(sent(7, 0, 4, 1)).await, |error| {
        matches!(error, Error::OutOfOrderSequence { expected: 3, .. })
    });
    commit(sent(7, 0, 3, 1)).await.expect("it follows");
    refused(commit(sent(7, -1, -1, 1)).await, |error| {
        matches!(
            error,
            Error::InvalidBatch { .. } | Error::ProducerFenced { .. }
        )
    });
    refused(commit(sent(7, 1, 5, 1)).await, |error| {
        matches!(error, Error::OutOfOrderSequence { expected: 0, .. })
    });
    assert_eq!(log.bounds(&place).expect("exists").end, Offset::new(4));
}

/// By the first batch of a newer one.
pub async fn an_old_producer_epoch_is_fenced(subject: &dyn BrokerSubject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let commit = |log: &SharedLog, batch| {
        let (log, settlement) = (SharedLog::clone(log), Settlement::of(place.clone(), batch));
        async move { log.commit(settlement).await }
    };
    commit(&log, sent(7, 0, 0, 1)).await.expect("accepted");
    commit(&log, sent(7, 1, 0, 1))
        .await
        .expect("a new epoch begins at 0");
    drop(log);
    let log = subject.open();
    refused(commit(&log, sent(7, 0, 1, 1)).await, |error| {
        matches!(error, Error::ProducerFenced { epoch: 0, .. })
    });
    commit(&log, sent(7, 1, 1, 1)).await.expect("accepted");
}

/// Restarts included.
pub async fn producer_ids_are_never_given_twice(subject: &dyn BrokerSubject) {
    let mut given = std::collections::HashSet::new();
    for _ in 0..3 {
        let log = subject.open_broker();
        for _ in 0..3 {
            let id = log.producer_id().await.expect("given");
            assert!(id >= 0 && given.insert(id), "{id} was given before");
        }
    }
}
