//! When to try again: a pure function of what failed and how often.

use std::time::Duration;

use crate::SourceError;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Open the source again after this long.
    For(Duration),
    /// Give up.
    Forever,
}

/// The answer to the `failures`-th failure in a row, counted from 1: a [`grown_pause`]. A throttled source is left alone for as long as it asks, if that is longer.
/// Anything settled in between starts the count anew.
#[must_use]
pub fn pause_after(error: &SourceError, failures: u32) -> Pause {
    let grown = grown_pause(failures);
    match error {
        SourceError::Unavailable { .. } | SourceError::Stalled { .. } => Pause::For(grown),
        SourceError::Throttled { wait, .. } => Pause::For(grown.max(wait.unwrap_or_default())),
        SourceError::Rejected { .. } => Pause::Forever,
    }
}

/// The pause after the `failures`-th failure in a row of something that may pass: 200 ms, then twice as
/// long each time, 30 s at most.
#[must_use]
pub fn grown_pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> SourceError {
        SourceError::Unavailable {
            act: "reach the source".to_owned(),
            source: "refused".into(),
        }
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let pauses: Vec<Pause> = [1, 2, 3, 8, 9, u32::MAX]
            .into_iter()
            .map(|failures| pause_after(&unavailable(), failures))
            .collect();
        let expected = [200, 400, 800, 25_600, 30_000, 30_000]
            .map(|millis| Pause::For(Duration::from_millis(millis)));
        assert_eq!(pauses, expected);
    }

    #[test]
    fn a_throttled_source_is_left_alone_as_long_as_it_asks() {
        let throttled = |wait| SourceError::Throttled {
            act: "read".to_owned(),
            wait,
        };
        let minute = Duration::from_secs(60);
        assert_eq!(pause_after(&throttled(Some(minute)), 1), Pause::For(minute));
        assert_eq!(
            pause_after(&throttled(None), 1),
            Pause::For(Duration::from_millis(200))
        );
    }

    #[test]
    fn a_rejected_source_is_not_tried_again() {
        let rejected = SourceError::Rejected {
            act: "log in".to_owned(),
            source: "wrong password".into(),
        };
        assert_eq!(pause_after(&rejected, 1), Pause::Forever);
    }
}
