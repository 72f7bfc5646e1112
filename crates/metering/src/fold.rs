//! The pure fold of usage into billing windows.

use std::collections::BTreeMap;

use clock::Timestamp;

use crate::{Invocations, Span, Totals, UsageOutcome, UsageRecord, WindowKey};

/// The longest attempt that is believed: a day. AWS's longest is 15 minutes; a record beyond this
/// is damaged, and refusing it keeps every sum far from overflow.
const LONGEST_ATTEMPT_US: u64 = 24 * 60 * 60 * 1_000_000;
/// The most request units that one attempt can cost: a payload has far fewer parts of 64 KiB.
const MOST_REQUESTS: u64 = 1 << 20;

/// Usage summed by window key. Knows no offsets and no log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fold {
    groups: BTreeMap<WindowKey, Group>,
}

/// One window key's part of a fold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// What was used.
    pub totals: Totals,
    /// When the last of its attempts ended.
    pub last_ended_at: Timestamp,
}

/// A usage record that no attempt can have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("usage record {usage_id} is implausible: {field} is {value}")]
pub struct Implausible {
    usage_id: String,
    field: &'static str,
    value: u64,
}

impl Fold {
    /// Adds one attempt.
    ///
    /// # Errors
    /// [`Implausible`] when its numbers cannot be; nothing is added then.
    pub fn add(&mut self, usage: &UsageRecord) -> Result<(), Implausible> {
        let totals = totals_of(usage)?;
        let key = WindowKey {
            window: Span::billing_window(usage.ended_at),
            account: usage.account.clone(),
            function: usage.function.clone(),
            version: usage.version.clone(),
            memory_mib: usage.memory_mib,
        };
        let group = self.groups.entry(key).or_insert(Group {
            totals: Totals::default(),
            last_ended_at: usage.ended_at,
        });
        group.totals += totals;
        group.last_ended_at = group.last_ended_at.max(usage.ended_at);
        Ok(())
    }

    /// How many window keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The sums, in the order of their keys.
    pub fn groups(&self) -> impl Iterator<Item = (&WindowKey, &Group)> {
        self.groups.iter()
    }
}

fn totals_of(usage: &UsageRecord) -> Result<Totals, Implausible> {
    for (field, value, most) in [
        ("init_us", usage.init_us, LONGEST_ATTEMPT_US),
        ("duration_us", usage.duration_us, LONGEST_ATTEMPT_US),
        ("billed_ms", usage.billed_ms, 2 * LONGEST_ATTEMPT_US / 1_000),
        ("requests", usage.requests, MOST_REQUESTS),
    ] {
        if value > most {
            return Err(Implausible {
                usage_id: usage.usage_id.to_string(),
                field,
                value,
            });
        }
    }
    let mut invocations = Invocations::default();
    invocations.count(usage.outcome);
    if usage.outcome == UsageOutcome::Void {
        // Whatever else it says: what we cut off is never charged.
        return Ok(Totals {
            invocations,
            ..Totals::default()
        });
    }
    let memory_mib = u128::from(usage.memory_mib);
    let billed_100ms = (usage.init_us + usage.duration_us).div_ceil(100_000).max(1);
    Ok(Totals {
        requests: usage.requests,
        invocations,
        records: usage.records.into(),
        init_us: usage.init_us,
        duration_us: usage.duration_us,
        billed_ms: usage.billed_ms,
        memory_mib_ms: u128::from(usage.billed_ms) * memory_mib,
        billed_100ms,
        memory_mib_100ms: u128::from(billed_100ms) * memory_mib,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::usage;

    fn only(fold: &Fold) -> Totals {
        assert_eq!(fold.len(), 1);
        fold.groups().next().unwrap().1.totals
    }

    #[test]
    fn classic_units_are_rounded_per_attempt_and_not_per_sum() {
        let mut fold = Fold::default();
        for n in 0..3 {
            fold.add(&UsageRecord {
                duration_us: 1_000,
                billed_ms: 1,
                memory_mib: 512,
                ..usage(n)
            })
            .unwrap();
        }
        let totals = only(&fold);
        assert_eq!((totals.billed_ms, totals.billed_100ms), (3, 3));
        assert_eq!(totals.memory_mib_100ms, 3 * 512);
    }

    #[test]
    fn a_void_attempt_is_counted_and_never_charged() {
        let mut fold = Fold::default();
        fold.add(&UsageRecord {
            outcome: UsageOutcome::Void,
            billed_ms: 77,
            requests: 9,
            ..usage(1)
        })
        .unwrap();
        let mut expected = Totals::default();
        expected.invocations.void = 1;
        assert_eq!(only(&fold), expected);
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_by_name() {
        let mut fold = Fold::default();
        let refused = fold
            .add(&UsageRecord {
                duration_us: u64::MAX,
                ..usage(1)
            })
            .unwrap_err();
        assert!(refused.to_string().contains("duration_us"), "{refused}");
        assert!(fold.is_empty());
    }
}
