//! A second count of raw usage, to hold the bills against.
//!
//! Shares nothing with the fold: it reads the JSON with types of its own and sums each field by
//! hand, so that an error there shows here. It also finds what the fold cannot: a usage record that
//! is in the log twice, and bills for usage that is not there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;

use crate::RawRecord;

const WINDOW_MS: i64 = 3_600_000;

/// What the recount found. The bills are right when [`is_exact`](Self::is_exact).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Usage records that were counted again.
    pub usage_records: u64,
    /// Of these, void ones: counted, never charged.
    pub void: u64,
    /// Bills that were compared.
    pub bills: u64,
    /// Bills delivered more than once; each was counted once.
    pub repeated_bills: u64,
    /// Usage that no bill covers yet. Not an error while metering runs: wait and count again.
    pub unbilled: u64,
    /// Bills whose usage has left the log, at least in part, so that they cannot be recounted.
    pub beyond_recount: u64,
    /// Where bills and usage differ, by account, function, version, memory and window.
    pub differences: Vec<Difference>,
    /// Ids of usage records that are in the log more than once (invariant M1), sorted.
    pub duplicates: Vec<String>,
    /// Records that are no usage record or no bill.
    pub unreadable: Vec<String>,
}

/// One field of one group in which the bills differ from the usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `account/function:version, memory, window`.
    pub group: String,
    /// The field.
    pub field: &'static str,
    /// What the usage adds up to.
    pub counted: u128,
    /// What the bills add up to.
    pub billed: u128,
}

impl Verdict {
    /// Whether the difference is exactly zero: nothing differs, nothing is double, everything could
    /// be read. Says nothing of usage that is not billed yet.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.differences.is_empty() && self.duplicates.is_empty() && self.unreadable.is_empty()
    }
}

/// Counts `usage` again and compares it with `billing`.
///
/// Both are whole topics, each partition in order of offsets; read the billing topic first, so that
/// every bill finds its usage. `kept_from` gives the first offset that the log still keeps of each
/// usage partition, zero where absent: older bills cannot be recounted and are left out.
pub fn recount(
    billing: impl IntoIterator<Item = RawRecord>,
    usage: impl IntoIterator<Item = RawRecord>,
    kept_from: &BTreeMap<u32, u64>,
) -> Verdict {
    let mut verdict = Verdict::default();
    let bills = distinct_bills(billing, &mut verdict);

    // Where the count begins in each partition: behind every bill that lost part of its usage.
    let mut begin = kept_from.clone();
    let mut covered: BTreeMap<u32, u64> = BTreeMap::new();
    for bill in &bills {
        let Range {
            partition,
            from,
            to,
        } = bill.usage;
        let end = covered.entry(partition).or_default();
        *end = to.max(*end);
        let kept = kept_from.get(&partition).copied().unwrap_or(0);
        if from < kept {
            let begin = begin.entry(partition).or_default();
            *begin = to.max(*begin);
        }
    }
    let mut billed: BTreeMap<Group, Sums> = BTreeMap::new();
    for bill in bills {
        if bill.usage.from < begin.get(&bill.usage.partition).copied().unwrap_or(0) {
            verdict.beyond_recount += 1;
            continue;
        }
        verdict.bills += 1;
        let sums = billed.entry(bill.group()).or_default();
        for (sum, value) in sums.iter_mut().zip(bill.fields()) {
            *sum += value;
        }
    }
    let mut counted: BTreeMap<Group, Sums> = BTreeMap::new();
    let mut ids: HashSet<String> = HashSet::new();
    for raw in usage {
        let (partition, offset) = (raw.partition.index(), raw.offset.get());
        if offset < begin.get(&partition).copied().unwrap_or(0) {
            continue;
        }
        if offset >= covered.get(&partition).copied().unwrap_or(0) {
            verdict.unbilled += 1;
            continue;
        }
        let attempt = match serde_json::from_slice::<Attempt>(&raw.value) {
            Ok(attempt) => attempt,
            Err(error) => {
                verdict
                    .unreadable
                    .push(format!("usage {partition}@{offset}: {error}"));
                continue;
            }
        };
        verdict.usage_records += 1;
        verdict.void += u64::from(attempt.outcome == "void");
        let sums = counted.entry(attempt.group()).or_default();
        for (sum, value) in sums.iter_mut().zip(attempt.fields()) {
            *sum += value;
        }
        if !ids.insert(attempt.usage_id.clone()) {
            verdict.duplicates.push(attempt.usage_id);
        }
    }
    verdict.duplicates.sort();
    verdict.differences = compare(&counted, &billed);
    verdict
}

