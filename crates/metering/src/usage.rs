//! What one attempt used.

use std::fmt;

use clock::Timestamp;
use event::Record;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One attempt to run a function on an event or a batch: the unit of every bill (invariant M1).
///
/// On the wire it is one JSON object; fields are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The attempt's identity: a replay writes the same one.
    pub usage_id: UsageId,
    /// The account that pays.
    pub account: String,
    /// The function's name.
    pub function: String,
    /// The version that ran.
    pub version: String,
    /// The request's id, as the function saw it.
    pub request_id: String,
    /// What it was an attempt at, as in [`AttemptId::event`].
    pub event: String,
    /// The trigger that ran it; none for a direct or asynchronous invocation.
    pub trigger: Option<String>,
    /// Which attempt at this event or batch, from 1.
    pub attempt: u32,
    /// How it ended.
    pub outcome: UsageOutcome,
    /// Configured memory, MiB.
    pub memory_mib: u32,
    /// Time of initialisation that this attempt paid for, microseconds; 0 when warm.
    pub init_us: u64,
    /// Time from handing over the event to its result, microseconds, on the monotonic clock.
    pub duration_us: u64,
    /// Milliseconds charged: initialisation and duration together, rounded up; 0 when void.
    pub billed_ms: u64,
    /// Events in the batch.
    pub records: u32,
    /// Request units charged: 1 for the first 256 KiB of an asynchronous event and one for each
    /// further 64 KiB begun, 1 otherwise, 0 when void (AWS Lambda pricing, 2026).
    pub requests: u64,
    /// When it ended, wall time: decides the billing window.
    pub ended_at: Timestamp,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsageOutcome {
    /// The function returned a result.
    Success,
    /// The function reported an error.
    Error,
    /// It ran past its timeout.
    Timeout,
    /// It needed more memory than configured.
    OutOfMemory,
    /// Its process ended without an answer.
    Crashed,
    /// We cut it off; never charged.
    Void,
}

/// What identifies an attempt: everything that a replay of it repeats.
#[derive(Clone, Copy, Debug)]
pub struct AttemptId<'a> {
    /// The account.
    pub account: &'a str,
    /// The function.
    pub function: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The event's place or its request id. The place of a batch lists half-open offset ranges in
    /// ascending order: `orders-0@4..5` or `orders-0@4..7,9..10`.
    pub event: &'a str,
    /// The trigger, empty for none.
    pub trigger: &'a str,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// An attempt's identity: 128 bits of SHA-256 over [`AttemptId`], as 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UsageId(String);

impl UsageId {
    /// The identity of an attempt: a pure function of what it is an attempt at.
    #[must_use]
    pub fn of(attempt: AttemptId<'_>) -> Self {
        let mut hash = Sha256::new();
        for part in [
            attempt.account,
            attempt.function,
            attempt.version,
            attempt.event,
            attempt.trigger,
        ] {
            // The length keeps neighbouring fields apart.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(attempt.attempt.to_be_bytes());
        Self(hex::encode(&hash.finalize()[..16]))
    }

    /// The identity as 32 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UsageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl UsageRecord {
    /// The topic that holds every usage record.
    pub const TOPIC: &str = "tidemill.usage";

    /// The record that carries it, keyed by account and function so that one function's usage stays
    /// in one partition.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    pub fn to_record(&self) -> Record {
        let value = serde_json::to_vec(self).expect("a usage record is plain data");
        Record::new(value, self.ended_at).with_key(format!("{}/{}", self.account, self.function))
    }

    /// Milliseconds charged for an attempt of this length: rounded up, at least 1.
    #[must_use]
    pub fn billed_ms(init_us: u64, duration_us: u64) -> u64 {
        (init_us + duration_us).div_ceil(1_000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTEMPT: AttemptId<'_> = AttemptId {
        account: "000000000000",
        function: "f",
        version: "$LATEST",
        event: "orders-0@4..5",
        trigger: "t",
        attempt: 1,
    };

    #[test]
    fn a_replay_has_the_same_id_and_another_attempt_has_another() {
        assert_eq!(UsageId::of(ATTEMPT), UsageId::of(ATTEMPT));
        let second = AttemptId {
            attempt: 2,
            ..ATTEMPT
        };
        assert_ne!(UsageId::of(ATTEMPT), UsageId::of(second));
    }

    #[test]
    fn neighbouring_fields_do_not_run_together() {
        let shifted = AttemptId {
            function: "f$",
            version: "LATEST",
            ..ATTEMPT
        };
        assert_ne!(UsageId::of(ATTEMPT), UsageId::of(shifted));
    }

    #[test]
    fn billed_time_is_rounded_up_to_a_millisecond() {
        assert_eq!(UsageRecord::billed_ms(0, 1), 1);
        assert_eq!(UsageRecord::billed_ms(0, 1_000), 1);
        assert_eq!(UsageRecord::billed_ms(500, 501), 2);
    }
}
