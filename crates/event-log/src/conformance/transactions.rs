//! Transactions of Kafka producers.

use std::time::Duration;

use super::*;
use crate::{
    Aborted, Append, Appended, Isolation, Outcome, Producer, ProducerIdentity, Settlement,
    StagedOffset, TransactionStage, TransactionStep, TransactionalId,
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A transactional producer, and how much it has written to each partition.
struct Client {
    id: TransactionalId,
    identity: ProducerIdentity,
    sequences: HashMap<TopicPartition, i32>,
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

impl Client {
    async fn enroll(log: &SharedBrokerLog, id: &str) -> Self {
        let id = TransactionalId::new(id);
        let step = TransactionStep::Enroll {
            timeout: TIMEOUT,
            current: None,
            now: at(0),
        };
        let identity = log.transact(&id, step).await.expect("enrolled");
        Self {
            id,
            identity,
            sequences: HashMap::new(),
        }
    }

    async fn join(&self, log: &SharedBrokerLog, places: &[&TopicPartition]) -> Result<(), Error> {
        let step = TransactionStep::Join {
            by: self.identity,
            partitions: places.iter().map(|place| (*place).clone()).collect(),
            consumers: vec![ConsumerId::new("group/g")],
            now: at(0),
        };
        log.transact(&self.id, step).await.map(drop)
    }

    fn batch(&mut self, place: &TopicPartition, values: &[&str]) -> RecordBatch {
        let next = self.sequences.entry(place.clone()).or_default();
        let producer = Producer {
            id: self.identity.id,
            epoch: self.identity.epoch,
            base_sequence: *next,
        };
        *next += i32::try_from(values.len()).expect("few");
        batch(values).from_producer(producer).in_transaction()
    }

    async fn write(
        &mut self,
        log: &SharedBrokerLog,
        place: &TopicPartition,
        values: &[&str],
    ) -> Result<Offset, Error> {
        let batch = self.batch(place, values);
        let log: SharedLog = log.clone();
        let settled = log.commit(Settlement::of(place.clone(), batch)).await?;
        Ok(settled.appended[0].base())
    }

    async fn stage(
        &self,
        log: &SharedBrokerLog,
        on: &TopicPartition,
        next: u64,
    ) -> Result<(), Error> {
        let step = TransactionStep::Stage {
            by: self.identity,
            consumer: ConsumerId::new("group/g"),
            offsets: vec![StagedOffset {
                partition: on.clone(),
                next: Offset::new(next),
                metadata: Bytes::from_static(b"note"),
            }],
        };
        log.transact(&self.id, step).await.map(drop)
    }

    async fn end(&self, log: &SharedBrokerLog, outcome: Outcome) -> Result<(), Error> {
        let step = TransactionStep::End {
            by: self.identity,
            outcome,
            now: at(0),
        };
        log.transact(&self.id, step).await.map(drop)
    }
}

async fn begun(log: &SharedBrokerLog, id: &str, place: &TopicPartition) -> Client {
    let client = Client::enroll(log, id).await;
    client.join(log, &[place]).await.expect("joined");
    client
}

async fn seen(log: &SharedBrokerLog, place: &TopicPartition) -> Vec<String> {
    values(&(log.clone() as SharedLog), place).await
}

async fn plain(log: &SharedBrokerLog, place: &TopicPartition, value: &str) {
    let log: SharedLog = log.clone();
    let settlement = Settlement::of(place.clone(), batch(&[value]));
    log.commit(settlement).await.expect("accepted");
}

async fn partitions<const N: usize>(
    log: &SharedBrokerLog,
    names: [&str; N],
) -> Vec<TopicPartition> {
    let log: SharedLog = log.clone();
    let mut places = Vec::new();
    for name in names {
        places.push(events(&log, name).await);
    }
    places
}

fn ends(log: &SharedBrokerLog, place: &TopicPartition) -> (u64, u64) {
    let stable = log.bounds(place).expect("exists").end;
    let stored = log.stored_bounds(place).expect("exists").end;
    assert_eq!(*log.tail(place).expect("exists").borrow(), stable);
    assert_eq!(*log.stored_tail(place).expect("exists").borrow(), stored);
    (stable.get(), stored.get())
}

/// In all of its partitions at once, and whatever was written behind it too.
pub async fn records_of_a_transaction_are_for_readers_once_it_commits(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a", "b"]).await;
    let [a, b] = [&places[0], &places[1]];
    plain(&log, a, "before").await;
    let mut client = Client::enroll(&log, "t").await;
    client.join(&log, &[a, b]).await.expect("joined");
    client
        .write(&log, a, &["a1", "a2"])
        .await
        .expect("accepted");
    client.write(&log, b, &["b1"]).await.expect("accepted");
    plain(&log, a, "behind").await;
    assert_eq!((ends(&log, a), ends(&log, b)), ((1, 4), (0, 1)));
    assert_eq!(seen(&log, a).await, ["before"]);
    let beyond = log.read(a, Offset::new(2), 1).await;
    refused(
        beyond,
        |error| matches!(error, Error::OffsetOutOfRange { end, .. } if end.get() == 1),
    );
    let mut tail = log.tail(b).expect("exists");
    tail.borrow_and_update();
    client.end(&log, Outcome::Commit).await.expect("committed");
    assert!(tail.has_changed().expect("open"));
    let check = async |log: &SharedBrokerLog| {
        assert_eq!((ends(log, a), ends(log, b)), ((5, 5), (2, 2)));
        assert_eq!(seen(log, a).await, ["before", "a1", "a2", "behind"]);
        assert_eq!(seen(log, b).await, ["b1"]);
        let at_marker = log.read(b, Offset::new(1), 1).await.expect("readable");
        assert_eq!((at_marker.batches.len(), at_marker.next.get()), (0, 2));
    };
    check(&log).await;
    drop((log, tail));
    check(&subject.open_broker()).await;
}

/// Its offsets are never used again, and a reader is led past them.
pub async fn an_aborted_transaction_leaves_a_hole_that_readers_pass(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a"]).await;
    let a = &places[0];
    let mut one = begun(&log, "one", a).await;
    let mut two = begun(&log, "two", a).await;
    one.write(&log, a, &["one"]).await.expect("accepted");
    two.write(&log, a, &["two"]).await.expect("accepted");
    one.write(&log, a, &["one again"]).await.expect("accepted");
    one.end(&log, Outcome::Abort).await.expect("aborted");
    assert_eq!(ends(&log, a), (1, 4), "the other one is still open");
    two.end(&log, Outcome::Commit).await.expect("committed");
    plain(&log, a, "after").await;
    let aborted = Aborted {
        producer_id: one.identity.id,
        first: Offset::ZERO,
        marker: Offset::new(3),
    };
    let check = async |log: &SharedBrokerLog| {
        assert_eq!(ends(log, a), (6, 6));
        assert_eq!(seen(log, a).await, ["two", "after"]);
        let first = log.read(a, Offset::ZERO, 1).await.expect("readable");
        assert_eq!((first.batches.len(), first.next.get()), (0, 1));
        for (from, named) in [(0, true), (3, true), (4, false)] {
            let stored = log.read_stored(a, Offset::new(from), 1 << 20, Isolation::Committed);
            let stored = stored.await.expect("readable");
            assert_eq!(stored.batches.len() as u64, 6 - from);
            assert_eq!(stored.aborted == [aborted], named, "from {from}");
            assert_eq!(stored.aborted.is_empty(), !named, "from {from}");
        }
    };
    check(&log).await;
    drop(log);
    check(&subject.open_broker()).await;
}

/// As they would be written outside of one, or not at all.
pub async fn offsets_of_a_transaction_become_checkpoints_if_it_commits(
    subject: &dyn BrokerSubject,
) {
    let log = subject.open_broker();
    let places = partitions(&log, ["in", "out"]).await;
    let [input, output] = [&places[0], &places[1]];
    let group = ConsumerId::new("group/g");
    let mut client = begun(&log, "t", output).await;
    client.write(&log, output, &["no"]).await.expect("accepted");
    client.stage(&log, input, 7).await.expect("staged");
    assert!(log.is_staged(&group, input) && !log.is_staged(&group, output));
    client.end(&log, Outcome::Abort).await.expect("aborted");
    assert!(!log.is_staged(&group, input));
    assert_eq!(log.checkpoint(&group, input), None);

    client.join(&log, &[output]).await.expect("joined");
    client
        .write(&log, output, &["yes"])
        .await
        .expect("accepted");
    client.stage(&log, input, 5).await.expect("staged");
    client.stage(&log, input, 9).await.expect("staged");
    drop(log);
    let log = subject.open_broker();
    assert!(log.is_staged(&group, input));
    assert_eq!(log.checkpoint(&group, input), None);
    client.end(&log, Outcome::Commit).await.expect("committed");
    drop(log);
    let log = subject.open_broker();
    let written = log.checkpoint(&group, input).expect("committed");
    assert_eq!((written.next.get(), written.revision), (9, 1));
    assert_eq!(written.metadata, "note");
    assert_eq!(seen(&log, output).await, ["yes"]);
}

/// It goes on after a restart, until its time has run out: then it is aborted and its producer fenced.
pub async fn an_open_transaction_survives_a_restart_but_not_its_time(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a"]).await;
    let a = &places[0];
    let mut client = begun(&log, "t", a).await;
    client.write(&log, a, &["one"]).await.expect("accepted");
    drop(log);
    let log = subject.open_broker();
    client.write(&log, a, &["two"]).await.expect("accepted");
    assert_eq!(ends(&log, a), (0, 2));
    let deadline = log.transaction_deadline();
    let due = at(0).plus(TIMEOUT);
    assert_eq!(*deadline.borrow(), Some(due));
    let expire = async |now| {
        let step = TransactionStep::Expire { now };
        log.transact(&client.id, step).await.expect("accepted")
    };
    assert_eq!(expire(at(due.as_millis() - 1)).await, client.identity);
    assert_eq!(ends(&log, a), (0, 2), "there is time left");
    let next = expire(due).await;
    assert!(next.epoch > client.identity.epoch);
    assert_eq!((ends(&log, a), *deadline.borrow()), ((3, 3), None));
    drop(deadline);
    refused(client.end(&log, Outcome::Commit).await, |error| {
        matches!(error, Error::StaleProducer { .. })
    });
    refused(client.write(&log, a, &["three"]).await, |error| {
        matches!(error, Error::ProducerFenced { .. })
    });
    drop(log);
    let log = subject.open_broker();
    assert_eq!(ends(&log, a), (3, 3));
    assert_eq!(seen(&log, a).await, [""; 0]);
}

/// And aborts what the older one left open.
pub async fn a_new_life_of_a_transactional_id_fences_the_older_one(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a"]).await;
    let a = &places[0];
    let mut old = begun(&log, "t", a).await;
    old.write(&log, a, &["old"]).await.expect("accepted");
    let mut new = Client::enroll(&log, "t").await;
    assert_eq!(new.identity.id, old.identity.id);
    assert!(new.identity.epoch > old.identity.epoch);
    assert_eq!(ends(&log, a), (2, 2), "it was aborted");
    drop(log);
    let log = subject.open_broker();
    let stale = |error: &Error| matches!(error, Error::StaleProducer { .. });
    refused(old.end(&log, Outcome::Commit).await, stale);
    refused(old.join(&log, &[a]).await, stale);
    refused(old.stage(&log, a, 1).await, stale);
    refused(old.write(&log, a, &["old"]).await, |error| {
        matches!(error, Error::ProducerFenced { .. })
    });
    new.join(&log, &[a]).await.expect("joined");
    new.write(&log, a, &["new"]).await.expect("accepted");
    new.end(&log, Outcome::Commit).await.expect("committed");
    assert_eq!(seen(&log, a).await, ["new"]);
    let known = log.transactions();
    assert_eq!((known.len(), known[0].producer), (1, new.identity));
    assert_eq!(known[0].stage, TransactionStage::Ended(Outcome::Commit));
}

/// Only the latest life may begin another, and asking twice begins one.
pub async fn a_life_that_is_named_begins_one_more_at_most(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let first = Client::enroll(&log, "t").await;
    let enroll = async |current| {
        let step = TransactionStep::Enroll {
            timeout: TIMEOUT,
            current: Some(current),
            now: at(0),
        };
        log.transact(&first.id, step).await
    };
    let second = enroll(first.identity).await.expect("the latest");
    assert_eq!(enroll(first.identity).await.expect("again"), second);
    let third = enroll(second).await.expect("the latest");
    assert!(third.epoch > second.epoch);
    refused(enroll(first.identity).await, |error| {
        matches!(error, Error::StaleProducer { .. })
    });
}

/// Nothing of it is written.
pub async fn a_batch_outside_of_its_transaction_is_refused(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a", "b"]).await;
    let [a, b] = [&places[0], &places[1]];
    let invalid = |error: &Error| matches!(error, Error::InvalidTransaction { .. });
    let mut client = Client::enroll(&log, "t").await;
    refused(client.write(&log, a, &["early"]).await, invalid);
    refused(client.end(&log, Outcome::Commit).await, invalid);
    client.sequences.clear();
    client.join(&log, &[a]).await.expect("joined");
    refused(client.write(&log, b, &["elsewhere"]).await, invalid);
    client.sequences.clear();
    let inside = client.batch(a, &["inside"]);
    let shared: SharedLog = log.clone();
    let commit = |batch| shared.commit(Settlement::of(a.clone(), batch));
    let outside = batch(&["outside"]).from_producer(inside.header().producer.expect("one"));
    refused(commit(outside).await, invalid);
    let nobodys = batch(&["x"]).from_producer(Producer {
        id: client.identity.id + 7,
        epoch: 0,
        base_sequence: 0,
    });
    refused(commit(nobodys.in_transaction()).await, |error| {
        matches!(error, Error::UnknownProducer { .. })
    });
    refused(commit(batch(&["x"]).in_transaction()).await, |error| {
        matches!(error, Error::InvalidBatch { .. })
    });
    let marker = RecordBatch::marker(client.identity, Outcome::Commit, at(0));
    refused(commit(marker).await, |error| {
        matches!(error, Error::InvalidBatch { .. })
    });
    assert_eq!((ends(&log, a), ends(&log, b)), ((0, 0), (0, 0)));
    commit(inside.clone()).await.expect("accepted");
    client.end(&log, Outcome::Commit).await.expect("committed");
    let again = commit(inside).await.expect("its answer was lost");
    assert_eq!(again.appended, [Appended::Duplicate(Offset::ZERO)]);
    refused(client.write(&log, a, &["late"]).await, invalid);
    assert_eq!(seen(&log, a).await, ["inside"]);
}

/// Its answer may have been lost; the other way is too late.
pub async fn deciding_a_transaction_again_changes_nothing(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a"]).await;
    let a = &places[0];
    let mut client = begun(&log, "t", a).await;
    client.write(&log, a, &["x"]).await.expect("accepted");
    client.end(&log, Outcome::Commit).await.expect("committed");
    client.end(&log, Outcome::Commit).await.expect("committed");
    drop(log);
    let log = subject.open_broker();
    client.end(&log, Outcome::Commit).await.expect("committed");
    refused(client.end(&log, Outcome::Abort).await, |error| {
        matches!(error, Error::InvalidTransaction { .. })
    });
    assert_eq!(ends(&log, a), (2, 2));
}

/// What is left of the transaction can be decided all the same.
pub async fn a_deleted_topic_is_in_no_transaction(subject: &dyn BrokerSubject) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a", "b"]).await;
    let [a, b] = [&places[0], &places[1]];
    let mut client = Client::enroll(&log, "t").await;
    client.join(&log, &[a, b]).await.expect("joined");
    client.write(&log, a, &["a"]).await.expect("accepted");
    client.write(&log, b, &["b"]).await.expect("accepted");
    client.stage(&log, a, 1).await.expect("staged");
    log.delete_topic(&a.topic).await.expect("deleted");
    drop(log);
    let log = subject.open_broker();
    client.end(&log, Outcome::Commit).await.expect("committed");
    assert_eq!(seen(&log, b).await, ["b"]);
    let again = partitions(&log, ["a"]).await;
    assert_eq!(ends(&log, &again[0]), (0, 0));
    assert_eq!(log.checkpoint(&ConsumerId::new("group/g"), a), None);
}

/// Settlements of our own are not held back by them, nor do they see them.
pub async fn a_settlement_may_stand_between_the_parts_of_a_transaction(
    subject: &dyn BrokerSubject,
) {
    let log = subject.open_broker();
    let places = partitions(&log, ["a", "b"]).await;
    let [a, b] = [&places[0], &places[1]];
    let mut client = begun(&log, "t", a).await;
    client.write(&log, a, &["open"]).await.expect("accepted");
    let settlement = Settlement {
        appends: [a, b]
            .map(|to| Append {
                to: to.clone(),
                batch: batch(&["ours"]),
            })
            .into(),
        checkpoints: vec![update("c", a, 1, after(0))],
        ..Settlement::default()
    };
    let shared: SharedLog = log.clone();
    shared.commit(settlement).await.expect("accepted");
    assert_eq!(seen(&log, b).await, ["ours"]);
    assert_eq!(seen(&log, a).await, [""; 0]);
    client.end(&log, Outcome::Abort).await.expect("aborted");
    assert_eq!(seen(&log, a).await, ["ours"]);
}
