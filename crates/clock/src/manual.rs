//! A clock that stands still until it is told to move.

use std::time::Duration;

use parking_lot::Mutex;

use crate::{Clock, Monotonic, Timestamp};

/// A clock for tests and simulation: both readings move together, and only by [`advance`].
///
/// [`advance`]: ManualClock::advance
#[derive(Debug)]
pub struct ManualClock {
    start: Timestamp,
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that reads `start` until it is advanced.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self {
            start,
            elapsed: Mutex::new(Duration::ZERO),
        }
    }

    /// Moves both readings forward.
    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start.plus(*self.elapsed.lock())
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_origin(*self.elapsed.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_readings_move_together() {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_000));
        let before = clock.monotonic();
        clock.advance(Duration::from_millis(250));
        assert_eq!(clock.now(), Timestamp::from_millis(1_250));
        assert_eq!(clock.monotonic().since(before), Duration::from_millis(250));
    }
}
