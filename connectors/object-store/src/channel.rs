//! How a way by which hints come to us fares.
//!
//! Nothing depends on it: without hints, changes are found by listing. So a connection that is lost for a
//! moment is nobody's business, and one that stays lost is told to whoever asks.

use std::time::Duration;

use clock::{Monotonic, SharedClock, Timestamp};
use connector::grown_pause;
use tokio::sync::watch;

/// How long a channel that has worked may be broken before it is told: as long as two listings of a
/// connector that nobody has set otherwise.
const PERSISTS: Duration = Duration::from_secs(60);

/// What is to be said of a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// That no hints come by it, if that has not just begun.
    pub broken: Option<Broken>,
    /// What came by it and was no hint, if anything.
    pub refused: Option<Refused>,
}

/// A channel by which no hints come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Since when.
    pub since: Timestamp,
    /// What went wrong last.
    pub why: String,
}

/// Messages that were no notifications of the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many, repeated ones included.
    pub count: u64,
    /// What was wrong with the last one.
    pub why: String,
}

/// Looks at a channel from outside.
#[derive(Clone, Debug)]
pub struct ChannelWatch(watch::Receiver<ChannelState>);

impl ChannelWatch {
    /// How it fares; `None` when nobody listens to it any more.
    #[must_use]
    pub fn state(&self) -> Option<ChannelState> {
        self.0.has_changed().ok()?;
        Some(self.0.borrow().clone())
    }
}

/// A channel, for who listens to it.
#[derive(Debug)]
pub(crate) struct Channel {
    /// What it is called, without secrets.
    name: String,
    clock: SharedClock,
    state: watch::Sender<ChannelState>,
    course: Course,
}

#[derive(Debug)]
enum Course {
    /// Nobody knows yet.
    New,
    Well {
        since: Monotonic,
        /// How often it had failed before.
        failures: u32,
    },
    Failing {
        since: Timestamp,
        begun: Monotonic,
        failures: u32,
        /// From when on it is told.
        told_after: Duration,
    },
}

impl Channel {
    pub(crate) fn new(name: String, clock: SharedClock) -> (Self, ChannelWatch) {
        let (state, watch) = watch::channel(ChannelState::default());
        let channel = Self {
            name,
            clock,
            state,
            course: Course::New,
        };
        (channel, ChannelWatch(watch))
    }

    /// It works.
    pub(crate) fn well(&mut self) {
        let since = self.clock.monotonic();
        match self.course {
            Course::Well { .. } => {}
            Course::New => self.course = Course::Well { since, failures: 0 },
            Course::Failing { failures, .. } => self.course = Course::Well { since, failures },
        }
        let told = self
            .state
            .send_if_modified(|state| state.broken.take().is_some());
        if told {
            tracing::info!(channel = self.name, "hints at changes come again");
        }
    }

    /// It does not, and is to be tried again after the pause that is returned, which grows as long as it
    /// does not work for a while. One that has never worked is told at once, as it may have been set up
    /// wrong.
    pub(crate) fn failed(&mut self, why: String) -> Duration {
        let (now, at) = (self.clock.monotonic(), self.clock.now());
        let (since, begun, failures, told_after) = match self.course {
            Course::New => (at, now, 1, Duration::ZERO),
            Course::Well { since, failures } => match now.since(since) < PERSISTS {
                true => (at, now, failures.saturating_add(1), PERSISTS),
                false => (at, now, 1, PERSISTS),
            },
            Course::Failing {
                since,
                begun,
                failures,
                told_after,
            } => (since, begun, failures.saturating_add(1), told_after),
        };
        self.course = Course::Failing {
            since,
            begun,
            failures,
            told_after,
        };
        tracing::debug!(channel = self.name, why, failures, "no hints come");
        if now.since(begun) >= told_after {
            let mut news = false;
            self.state.send_modify(|state| {
                news = state.broken.is_none();
                state.broken = Some(Broken {
                    since,
                    why: why.clone(),
                });
            });
            if news {
                tracing::warn!(
                    channel = self.name,
                    why,
                    "no hints come: changes are found by listing"
                );
            }
        }
        grown_pause(failures)
    }

    /// Something came by it that is no notification of the bucket.
    pub(crate) fn refused(&mut self, why: String) {
        let mut news = false;
        self.state.send_modify(|state| {
            let before = state.refused.as_ref().map_or(0, |refused| refused.count);
            news = before == 0;
            state.refused = Some(Refused {
                count: before.saturating_add(1),
                why: why.clone(),
            });
        });
        if news {
            tracing::warn!(
                channel = self.name,
                why,
                "something is no notification of the bucket"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clock::ManualClock;

    use super::*;

    fn channel() -> (Channel, ChannelWatch, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(7)));
        let (channel, watch) = Channel::new("queue".to_owned(), clock.clone());
        (channel, watch, clock)
    }

    fn is_told(watch: &ChannelWatch) -> bool {
        watch.state().unwrap().broken.is_some()
    }

    #[test]
    fn a_lost_channel_is_told_once_that_lasts_and_no_longer() {
        let (mut channel, watch, clock) = channel();
        channel.well();
        channel.failed("refused".to_owned());
        assert!(!is_told(&watch));
        clock.advance(PERSISTS / 2);
        channel.well();
        channel.failed("refused".to_owned());
        clock.advance(PERSISTS / 2);
        channel.failed("refused".to_owned());
        assert!(!is_told(&watch));
        clock.advance(PERSISTS / 2);
        channel.failed("timed out".to_owned());
        let broken = watch.state().unwrap().broken.unwrap();
        assert_eq!(broken.why, "timed out");
        let since = Timestamp::from_millis(7).plus(PERSISTS / 2);
        assert_eq!(broken.since, since);
        channel.well();
        assert!(!is_told(&watch));
    }

    #[test]
    fn one_that_breaks_again_and_again_is_left_alone_for_longer_until_it_works_for_a_while() {
        let (mut channel, _watch, clock) = channel();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            channel.well();
            clock.advance(PERSISTS / 3);
            pauses.push(channel.failed("reset".to_owned()));
        }
        assert!(
            pauses.is_sorted() && pauses[11] == grown_pause(12),
            "{pauses:?}"
        );
        channel.well();
        clock.advance(PERSISTS / 2);
        channel.well();
        clock.advance(PERSISTS / 2);
        assert_eq!(channel.failed("reset".to_owned()), grown_pause(1));
    }

    #[test]
    fn one_that_has_never_worked_is_told_at_once_and_one_that_nobody_has_is_not() {
        let (mut channel, watch, _) = channel();
        let first = channel.failed("no such queue".to_owned());
        assert!(is_told(&watch));
        assert!(channel.failed("no such queue".to_owned()) > first);
        channel.refused("no JSON".to_owned());
        channel.refused("no records".to_owned());
        let refused = watch.state().unwrap().refused.unwrap();
        assert_eq!((refused.count, refused.why.as_str()), (2, "no records"));
        drop(channel);
        assert_eq!(watch.state(), None);
    }
}
