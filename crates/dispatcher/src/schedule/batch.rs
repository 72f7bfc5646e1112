//! A batch, and what becomes of it when an attempt has ended. Pure.

use std::collections::BTreeSet;

use clock::Timestamp;
use event_log::Offset;
use function::Ordering;

use super::policy::{Limits, Policy};

/// Events that keep their order among each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lane(u64);

/// Whose concurrency an event waits for, where one partition serves many functions. Such events are
/// run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target(pub(crate) u64);

/// One event that is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) offset: Offset,
    pub(crate) lane: Option<Lane>,
    pub(crate) target: Option<Target>,
    /// What it adds to a payload, roughly.
    pub(crate) bytes: usize,
    /// The event's own time: its age counts from here.
    pub(crate) time: Timestamp,
    /// When it reached us: the batching window counts from here.
    pub(crate) received: Timestamp,
    pub(crate) limits: Limits,
}

/// Events that are run together, in ascending order and never none.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    /// The number of its next attempt, or of the one in flight, from 1. All of its events have been
    /// in as many attempts before, so that place and number together name an attempt once.
    pub(crate) attempt: u32,
    /// Failed attempts that count against the retries.
    pub(crate) failures: u32,
    /// Refusals since the last attempt.
    pub(crate) refusals: u32,
    /// Not to be tried before.
    pub(crate) due: Timestamp,
}

/// How an invocation of a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All of it succeeded.
    Succeeded,
    /// These events failed, the rest succeeded.
    ItemsFailed(Vec<Offset>),
    /// The function failed as a whole: it threw, ran out of time, answered nonsense.
    Failed,
    /// There was no attempt: throttled, or no instance could be started.
    Refused,
    /// There was no attempt and never will be.
    Rejected,
}

/// Why an event was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its last attempt failed.
    RetriesExhausted,
    /// It is older than it may be.
    EventAgeExceeded,
    /// It cannot be run: the function is gone or switched off.
    Rejected,
    /// Its record cannot be decoded.
    Unreadable,
}

/// What an attempt's end means for each of its events.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) succeeded: Vec<Item>,
    pub(crate) given_up: Vec<(Item, Reason)>,
    /// In order of their first offsets.
    pub(crate) again: Vec<Batch>,
}

impl Lane {
    /// The lane of an event with this key hash, if it has to keep any order. Keys whose hashes
    /// collide share a lane.
    pub(crate) fn of(ordering: Ordering, key: Option<u64>) -> Option<Self> {
        match ordering {
            Ordering::Partition => Some(Self(0)),
            Ordering::Key => key.map(Self),
            Ordering::None => None,
        }
    }
}

impl Item {
    /// Whether the event is too old to be tried.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        let age = now.since(self.time);
        self.limits.maximum_age.is_some_and(|most| age > most)
    }

    /// The moment from which on it is too old.
    pub(crate) fn expires_at(&self) -> Option<Timestamp> {
        self.limits.maximum_age.map(|age| self.time.plus(age))
    }
}

impl Batch {
    /// A batch that was never tried.
    pub(crate) fn fresh(items: Vec<Item>, now: Timestamp) -> Self {
        Self {
            items,
            attempt: 1,
            failures: 0,
            refusals: 0,
            due: now,
        }
    }

    pub(crate) fn first(&self) -> Offset {
        self.items
            .first()
            .map(|item| item.offset)
            .expect("a batch is never empty")
    }

    pub(crate) fn target(&self) -> Option<Target> {
        self.items.first().and_then(|item| item.target)
    }

    pub(crate) fn offsets(&self) -> impl Iterator<Item = Offset> + '_ {
        self.items.iter().map(|item| item.offset)
    }

    /// What becomes of the batch.
    pub(crate) fn judge(mut self, verdict: Verdict, policy: &Policy, now: Timestamp) -> Judged {
        match verdict {
            Verdict::Succeeded => Judged {
                succeeded: self.items,
                ..Judged::default()
            },
            Verdict::Failed => self.fail(policy, now),
            Verdict::ItemsFailed(failed) => self.fail_some(&failed, policy, now),
            Verdict::Refused => {
                self.refusals = self.refusals.saturating_add(1);
                self.due = now.plus(policy.pauses.after_refusal(self.refusals));
                Judged {
                    again: vec![self],
                    ..Judged::default()
                }
            }
            Verdict::Rejected => Judged {
                given_up: with_reason(self.items, Reason::Rejected),
                ..Judged::default()
            },
        }
    }

    /// The whole batch failed: split it, or try it again while it may be.
    fn fail(self, policy: &Policy, now: Timestamp) -> Judged {
        if policy.bisect && self.items.len() > 1 {
            return Judged {
                again: self.split(now),
                ..Judged::default()
            };
        }
        self.retry(policy, now)
    }

    /// Some of it failed. What has to keep its order after a failed event failed with it. Names that
    /// are not in the batch make the answer worthless.
    fn fail_some(self, failed: &[Offset], policy: &Policy, now: Timestamp) -> Judged {
        let own: BTreeSet<_> = self.offsets().collect();
        let failed: BTreeSet<_> = failed.iter().copied().collect();
        if !failed.is_subset(&own) {
            return self.fail(policy, now);
        }
        let mut failed_lanes = BTreeSet::new();
        let (retained, succeeded): (Vec<_>, Vec<_>) = self.items.iter().partition(|item| {
            let behind = item.lane.is_some_and(|lane| failed_lanes.contains(&lane));
            let fails = behind || failed.contains(&item.offset);
            if fails && !behind {
                failed_lanes.extend(item.lane);
            }
            fails
        });
        if retained.is_empty() {
            return Judged {
                succeeded,
                ..Judged::default()
            };
        }
        let shrunk = !succeeded.is_empty();
        let rest = Self {
            items: retained,
            ..self
        };
        let judged = if shrunk && policy.bisect && rest.items.len() > 1 {
            // The answer itself has split the batch.
            Judged {
                again: vec![rest.next_attempt(now)],
                ..Judged::default()
            }
        } else {
            rest.fail(policy, now)
        };
        Judged {
            succeeded,
            ..judged
        }
    }

    /// Counts a failure against the retries of every event.
    fn retry(self, policy: &Policy, now: Timestamp) -> Judged {
        let failures = self.failures.saturating_add(1);
        let (exhausted, left): (Vec<_>, Vec<_>) = self.items.iter().partition(|item| {
            let most = item.limits.maximum_retry_attempts;
            most.is_some_and(|most| failures > most)
        });
        let again = Self {
            items: left,
            failures,
            ..self
        };
        let again = (!again.items.is_empty())
            .then(|| again.next_attempt(now.plus(policy.pauses.after_failure(failures))));
        Judged {
            succeeded: Vec::new(),
            given_up: with_reason(exhausted, Reason::RetriesExhausted),
            again: again.into_iter().collect(),
        }
    }

    /// Two halves, tried at once; splitting counts no failure.
    fn split(self, now: Timestamp) -> Vec<Self> {
        let mut left = self.next_attempt(now);
        let right = left.items.split_off(left.items.len() / 2);
        let right = Self {
            items: right,
            ..left.clone()
        };
        vec![left, right]
    }

    /// The same batch after an attempt that has taken place.
    pub(crate) fn next_attempt(self, due: Timestamp) -> Self {
        Self {
            attempt: self.attempt.saturating_add(1),
            refusals: 0,
            due,
            ..self
        }
    }
}

fn with_reason(items: Vec<Item>, reason: Reason) -> Vec<(Item, Reason)> {
    items.into_iter().map(|item| (item, reason)).collect()
}
