//! Usage for the tests of this crate.

use clock::Timestamp;
use proptest::prelude::*;

use crate::{AttemptId, UsageId, UsageOutcome, UsageRecord};

/// 2026-11-20T22:30:00Z.
pub(crate) const START: i64 = 1_795_213_800_000;

/// A small success of function `f`; `n` makes it another attempt.
pub(crate) fn usage(n: u64) -> UsageRecord {
    let event = format!("orders-0@{n}..{}", n + 1);
    UsageRecord {
        usage_id: UsageId::of(AttemptId {
            account: "000000000000",
            function: "f",
            version: "$LATEST",
            event: &event,
            trigger: "t",
            attempt: 1,
        }),
        account: "000000000000".to_owned(),
        function: "f".to_owned(),
        version: "$LATEST".to_owned(),
        request_id: format!("request-{n}"),
        event,
        trigger: Some("t".to_owned()),
        attempt: 1,
        outcome: UsageOutcome::Success,
        memory_mib: 128,
        init_us: 0,
        duration_us: 4_200,
        billed_ms: 5,
        records: 1,
        requests: 1,
        ended_at: Timestamp::from_millis(START),
    }
}

/// Attempts of several functions over several windows, with ids all different.
pub(crate) fn usages(most: usize) -> impl Strategy<Value = Vec<UsageRecord>> {
    let one = (
        0_usize..3,
        0_usize..6,
        0_u64..3_000_000,
        0_u64..900_000_000,
        0_i64..4 * 3_600_000,
        1_u32..100,
    );
    prop::collection::vec(one, 0..most).prop_map(|drawn| {
        drawn
            .into_iter()
            .zip(0..)
            .map(
                |((function, outcome, init_us, duration_us, after, records), n)| {
                    let outcome = [
                        UsageOutcome::Success,
                        UsageOutcome::Error,
                        UsageOutcome::Timeout,
                        UsageOutcome::OutOfMemory,
                        UsageOutcome::Crashed,
                        UsageOutcome::Void,
                    ][outcome];
                    let charged = u64::from(outcome != UsageOutcome::Void);
                    UsageRecord {
                        function: ["resize", "enrich", "total"][function].to_owned(),
                        memory_mib: [128, 512, 10_240][function],
                        outcome,
                        init_us,
                        duration_us,
                        billed_ms: charged * UsageRecord::billed_ms(init_us, duration_us),
                        requests: charged,
                        records,
                        ended_at: Timestamp::from_millis(START + after),
                        ..usage(n)
                    }
                },
            )
            .collect()
    })
}
