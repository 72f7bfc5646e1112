//! When old segments go.
//!
//! Whole segments of the events journal are removed, oldest first, by age and by the size of the
//! journal, when a new segment begins and when the log opens. A segment stays as long as any
//! consumer has a checkpoint below a record in it: an abandoned consumer holds the log until it is
//! forgotten. The long-lived journal is kept whole.

use std::time::Duration;

use super::books::Books;
use super::journal::Journal;
use crate::Lifetime;

/// How much of the events journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Records older than this may go; `None` keeps them whatever their age.
    pub age: Option<Duration>,
    /// The oldest records go while the journal is larger; `None` sets no bound.
    pub bytes: Option<u64>,
}

/// Removes what may go. Returns the number of segments removed.
pub(super) fn apply(journal: &mut Journal, books: &Books, retention: Retention) -> usize {
    let mut dropped = 0;
    while journal.lifetime == Lifetime::Events && is_due(journal, retention) {
        let Some(oldest) = journal.segments.front() else {
            break;
        };
        let number = oldest.segment.number;
        if is_needed(books, number) {
            break;
        }
        for (key, partition) in books.partitions(journal.lifetime) {
            let mut index = partition.index.write();
            index.drop_through(number);
            let start = index.bounds().start;
            drop(index);
            books.forget_below(key, start);
        }
        if let Err(error) = journal.drop_oldest() {
            tracing::error!(%error, "a segment past its retention stays behind");
        }
        dropped += 1;
    }
    let name = Journal::name(journal.lifetime);
    metrics::gauge!("tidemill_log_size_bytes", "journal" => name).set(journal.bytes() as f64);
    dropped
}

fn is_due(journal: &Journal, retention: Retention) -> bool {
    // The records of a segment are older than the segment after it.
    let Some(next) = journal.segments.get(1) else {
        return false;
    };
    let age = journal.clock.now().since(next.created);
    let too_old = retention.age.is_some_and(|limit| age > limit);
    let too_large = retention.bytes.is_some_and(|limit| journal.bytes() > limit);
    too_old || too_large
}

/// Whether a consumer still has to read a record in the segments up to `number`.
fn is_needed(books: &Books, number: u64) -> bool {
    let lowest = books.published(crate::ledger::Ledger::lowest_checkpoints);
    books
        .partitions(Lifetime::Events)
        .iter()
        .any(|(key, partition)| {
            let end = partition.index.read().end_within(number);
            match (lowest.get(key), end) {
                (Some(next), Some(end)) => *next < end,
                (None, _) | (_, None) => false,
            }
        })
}
