//! Billing windows.

use std::time::Duration;

use clock::Timestamp;
use serde::{Deserialize, Serialize};

/// The length of a billing window: one hour, UTC, the finest period that FOCUS and the clouds'
/// own exports report. Part of the record format: changing it changes what old ids mean.
pub const WINDOW: Duration = Duration::from_hours(1);

/// A span of wall time, half-open. In JSON: milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first moment of it.
    pub start: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

/// What usage is summed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowKey {
    /// The billing window in which the attempts ended.
    pub window: Span,
    /// The account that pays.
    pub account: String,
    /// The function.
    pub function: String,
    /// The version that ran.
    pub version: String,
    /// Configured memory, MiB.
    pub memory_mib: u32,
}

impl Span {
    /// The billing window that holds `at`.
    #[must_use]
    pub fn billing_window(at: Timestamp) -> Self {
        Self::aligned(at, WINDOW)
    }

    /// The calendar day, UTC, that holds `at`.
    #[must_use]
    pub fn day(at: Timestamp) -> Self {
        Self::aligned(at, Duration::from_hours(24))
    }

    /// The calendar month, UTC, that holds `at`.
    #[must_use]
    pub fn month(at: Timestamp) -> Self {
        let date = at.to_utc().date();
        let first = date.replace_day(1).expect("every month has a first day");
        let length = u64::from(date.month().length(date.year()));
        let start = Timestamp::from_millis(first.midnight().assume_utc().unix_timestamp() * 1_000);
        Self {
            start,
            end: start.plus(Duration::from_hours(24 * length)),
        }
    }

    /// Whether `at` lies in the span.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    fn aligned(at: Timestamp, length: Duration) -> Self {
        let length_ms = i64::try_from(length.as_millis()).expect("a day fits");
        // Unix time has no leap seconds: days and hours of UTC are multiples of their length.
        let start = Timestamp::from_millis(at.as_millis().div_euclid(length_ms) * length_ms);
        Self {
            start,
            end: start.plus(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn a_window_is_the_full_hour_that_holds_the_moment() {
        let window = Span::billing_window(at("2026-11-20T23:59:59.999Z"));
        assert_eq!(window.start, at("2026-11-20T23:00:00Z"));
        assert_eq!(window.end, at("2026-11-21T00:00:00Z"));
        assert!(!window.contains(window.end));
        let before_the_epoch = Span::billing_window(Timestamp::from_millis(-1));
        assert_eq!(before_the_epoch.end, Timestamp::from_millis(0));
    }

    #[test]
    fn a_month_has_its_own_length() {
        let february = Span::month(at("2028-02-29T12:00:00Z"));
        assert_eq!(february.start, at("2028-02-01T00:00:00Z"));
        assert_eq!(february.end, at("2028-03-01T00:00:00Z"));
    }
}
