//! The rules that a schedule follows.

use std::time::Duration;

use function::Ordering;

/// Bytes of one invocation's payload at most: 6 MiB (AWS Lambda quotas, 2026).
pub(crate) const MAX_PAYLOAD_BYTES: usize = 6 << 20;

/// Retry pauses of event source mappings double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Pauses after a throttled asynchronous invocation double from 1 s to 5 min (AWS, 2026).
const FIRST_ASYNC_REFUSAL: Duration = Duration::from_secs(1);
const LONGEST_ASYNC_REFUSAL: Duration = Duration::from_secs(300);

/// How one partition of one trigger is worked off.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) ordering: Ordering,
    /// Events in one batch at most, at least 1.
    pub(crate) batch_size: usize,
    /// How long a batch may wait to fill.
    pub(crate) window: Duration,
    /// Bytes of one batch at most; a larger event goes alone.
    pub(crate) batch_bytes: usize,
    /// Whether a failing batch of several is split in two.
    pub(crate) bisect: bool,
    pub(crate) pauses: Pauses,
    /// Batches in flight at once.
    pub(crate) max_flights: usize,
    /// Of those, batches of one target.
    pub(crate) max_flights_of_target: usize,
    /// Batches that wait for a retry; beyond it nothing more is read. They are written down with
    /// every checkpoint, which bounds its size.
    pub(crate) max_waiting: usize,
    /// Of those, batches of one target.
    pub(crate) max_waiting_of_target: usize,
    /// Events that are passed over because their target has enough in hand; beyond it nothing more
    /// is read. Each may open a gap in the checkpoint, which bounds its size.
    pub(crate) max_parked: usize,
}

/// Pauses between attempts.
#[derive(Clone, Debug)]
pub(crate) enum Pauses {
    /// Doubling from 100 ms to 30 s.
    Exponential,
    /// These after a failure, the last one repeating; from 1 s to 5 min after a refusal.
    Listed(Vec<Duration>),
}

/// When an event is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Attempts after the first; `None` for any number.
    pub(crate) maximum_retry_attempts: Option<u32>,
    /// Time since the event's own; `None` for ever.
    pub(crate) maximum_age: Option<Duration>,
}

impl Pauses {
    /// The pause after the `failures`th failure in a row, counted from 1.
    pub(crate) fn after_failure(&self, failures: u32) -> Duration {
        match self {
            Self::Exponential => doubling(FIRST_PAUSE, LONGEST_PAUSE, failures),
            Self::Listed(pauses) => {
                let nth = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
                let pause = pauses.get(nth).or(pauses.last());
                pause.copied().unwrap_or_default()
            }
        }
    }

    /// The pause after the `refusals`th refusal in a row, counted from 1.
    pub(crate) fn after_refusal(&self, refusals: u32) -> Duration {
        match self {
            Self::Exponential => doubling(FIRST_PAUSE, LONGEST_PAUSE, refusals),
            Self::Listed(_) => doubling(FIRST_ASYNC_REFUSAL, LONGEST_ASYNC_REFUSAL, refusals),
        }
    }
}

fn doubling(first: Duration, longest: Duration, nth: u32) -> Duration {
    // 2^16 times the first pause is beyond every longest one.
    let doublings = nth.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_pauses_double_up_to_the_longest() {
        let pauses: Vec<_> = [1, 2, 3, 9, 10, u32::MAX]
            .map(|failures| Pauses::Exponential.after_failure(failures).as_millis())
            .to_vec();
        assert_eq!(pauses, [100, 200, 400, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn the_last_listed_pause_repeats() {
        let listed = Pauses::Listed(vec![Duration::from_secs(60), Duration::from_secs(120)]);
        let pauses = [1, 2, 3].map(|failures| listed.after_failure(failures).as_secs());
        assert_eq!(pauses, [60, 120, 120]);
        let refused = [1, 2, 20].map(|refusals| listed.after_refusal(refusals).as_secs());
        assert_eq!(refused, [1, 2, 300]);
    }
}
