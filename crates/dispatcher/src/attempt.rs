//! What is accounted for: one attempt to run a function, and the usage record it leaves.

use std::time::Duration;

use clock::Timestamp;
use function::{Draw, Function, TriggerId, Version};
use instance::{Metrics, Outcome};
use metering::{AttemptId, UsageId, UsageOutcome, UsageRecord};
use uuid::Uuid;

/// Bytes of an asynchronous event that one request unit covers, and bytes of each further unit
/// (AWS Lambda pricing, 2026).
const FIRST_UNIT: usize = 256 << 10;
const FURTHER_UNIT: usize = 64 << 10;

/// One attempt at an event or a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// The event's place or the request's id, as in [`AttemptId::event`].
    pub(crate) event: String,
    /// The trigger, if one runs it.
    pub(crate) trigger: Option<TriggerId>,
    /// Which attempt, from 1.
    pub(crate) number: u32,
    /// Events in it.
    pub(crate) records: u32,
    /// How it is charged.
    pub(crate) tariff: Tariff,
}

/// How many request units an attempt is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tariff {
    /// One, whatever its size.
    Flat,
    /// By the event's size.
    Asynchronous,
}

impl Attempt {
    /// The only one at a request that its caller waits for.
    pub(crate) fn of_request(request_id: &str) -> Self {
        Self {
            event: request_id.to_owned(),
            trigger: None,
            number: 1,
            records: 1,
            tariff: Tariff::Flat,
        }
    }

    /// Decides which of an alias's two versions serves the attempt.
    pub(crate) fn draw(&self) -> Draw {
        Draw::of(&self.event, self.number)
    }

    /// The attempt's id in every usage record of it.
    pub(crate) fn usage_id(&self, account: &str, function: &str, version: Version) -> UsageId {
        let trigger = self
            .trigger
            .map(|trigger| trigger.to_string())
            .unwrap_or_default();
        UsageId::of(AttemptId {
            account,
            function,
            version: &version.to_string(),
            event: &self.event,
            trigger: &trigger,
            attempt: self.number,
        })
    }

    /// A request id that a replay of this attempt repeats, whichever version serves it.
    pub(crate) fn request_id(&self, account: &str, function: &str) -> String {
        let usage = self.usage_id(account, function, Version::Latest);
        Uuid::new_v5(&Uuid::NAMESPACE_OID, usage.as_str().as_bytes()).to_string()
    }

    /// A request id that every attempt at this event shares.
    pub(crate) fn event_request_id(&self, account: &str, function: &str) -> String {
        let first = Self {
            number: 0,
            ..self.clone()
        };
        first.request_id(account, function)
    }

    /// What a finished attempt used.
    pub(crate) fn usage(&self, function: &Function, request_id: &str, ran: &Ran) -> UsageRecord {
        let (init_us, duration_us) = microseconds(&ran.metrics);
        UsageRecord {
            outcome: outcome(&ran.outcome),
            memory_mib: function.memory_mib,
            init_us,
            duration_us,
            billed_ms: UsageRecord::billed_ms(init_us, duration_us),
            requests: self.tariff.units(ran.payload_bytes),
            ..self.void(
                &function.account,
                function.name.as_str(),
                function.version,
                request_id,
                ran.ended_at,
            )
        }
    }

    /// What an attempt used that was cut off: nothing that is charged.
    pub(crate) fn void(
        &self,
        account: &str,
        function: &str,
        version: Version,
        request_id: &str,
        ended_at: Timestamp,
    ) -> UsageRecord {
        UsageRecord {
            usage_id: self.usage_id(account, function, version),
            account: account.to_owned(),
            function: function.to_owned(),
            version: version.to_string(),
            request_id: request_id.to_owned(),
            event: self.event.clone(),
            trigger: self.trigger.map(|trigger| trigger.to_string()),
            attempt: self.number,
            outcome: UsageOutcome::Void,
            memory_mib: 0,
            init_us: 0,
            duration_us: 0,
            billed_ms: 0,
            records: self.records,
            requests: 0,
            ended_at,
        }
    }
}

/// An attempt that has run to its end.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) metrics: Metrics,
    pub(crate) log_tail: bytes::Bytes,
    pub(crate) payload_bytes: usize,
    pub(crate) ended_at: Timestamp,
}

impl Tariff {
    fn units(self, payload_bytes: usize) -> u64 {
        match self {
            Self::Flat => 1,
            Self::Asynchronous => {
                let further = payload_bytes.saturating_sub(FIRST_UNIT);
                1 + further.div_ceil(FURTHER_UNIT) as u64
            }
        }
    }
}

fn outcome(outcome: &Outcome) -> UsageOutcome {
    match outcome {
        Outcome::Success(_) => UsageOutcome::Success,
        Outcome::Error { .. } => UsageOutcome::Error,
        Outcome::Timeout { .. } => UsageOutcome::Timeout,
        Outcome::OutOfMemory => UsageOutcome::OutOfMemory,
        Outcome::Crashed { .. } => UsageOutcome::Crashed,
    }
}

/// Initialisation and duration in microseconds. Their sum is rounded up as a whole, so that the
/// milliseconds billed from it are those that the function's report line names.
fn microseconds(metrics: &Metrics) -> (u64, u64) {
    let init = metrics.init.unwrap_or(Duration::ZERO);
    let total = (init + metrics.duration).as_nanos().div_ceil(1_000);
    let total = u64::try_from(total).unwrap_or(u64::MAX);
    let init = u64::try_from(init.as_micros()).unwrap_or(u64::MAX);
    (init, total - init)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_asynchronous_event_is_charged_by_its_size() {
        let units = |bytes| Tariff::Asynchronous.units(bytes);
        assert_eq!(units(0), 1);
        assert_eq!(units(FIRST_UNIT), 1);
        assert_eq!(units(FIRST_UNIT + 1), 2);
        assert_eq!(units(1 << 20), 13);
        assert_eq!(Tariff::Flat.units(6 << 20), 1);
    }

    #[test]
    fn retries_of_an_event_share_the_request_id_where_they_must() {
        let attempt = |number| Attempt {
            event: "t-0@4..5".to_owned(),
            trigger: None,
            number,
            records: 1,
            tariff: Tariff::Flat,
        };
        let id = |number| attempt(number).request_id("a", "f");
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
        let event = |number| attempt(number).event_request_id("a", "f");
        assert_eq!(event(1), event(2));
    }

    proptest! {
        #[test]
        fn the_bill_and_the_report_line_agree(init in 0u64..5_000_000_000, duration in 1u64..5_000_000_000) {
            let metrics = Metrics {
                init: Some(Duration::from_nanos(init)),
                duration: Duration::from_nanos(duration),
                max_memory_mib: 0,
            };
            let (init_us, duration_us) = microseconds(&metrics);
            prop_assert_eq!(UsageRecord::billed_ms(init_us, duration_us), metrics.billed_ms());
        }
    }
}
