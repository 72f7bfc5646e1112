//! From the log's batches to arrivals.

use std::sync::Arc;
use std::time::Duration;

use clock::Timestamp;
use event_log::{Chunk, Error, Offset, StoredRecord, TopicPartition};
use tokio::time::Instant;

use super::Shared;
use super::feed::Feed;
use super::flight::error_text;
use crate::schedule::{Arrival, ArrivalKind, Limits};

/// How long a cluster that does not answer is left alone.
const PAUSE: Duration = Duration::from_millis(500);

/// What one read found.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Everything below has been looked at.
    pub(super) end: Offset,
    pub(super) arrivals: Vec<Arrival>,
    /// The records of those that are to be run.
    pub(super) records: Vec<StoredRecord>,
    /// Offsets whose records cannot be decoded, and why.
    pub(super) unreadable: Vec<(Offset, String)>,
}

/// Reads on from `from`.
pub(super) async fn fetch(
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    place: TopicPartition,
    from: Offset,
    max_bytes: usize,
) -> Result<Fetched, Error> {
    let mut fetched = Fetched {
        end: from,
        arrivals: Vec::new(),
        records: Vec::new(),
        unreadable: Vec::new(),
    };
    let chunk = match read_patiently(&shared, &place, from, max_bytes).await {
        // Retention was faster than we were: what lies below is gone.
        Err(Error::OffsetOutOfRange { first, .. }) if from < first => {
            fetched.end = first;
            return Ok(fetched);
        }
        other => other?,
    };
    for batch in chunk.batches {
        match batch.records() {
            Ok(records) => {
                for stored in records {
                    if stored.offset >= from {
                        fetched.take_in(&shared, &feed, &place, stored);
                    }
                }
            }
            Err(error) => {
                let offsets = from.max(batch.base_offset()).get()..batch.end_offset().get();
                for offset in offsets.map(Offset::new) {
                    let time = batch.max_timestamp();
                    fetched.take_in_unreadable(offset, time, error.to_string());
                }
            }
        }
    }
    fetched.end = chunk.next;
    Ok(fetched)
}

/// Reads; a cluster that does not answer is waited for, as what runs need not end because of it.
async fn read_patiently(
    shared: &Shared,
    place: &TopicPartition,
    from: Offset,
    max_bytes: usize,
) -> Result<Chunk, Error> {
    loop {
        match shared.parts().log.read(place, from, max_bytes).await {
            Err(error @ Error::Unavailable { .. }) => {
                tracing::warn!(partition = %place, reason = error_text(&error), "reading waits for the log");
                tokio::time::sleep_until(Instant::now() + PAUSE).await;
            }
            read => return read,
        }
    }
}

/// The records at these offsets, as far as the log still has them.
pub(super) async fn load(
    shared: &Shared,
    place: &TopicPartition,
    offsets: &[Offset],
) -> Result<Vec<StoredRecord>, Error> {
    let mut found: Vec<StoredRecord> = Vec::with_capacity(offsets.len());
    for offset in offsets {
        if found.last().is_some_and(|last| last.offset >= *offset) {
            continue;
        }
        let chunk = match read_patiently(shared, place, *offset, 1).await {
            Err(Error::OffsetOutOfRange { .. }) => continue,
            other => other?,
        };
        for batch in chunk.batches {
            let records = batch.records().unwrap_or_default();
            found.extend(
                records
                    .into_iter()
                    .filter(|stored| stored.offset >= *offset)
                    .filter(|stored| offsets.binary_search(&stored.offset).is_ok()),
            );
        }
    }
    Ok(found)
}

impl Fetched {
    fn take_in(
        &mut self,
        shared: &Shared,
        feed: &Feed,
        place: &TopicPartition,
        stored: StoredRecord,
    ) {
        let arrival = feed.arrival(shared, place.partition, &stored);
        self.arrivals.push(arrival);
        match arrival.kind {
            ArrivalKind::Matched => self.records.push(stored),
            ArrivalKind::Filtered => {}
            ArrivalKind::Unreadable => {
                let reason = "the record is no accepted invocation".to_owned();
                self.unreadable.push((stored.offset, reason));
            }
        }
    }

    fn take_in_unreadable(&mut self, offset: Offset, time: Timestamp, reason: String) {
        self.unreadable.push((offset, reason));
        self.arrivals.push(Arrival {
            offset,
            key: None,
            target: None,
            bytes: 0,
            time,
            limits: Limits::default(),
            kind: ArrivalKind::Unreadable,
        });
    }
}
