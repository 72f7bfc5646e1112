//! Reading by offset and time.

use super::*;
use crate::{Chunk, Settlement};

async fn fill(log: &SharedLog, place: &TopicPartition, batches: &[&[&str]]) {
    for values in batches {
        let settlement = Settlement::of(place.clone(), batch(values));
        log.commit(settlement).await.expect("accepted");
    }
}

/// Whole batches, because that is what lies on disk and goes over the wire.
pub async fn a_read_begins_with_the_batch_that_holds_the_offset(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    fill(&log, &place, &[&["a", "b", "c"], &["d"], &["e", "f"]]).await;
    if subject.layout() == Layout::Records {
        let all = stored(&log, &place).await;
        for (at, from) in all.iter().enumerate() {
            let read = log.read(&place, from.offset, 1 << 20).await;
            let batches = read.expect("readable").batches;
            let records = batches
                .iter()
                .flat_map(|batch| batch.records().expect("ours"));
            let records: Vec<_> = records.filter(|it| it.offset >= from.offset).collect();
            assert_eq!(records, all[at..], "from {}", from.offset);
        }
        let end = log.bounds(&place).expect("exists").end;
        let read = log.read(&place, end, 1 << 20).await.expect("readable");
        assert_eq!((read.batches.len(), read.next), (0, end));
        return;
    }
    for (from, base, count) in [(0, 0, 3), (2, 0, 3), (3, 3, 2), (4, 4, 1), (5, 4, 1)] {
        let read = log.read(&place, Offset::new(from), 1 << 20).await;
        let read = read.expect("readable").batches;
        assert_eq!(read[0].base_offset(), Offset::new(base), "from {from}");
        assert_eq!(read.len(), count, "from {from}");
    }
    let end = log.read(&place, Offset::new(6), 1 << 20).await;
    let at_end = Chunk {
        batches: Vec::new(),
        next: Offset::new(6),
    };
    assert_eq!(end.expect("readable"), at_end);
}

/// A batch larger than the limit must not stop a reader for good.
pub async fn a_read_keeps_to_its_bytes_but_gives_at_least_one_batch(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    fill(&log, &place, &[&["a"], &["b"], &["c"]]).await;
    if subject.layout() == Layout::Records {
        for max_bytes in [0, 1] {
            let read = log.read(&place, Offset::ZERO, max_bytes).await;
            let read = read.expect("readable");
            assert_eq!(read.batches.len(), 1, "{max_bytes} bytes");
            assert!(read.next < log.bounds(&place).expect("exists").end);
        }
        return;
    }
    let len = batch(&["a"]).as_bytes().len();
    for (max_bytes, count) in [(0, 1), (1, 1), (2 * len - 1, 1), (2 * len, 2), (9 * len, 3)] {
        let read = log.read(&place, Offset::ZERO, max_bytes).await;
        assert_eq!(
            read.expect("readable").batches.len(),
            count,
            "{max_bytes} bytes"
        );
    }
}

/// Beyond the end, that is; the end itself is an empty read.
pub async fn reading_outside_the_bounds_is_refused(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    fill(&log, &place, &[&["a", "b"]]).await;
    let bounds = log.bounds(&place).expect("exists");
    assert_eq!(bounds.start, Offset::ZERO);
    match subject.layout() {
        Layout::Batches => assert_eq!(bounds.end, Offset::new(2)),
        Layout::Records => assert!(bounds.end >= Offset::new(2)),
    }
    refused(
        log.read(&place, bounds.end.plus(3), 1).await,
        |error| matches!(error, Error::OffsetOutOfRange { end, .. } if end.get() >= 2),
    );
}

/// Readers wait on it; it closes with its topic.
pub async fn the_tail_grows_when_an_append_is_durable(subject: &dyn Subject) {
    let log = subject.open();
    let (place, other) = (events(&log, "t").await, events(&log, "other").await);
    let mut tail = log.tail(&place).expect("exists");
    let mut elsewhere = log.tail(&other).expect("exists");
    assert_eq!(*tail.borrow_and_update(), Offset::ZERO);
    elsewhere.borrow_and_update();
    let waiting = tokio::spawn(async move {
        // A log may show the records of a settlement one by one.
        let whole = tail.wait_for(|end| *end >= Offset::new(2)).await;
        let end = *whole.expect("the topic is there");
        (end, tail)
    });
    fill(&log, &place, &[&["a", "b"]]).await;
    let (end, mut tail) = waiting.await.expect("woken");
    match subject.layout() {
        Layout::Batches => assert_eq!(end, Offset::new(2)),
        Layout::Records => assert!(end >= Offset::new(2)),
    }
    assert!(
        !elsewhere.has_changed().expect("open"),
        "nothing went there"
    );
    log.delete_topic(&place.topic).await.expect("deleted");
    while tail.changed().await.is_ok() {
        assert!(
            !log.topics().is_empty(),
            "the tail of a deleted topic is closed"
        );
    }
}

/// Exact to the record.
pub async fn an_offset_is_found_by_time(subject: &dyn Subject) {
    let log = subject.open();
    let place = events(&log, "t").await;
    let at = Timestamp::from_millis;
    for times in [&[10, 20, 30][..], &[25], &[40, 50]] {
        let records: Vec<_> = times
            .iter()
            .map(|time| Record::new("x", at(*time)))
            .collect();
        let batch = RecordBatch::of(&records).expect("there are records");
        log.commit(Settlement::of(place.clone(), batch))
            .await
            .expect("accepted");
    }
    drop(log);
    let log = subject.open();
    let offsets: Vec<_> = stored(&log, &place)
        .await
        .iter()
        .map(|it| it.offset)
        .collect();
    for (time, found) in [
        (0, Some((0, 10))),
        (20, Some((1, 20))),
        (21, Some((2, 30))),
        (31, Some((4, 40))),
        (45, Some((5, 50))),
        (51, None),
    ] {
        let offset = log.offset_at(&place, at(time)).await.expect("exists");
        let found = found.map(|(record, time): (usize, _)| (offsets[record], at(time)));
        assert_eq!(offset, found, "{time}");
    }
}