fn distinct_bills(
    billing: impl IntoIterator<Item = RawRecord>,
    verdict: &mut Verdict,
) -> Vec<Bill> {
    let mut ids = HashSet::new();
    let mut bills = Vec::new();
    for raw in billing {
        match serde_json::from_slice::<Bill>(&raw.value) {
            Ok(bill) if ids.insert(bill.billing_id.clone()) => bills.push(bill),
            Ok(_) => verdict.repeated_bills += 1,
            Err(error) => verdict.unreadable.push(format!(
                "bill {}@{}: {error}",
                raw.partition.index(),
                raw.offset.get()
            )),
        }
    }
    bills
}

fn compare(counted: &BTreeMap<Group, Sums>, billed: &BTreeMap<Group, Sums>) -> Vec<Difference> {
    let nothing = Sums::default();
    let groups: BTreeSet<&Group> = counted.keys().chain(billed.keys()).collect();
    let mut differences = Vec::new();
    for group in groups {
        let counted = counted.get(group).unwrap_or(&nothing);
        let billed = billed.get(group).unwrap_or(&nothing);
        for ((field, counted), billed) in FIELDS.into_iter().zip(counted).zip(billed) {
            if counted != billed {
                let Group(account, function, version, memory_mib, window) = group;
                differences.push(Difference {
                    group: format!(
                        "{account}/{function}:{version}, {memory_mib} MiB, window {}",
                        clock::Timestamp::from_millis(*window)
                    ),
                    field,
                    counted: *counted,
                    billed: *billed,
                });
            }
        }
    }
    differences
}

/// What is compared, in the order of [`Sums`].
const FIELDS: [&str; 14] = [
    "success",
    "error",
    "timeout",
    "out_of_memory",
    "crashed",
    "void",
    "requests",
    "records",
    "init_us",
    "duration_us",
    "billed_ms",
    "memory_mib_ms",
    "billed_100ms",
    "memory_mib_100ms",
];
type Sums = [u128; 14];

/// Account, function, version, MiB, first millisecond of the window.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group(String, String, String, u32, i64);

/// A usage record, as far as it is counted.
#[derive(Deserialize)]
struct Attempt {
    usage_id: String,
    account: String,
    function: String,
    version: String,
    outcome: String,
    memory_mib: u32,
    init_us: u64,
    duration_us: u64,
    billed_ms: u64,
    records: u64,
    requests: u64,
    ended_at: i64,
}

impl Attempt {
    fn group(&self) -> Group {
        Group(
            self.account.clone(),
            self.function.clone(),
            self.version.clone(),
            self.memory_mib,
            self.ended_at - self.ended_at.rem_euclid(WINDOW_MS),
        )
    }

    fn fields(&self) -> Sums {
        let ended = |outcome: &str| u128::from(self.outcome == outcome);
        let charged = 1 - ended("void");
        let memory = u128::from(self.memory_mib);
        let micros = u128::from(self.init_us) + u128::from(self.duration_us);
        let hundreds = micros.div_ceil(100_000).max(1);
        [
            ended("success"),
            ended("error"),
            ended("timeout"),
            ended("out_of_memory"),
            ended("crashed"),
            ended("void"),
            charged * u128::from(self.requests),
            charged * u128::from(self.records),
            charged * u128::from(self.init_us),
            charged * u128::from(self.duration_us),
            charged * u128::from(self.billed_ms),
            charged * u128::from(self.billed_ms) * memory,
            charged * hundreds,
            charged * hundreds * memory,
        ]
    }
}

/// A bill, as far as it is compared.
#[derive(Deserialize)]
struct Bill {
    billing_id: String,
    usage: Range,
    window: Window,
    account: String,
    function: String,
    version: String,
    memory_mib: u32,
    requests: u64,
    invocations: Outcomes,
    records: u64,
    init_us: u64,
    duration_us: u64,
    billed_ms: u64,
    memory_mib_ms: u128,
    billed_100ms: u64,
    memory_mib_100ms: u128,
}

#[derive(Clone, Copy, Deserialize)]
struct Range {
    partition: u32,
    from: u64,
    to: u64,
}

#[derive(Deserialize)]
struct Window {
    start: i64,
}

#[derive(Deserialize)]
struct Outcomes {
    success: u64,
    error: u64,
    timeout: u64,
    out_of_memory: u64,
    crashed: u64,
    void: u64,
}

impl Bill {
    fn group(&self) -> Group {
        Group(
            self.account.clone(),
            self.function.clone(),
            self.version.clone(),
            self.memory_mib,
            self.window.start,
        )
    }

