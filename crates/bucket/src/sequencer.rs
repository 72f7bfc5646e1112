//! The order of changes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use clock::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Bits below the clock's milliseconds: a million changes in one of them before it runs ahead.
const COUNTER_BITS: u32 = 20;

/// A change's place in the order of all changes of a store: later changes of a key have larger
/// sequencers, also across restarts and when the clock goes back. As text it has sixteen
/// hexadecimal digits, so that texts order as their numbers do (AWS asks readers to compare them so).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Sequencer(u64);

impl Sequencer {
    /// Before every change.
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }
}

/// Hands out sequencers: the clock where it runs ahead, one more than the last where it does not.
#[derive(Debug, Default)]
pub(crate) struct Sequencers {
    last: AtomicU64,
}

impl Sequencers {
    /// Remembers a sequencer that is in the log.
    pub(crate) fn observe(&self, seen: Sequencer) {
        self.last.fetch_max(seen.0, Ordering::Relaxed);
    }

    /// A sequencer after every one handed out or observed before. Calls for one key must be
    /// ordered by the caller.
    pub(crate) fn next(&self, now: Timestamp) -> Sequencer {
        let floor = u64::try_from(now.as_millis()).unwrap_or(0) << COUNTER_BITS;
        let next = |last: u64| (last + 1).max(floor);
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            })
            .expect("the closure always returns a value");
        Sequencer(next(last))
    }
}

impl fmt::Display for Sequencer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl From<Sequencer> for String {
    fn from(sequencer: Sequencer) -> Self {
        sequencer.to_string()
    }
}

impl TryFrom<String> for Sequencer {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        u64::from_str_radix(&text, 16)
            .map(Self)
            .map_err(|_| Error::invalid(format!("sequencer {text:?} is no hexadecimal number")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequencers_grow_when_the_clock_stands_still_or_goes_back() {
        let sequencers = Sequencers::default();
        let mut last = sequencers.next(Timestamp::from_millis(1_000));
        for millis in [1_000, 1_000, 5, 2_000, 0, -7] {
            let next = sequencers.next(Timestamp::from_millis(millis));
            assert!(next > last && next.to_string() > last.to_string());
            last = next;
        }
    }

    #[test]
    fn sequencers_continue_after_what_is_in_the_log() {
        let before = Sequencers::default();
        let last = before.next(Timestamp::from_millis(9_000));
        let after = Sequencers::default();
        after.observe(last);
        assert!(after.next(Timestamp::from_millis(10)) > last);
    }
}
