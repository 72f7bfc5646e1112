//! The time of a record in Kafka.
//!
//! Kafka deletes by the time of records, waits for no consumer, and does not take times far ahead.
//! An event may be as old as the object that it tells of. So a record whose time is far from now goes
//! under the present time, and its own travels in a header that readers of the log never see.

use clock::Timestamp;
use event::{Header, Record};

/// The header that carries a record's own time, in milliseconds since the epoch, as text.
const HEADER: &str = "tm-time";
/// What counts as near, in milliseconds.
const NEAR: i64 = 30 * 60 * 1_000;

/// The record as Kafka gets it.
pub(super) fn outside(mut record: Record, now: Timestamp) -> Record {
    let own = record.timestamp.as_millis();
    let ahead = own.saturating_sub(now.as_millis());
    let disguised = record.headers.iter().any(|header| header.key == HEADER);
    if !(-NEAR..=NEAR).contains(&ahead) || disguised {
        record.timestamp = now;
        record = record.with_header(HEADER, own.to_string());
    }
    record
}

/// The record as the log shows it.
pub(super) fn inside(mut record: Record) -> Record {
    let own = |header: &Header| {
        let text = std::str::from_utf8(header.value.as_deref()?).ok()?;
        (header.key == HEADER).then(|| text.parse().ok())?
    };
    if let Some(own) = record.headers.last().and_then(own) {
        record.headers.pop();
        record.timestamp = Timestamp::from_millis(own);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_with_its_own_time() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        for own in [
            0,
            -5,
            1_000,
            now.as_millis() - 1,
            now.as_millis() + 2 * NEAR,
            i64::MAX,
        ] {
            let record = Record::new("x", Timestamp::from_millis(own)).with_header("h", "1");
            let outside = outside(record.clone(), now);
            let ahead = outside.timestamp.as_millis() - now.as_millis();
            assert!(ahead.abs() <= NEAR, "{own}");
            assert_eq!(inside(outside), record);
        }
    }

    #[test]
    fn a_header_of_that_name_stays_the_writers_own() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let record = Record::new("x", now).with_header(HEADER, "7");
        assert_eq!(inside(outside(record.clone(), now)), record);
    }
}