    fn fields(&self) -> Sums {
        [
            self.invocations.success.into(),
            self.invocations.error.into(),
            self.invocations.timeout.into(),
            self.invocations.out_of_memory.into(),
            self.invocations.crashed.into(),
            self.invocations.void.into(),
            self.requests.into(),
            self.records.into(),
            self.init_us.into(),
            self.duration_us.into(),
            self.billed_ms.into(),
            self.memory_mib_ms,
            self.billed_100ms.into(),
            self.memory_mib_100ms,
        ]
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event_log::{Offset, Partition};

    use super::*;
    use crate::testing::usage;
    use crate::{BillingRecord, Fold, UsageRange, UsageRecord};

    fn raw(offset: u64, value: impl Into<Bytes>) -> RawRecord {
        RawRecord {
            partition: Partition::new(0),
            offset: Offset::new(offset),
            value: value.into(),
        }
    }

    fn raw_usage(usage: &[UsageRecord]) -> Vec<RawRecord> {
        let values = usage.iter().map(|usage| usage.to_record().value.unwrap());
        (0..)
            .zip(values)
            .map(|(offset, value)| raw(offset, value))
            .collect()
    }

    fn bill(usage: &[UsageRecord], from: usize, to: usize) -> Vec<RawRecord> {
        let mut fold = Fold::default();
        for usage in &usage[from..to] {
            fold.add(usage).unwrap();
        }
        let range = UsageRange {
            partition: Partition::new(0),
            from: Offset::new(from as u64),
            to: Offset::new(to as u64),
        };
        fold.groups()
            .map(|(key, group)| {
                let record = BillingRecord::new(range, key, group).to_record(group);
                raw(from as u64, record.value.unwrap())
            })
            .collect()
    }

    fn three() -> Vec<UsageRecord> {
        (0..3).map(usage).collect()
    }

    #[test]
    fn right_bills_have_no_difference_even_when_delivered_twice() {
        let usage = three();
        let mut billing = bill(&usage, 0, 2);
        billing.extend(bill(&usage, 2, 3));
        billing.extend(bill(&usage, 0, 2));
        let verdict = recount(billing, raw_usage(&usage), &BTreeMap::new());
        assert!(verdict.is_exact(), "{verdict:?}");
        assert_eq!((verdict.usage_records, verdict.unbilled), (3, 0));
        assert_eq!((verdict.bills, verdict.repeated_bills), (2, 1));
    }

    #[test]
    fn a_millisecond_too_much_is_named() {
        let usage = three();
        let mut wrong = usage.clone();
        wrong[1].billed_ms += 1;
        let verdict = recount(bill(&wrong, 0, 3), raw_usage(&usage), &BTreeMap::new());
        let fields: Vec<_> = verdict.differences.iter().map(|it| it.field).collect();
        assert_eq!(fields, ["billed_ms", "memory_mib_ms"]);
        assert_eq!(
            verdict.differences[0].billed,
            verdict.differences[0].counted + 1
        );
        assert!(!verdict.is_exact());
    }

    #[test]
    fn usage_that_is_billed_twice_or_not_at_all_is_named() {
        let usage = three();
        let mut twice = bill(&usage, 0, 3);
        twice.extend(bill(&usage, 1, 3));
        assert!(!recount(twice, raw_usage(&usage), &BTreeMap::new()).is_exact());
        let mut gap = bill(&usage, 0, 1);
        gap.extend(bill(&usage, 2, 3));
        assert!(!recount(gap, raw_usage(&usage), &BTreeMap::new()).is_exact());
    }

    #[test]
    fn a_usage_record_that_is_in_the_log_twice_is_named() {
        let mut usage = three();
        usage[2] = usage[0].clone();
        let verdict = recount(bill(&usage, 0, 3), raw_usage(&usage), &BTreeMap::new());
        assert_eq!(verdict.duplicates, [usage[0].usage_id.to_string()]);
        assert!(!verdict.is_exact());
    }

    #[test]
    fn what_metering_has_not_reached_is_unbilled_and_no_difference() {
        let usage = three();
        let verdict = recount(bill(&usage, 0, 2), raw_usage(&usage), &BTreeMap::new());
        assert!(verdict.is_exact(), "{verdict:?}");
        assert_eq!(verdict.unbilled, 1);
    }

    #[test]
    fn bills_whose_usage_has_left_the_log_are_left_out() {
        let usage = three();
        let mut billing = bill(&usage, 0, 2);
        billing.extend(bill(&usage, 2, 3));
        let kept = raw_usage(&usage).into_iter().skip(1);
        let verdict = recount(billing, kept, &BTreeMap::from([(0, 1)]));
        assert!(verdict.is_exact(), "{verdict:?}");
        assert_eq!((verdict.beyond_recount, verdict.usage_records), (1, 1));
    }

    #[test]
    fn records_that_cannot_be_read_are_named_by_place() {
        let usage = three();
        let mut raw_records = raw_usage(&usage);
        raw_records[1].value = Bytes::from_static(b"{");
        let billing = vec![raw(7, "no bill")];
        let verdict = recount(billing, Vec::new(), &BTreeMap::new());
        assert!(verdict.unreadable[0].starts_with("bill 0@7"), "{verdict:?}");
        let verdict = recount(bill(&usage, 0, 3), raw_records, &BTreeMap::new());
        assert!(
            verdict.unreadable[0].starts_with("usage 0@1"),
            "{verdict:?}"
        );
    }
}
