//! When old records go.
//!
//! A partition's oldest records go by age and by size, a segment's worth at a time: what its topic
//! sets for itself, or else what the log sets. A record's age is that of the segment after its own:
//! whatever the clocks of producers say, it has been here at least as long. Records that a consumer
//! has not finished stay, whatever their age: an abandoned consumer holds them until it is forgotten.
//!
//! Segments in which nothing is left go from the front of the journal at once. Those between others
//! wait for the [cleaner](super::cleaner).
//!
//! Nothing of this is written down: a start decides it anew, by the same rules.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clock::Timestamp;

use super::books::{Books, PartitionLog};
use super::journal::Journal;
use crate::ledger::{Ledger, PartitionKey};
use crate::{Lifetime, Limit, Offset, TopicSettings};

/// How much of the events journal is kept, where a topic does not say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Records older than this may go; `None` keeps them whatever their age.
    pub age: Option<Duration>,
    /// The oldest records go while the journal is larger; `None` sets no bound.
    pub bytes: Option<u64>,
}

/// What a look at the journal came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// Segments removed.
    pub(super) dropped: usize,
    /// How long until records come of age; `None` when none will.
    pub(super) due: Option<Duration>,
    /// Whether the active segment holds records that have come of age: they go when it is sealed.
    pub(super) active: Age,
}

/// Whether the active segment has become old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Age {
    #[default]
    Young,
    Old,
}

/// One partition as retention sees it.
struct Subject {
    key: PartitionKey,
    log: Arc<PartitionLog>,
    settings: TopicSettings,
    /// The lowest offset that a consumer still needs.
    needed: Offset,
}

/// Removes what may go.
pub(super) fn apply(journal: &mut Journal, books: &Books, retention: Retention) -> Applied {
    let subjects = subjects(journal.lifetime, books);
    let retention = match journal.lifetime {
        Lifetime::Events => retention,
        Lifetime::LongLived => Retention {
            age: None,
            bytes: None,
        },
    };
    let mut applied = Applied::default();
    let sealed = sealing_times(journal);
    for subject in &subjects {
        let by_size = subject.beyond_size(&sealed);
        let by_age = subject.beyond_age(journal, &sealed, retention.age, &mut applied);
        subject.drop_before(by_size.max(by_age), books);
    }
    hold_size(journal, books, &subjects, retention.bytes);
    applied.dropped = drop_empty(journal, &subjects);
    let name = Journal::name(journal.lifetime);
    metrics::gauge!("tidemill_log_size_bytes", "journal" => name).set(journal.bytes() as f64);
    applied
}

fn subjects(home: Lifetime, books: &Books) -> Vec<Subject> {
    let (lowest, settings) = books.published(|ledger| {
        let topics = ledger.topics();
        let settings: HashMap<_, _> = topics.map(|it| (it.id, it.config.settings)).collect();
        (Ledger::lowest_checkpoints(ledger), settings)
    });
    let subject = |(key, log): (PartitionKey, Arc<PartitionLog>)| Subject {
        key,
        log,
        settings: settings.get(&key.topic).copied().unwrap_or_default(),
        needed: lowest.get(&key).copied().unwrap_or(Offset::new(u64::MAX)),
    };
    books.partitions(home).into_iter().map(subject).collect()
}

/// When each sealed segment was sealed, by number.
fn sealing_times(journal: &Journal) -> HashMap<u64, Timestamp> {
    let pairs = journal.segments.iter().zip(journal.segments.iter().skip(1));
    pairs
        .map(|(held, next)| (held.segment.number, next.created))
        .collect()
}

impl Subject {
    fn age_limit(&self, of_log: Option<Duration>) -> Option<Duration> {
        match self.settings.retention_age {
            _ if !self.settings.cleanup.deletes() => None,
            None => of_log,
            Some(Limit::Unlimited) => None,
            Some(Limit::AtMost(age)) => Some(age),
        }
    }

