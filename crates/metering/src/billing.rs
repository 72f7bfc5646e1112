//! What the topic `tidemill.billing` holds.

use std::fmt;

use event::Record;
use event_log::{Offset, Partition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fold::Group;
use crate::{Invocations, Span, Totals, WindowKey};

/// A **delta**: what the usage records of one range of one partition of `tidemill.usage` add to one
/// billing window of one function.
///
/// The bill of a window is the sum of its deltas, so nothing ever closes a window and a late record
/// is one more delta. The ranges of one usage partition are disjoint and ascending; a reader that
/// meets a `billing_id` again has met the same delta again and drops it.
///
/// On the wire it is one JSON object, keyed by `account/function`; times are milliseconds since the
/// epoch, fields are only ever added. One delta covers at most 10,000 usage records, so each of its
/// numbers is below 2^53 and exact in every JSON reader. The record's own time is that of the last
/// attempt in it: a replay writes the same bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillingRecord {
    /// The delta's identity.
    pub billing_id: BillingId,
    /// The usage it sums.
    pub usage: UsageRange,
    /// The billing window.
    pub window: Span,
    /// The account that pays.
    pub account: String,
    /// The function.
    pub function: String,
    /// The version that ran.
    pub version: String,
    /// Configured memory, MiB.
    pub memory_mib: u32,
    /// Request units charged.
    pub requests: u64,
    /// Attempts by how they ended.
    pub invocations: Invocations,
    /// Events in the batches of charged attempts.
    pub records: u64,
    /// Time of initialisation, microseconds.
    pub init_us: u64,
    /// Time of running, microseconds.
    pub duration_us: u64,
    /// Milliseconds charged.
    pub billed_ms: u64,
    /// `billed_ms` × `memory_mib`.
    pub memory_mib_ms: u128,
    /// Units of 100 ms charged, each attempt rounded up on its own.
    pub billed_100ms: u64,
    /// `billed_100ms` × `memory_mib`.
    pub memory_mib_100ms: u128,
}

/// A half-open range of one partition of `tidemill.usage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UsageRange {
    /// The partition.
    pub partition: Partition,
    /// The first offset of it.
    pub from: Offset,
    /// The first offset after it.
    pub to: Offset,
}

/// A delta's identity: 128 bits of SHA-256 over usage partition, first offset and window key, as 32
/// hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BillingId(String);

impl BillingRecord {
    /// The topic that holds every bill.
    pub const TOPIC: &str = "tidemill.billing";

    /// The delta of `group` for `key`, out of the usage in `range`.
    #[must_use]
    pub fn new(range: UsageRange, key: &WindowKey, group: &Group) -> Self {
        let totals = group.totals;
        Self {
            billing_id: BillingId::of(range.partition, range.from, key),
            usage: range,
            window: key.window,
            account: key.account.clone(),
            function: key.function.clone(),
            version: key.version.clone(),
            memory_mib: key.memory_mib,
            requests: totals.requests,
            invocations: totals.invocations,
            records: totals.records,
            init_us: totals.init_us,
            duration_us: totals.duration_us,
            billed_ms: totals.billed_ms,
            memory_mib_ms: totals.memory_mib_ms,
            billed_100ms: totals.billed_100ms,
            memory_mib_100ms: totals.memory_mib_100ms,
        }
    }

    /// What the delta adds up to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            requests: self.requests,
            invocations: self.invocations,
            records: self.records,
            init_us: self.init_us,
            duration_us: self.duration_us,
            billed_ms: self.billed_ms,
            memory_mib_ms: self.memory_mib_ms,
            billed_100ms: self.billed_100ms,
            memory_mib_100ms: self.memory_mib_100ms,
        }
    }

    /// What the delta is summed by.
    #[must_use]
    pub fn key(&self) -> WindowKey {
        WindowKey {
            window: self.window,
            account: self.account.clone(),
            function: self.function.clone(),
            version: self.version.clone(),
            memory_mib: self.memory_mib,
        }
    }

    /// The record that carries it.
    ///
    /// # Panics
    /// Never: every field has a JSON form.
    #[must_use]
    pub fn to_record(&self, group: &Group) -> Record {
        let value = serde_json::to_vec(self).expect("a billing record is plain data");
        Record::new(value, group.last_ended_at)
            .with_key(format!("{}/{}", self.account, self.function))
    }
}

impl BillingId {
    fn of(partition: Partition, from: Offset, key: &WindowKey) -> Self {
        let mut hash = Sha256::new();
        hash.update(partition.index().to_be_bytes());
        hash.update(from.get().to_be_bytes());
        hash.update(key.window.start.as_millis().to_be_bytes());
        hash.update(key.memory_mib.to_be_bytes());
        for part in [&key.account, &key.function, &key.version] {
            // The length keeps neighbouring fields apart.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hex::encode(&hash.finalize()[..16]))
    }

    /// The identity as 32 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BillingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fold;
    use crate::testing::usage;

    #[test]
    fn the_wire_format_is_this_json() {
        let mut fold = Fold::default();
        fold.add(&usage(1)).unwrap();
        fold.add(&usage(2)).unwrap();
        let range = UsageRange {
            partition: Partition::new(3),
            from: Offset::new(120),
            to: Offset::new(122),
        };
        let (key, group) = fold.groups().next().unwrap();
        let billing = BillingRecord::new(range, key, group);
        let record = billing.to_record(group);
        let golden = concat!(
            r#"{"billing_id":"ID","usage":{"partition":3,"from":120,"to":122},"#,
            r#""window":{"start":1795212000000,"end":1795215600000},"#,
            r#""account":"000000000000","function":"f","version":"$LATEST","memory_mib":128,"#,
            r#""requests":2,"invocations":{"success":2,"error":0,"timeout":0,"out_of_memory":0,"#,
            r#""crashed":0,"void":0},"records":2,"init_us":0,"duration_us":8400,"billed_ms":10,"#,
            r#""memory_mib_ms":1280,"billed_100ms":2,"memory_mib_100ms":256}"#
        )
        .replace("ID", billing.billing_id.as_str());
        let value = record.value.unwrap();
        assert_eq!(std::str::from_utf8(&value).unwrap(), golden);
        assert_eq!(
            serde_json::from_slice::<BillingRecord>(&value).unwrap(),
            billing
        );
        assert_eq!(record.key.unwrap(), "000000000000/f");
        assert_eq!(record.timestamp, usage(1).ended_at);
    }
}