    fn size_limit(&self) -> Option<u64> {
        match self.settings.retention_bytes {
            Some(Limit::AtMost(bytes)) if self.settings.cleanup.deletes() => Some(bytes),
            Some(Limit::AtMost(_) | Limit::Unlimited) | None => None,
        }
    }

    /// Whether the size of the journal as a whole is what bounds this partition.
    fn follows_journal(&self) -> bool {
        self.settings.cleanup.deletes() && self.settings.retention_bytes.is_none()
    }

    fn beyond_age(
        &self,
        journal: &Journal,
        sealed: &HashMap<u64, Timestamp>,
        of_log: Option<Duration>,
        applied: &mut Applied,
    ) -> Offset {
        let mut before = Offset::ZERO;
        let Some(limit) = self.age_limit(of_log) else {
            return before;
        };
        let now = journal.clock.now();
        let index = self.log.index.read();
        for run in index.runs() {
            let sealed_at = sealed.get(&run.segment.number);
            let active = journal.segments.back().map(|held| held.created);
            let Some(since) = sealed_at.copied().or(active) else {
                break;
            };
            let age = now.since(since);
            match (age > limit, sealed_at) {
                (true, Some(_)) => before = run.summary.end,
                (true, None) => applied.active = Age::Old,
                (false, _) => {
                    let left = (limit - age) + Duration::from_millis(1);
                    applied.due = Some(applied.due.map_or(left, |due| due.min(left)));
                    break;
                }
            }
        }
        before
    }

    fn beyond_size(&self, sealed: &HashMap<u64, Timestamp>) -> Offset {
        let mut before = Offset::ZERO;
        let Some(limit) = self.size_limit() else {
            return before;
        };
        let index = self.log.index.read();
        let mut held: u64 = index.runs().map(|run| run.summary.bytes).sum();
        for run in index.runs() {
            let left = held - run.summary.bytes;
            if left < limit || !sealed.contains_key(&run.segment.number) {
                break;
            }
            held = left;
            before = run.summary.end;
        }
        before
    }

    fn drop_before(&self, before: Offset, books: &Books) {
        let before = before.min(self.needed);
        let start = {
            let mut index = self.log.index.write();
            if before <= index.bounds().start {
                return;
            }
            index.drop_before(before);
            index.bounds().start
        };
        books.forget_below(self.key, start);
    }

    /// One past the last offset in segments up to `number`, when any is held there.
    fn end_within(&self, number: u64) -> Option<Offset> {
        self.log.index.read().end_within(number)
    }
}

/// Drops the oldest records of the partitions that follow the journal while it is too large.
fn hold_size(journal: &Journal, books: &Books, subjects: &[Subject], limit: Option<u64>) {
    let Some(limit) = limit else {
        return;
    };
    let mut size = journal.bytes();
    let sealed = journal.segments.len().saturating_sub(1);
    for held in journal.segments.iter().take(sealed) {
        if size <= limit {
            return;
        }
        let number = held.segment.number;
        let mut following = subjects.iter().filter(|it| it.follows_journal());
        let is_needed = |it: &Subject| it.end_within(number).is_some_and(|end| it.needed < end);
        if following.any(is_needed) {
            return;
        }
        for subject in subjects.iter().filter(|it| it.follows_journal()) {
            if let Some(end) = subject.end_within(number) {
                subject.drop_before(end, books);
            }
        }
        size = size.saturating_sub(held.bytes);
    }
}

/// Removes the segments at the front of the journal in which no partition holds anything.
fn drop_empty(journal: &mut Journal, subjects: &[Subject]) -> usize {
    let oldest = |subject: &Subject| {
        let index = subject.log.index.read();
        index.runs().next().map(|run| run.segment.number)
    };
    let needed = subjects.iter().filter_map(oldest).min().unwrap_or(u64::MAX);
    let mut dropped = 0;
    while journal.segments.len() > 1
        && journal
            .segments
            .front()
            .is_some_and(|held| held.segment.number < needed)
    {
        if let Err(error) = journal.drop_oldest() {
            tracing::error!(%error, "a segment without records stays behind");
        }
        dropped += 1;
    }
    dropped
}
