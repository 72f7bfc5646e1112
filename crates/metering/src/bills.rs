//! The billing topic, summed as it grows.

use std::collections::{BTreeMap, HashSet};

use event_log::{Offset, SharedLog, TopicName, TopicPartition};

use crate::read::{READ_BYTES, parse_bill, read_chunk};
use crate::{BillingId, BillingRecord, Error, PriceSheet, Report, Span, Totals, WindowKey};

/// The sums of the bills seen so far, for whoever wants a [`Report`] again and again without reading
/// the whole topic each time. A bill that comes more than once counts once.
#[derive(Clone, Debug, Default)]
pub struct Bills {
    next: BTreeMap<TopicPartition, Offset>,
    seen: HashSet<BillingId>,
    totals: BTreeMap<WindowKey, Totals>,
}

impl Bills {
    /// Adds one bill.
    pub fn add(&mut self, bill: &BillingRecord) {
        if self.seen.insert(bill.billing_id.clone()) {
            *self.totals.entry(bill.key()).or_default() += bill.totals();
        }
    }

    /// Adds what has come into the billing topic of `log` since the last call. Dropped halfway, it
    /// goes on where it was.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot read.
    ///
    /// # Panics
    /// Never: the topic's name is legal.
    pub async fn read_on(&mut self, log: &SharedLog) -> Result<(), Error> {
        let name = TopicName::new(BillingRecord::TOPIC).expect("the name is legal");
        let Some(topic) = log.topic(&name) else {
            return Ok(());
        };
        for partition in topic.partitions() {
            let bounds = log
                .bounds(&partition)
                .map_err(Error::log(format!("find the bounds of {partition}")))?;
            let mut next = self.next.get(&partition).copied().unwrap_or(Offset::ZERO);
            next = next.max(bounds.start);
            while next < bounds.end {
                let (records, end) = read_chunk(log, &partition, next, READ_BYTES).await?;
                for bill in records.iter().filter_map(parse_bill) {
                    self.add(&bill);
                }
                if end <= next {
                    break;
                }
                next = end;
                self.next.insert(partition.clone(), next);
            }
        }
        Ok(())
    }

    /// The report over `range` (every window that begins in it), or over all there is.
    #[must_use]
    pub fn report(&self, range: Option<Span>, sheet: PriceSheet) -> Report {
        let wanted = |key: &WindowKey| range.is_none_or(|it| it.contains(key.window.start));
        let totals: BTreeMap<WindowKey, Totals> = self
            .totals
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, totals)| (key.clone(), *totals))
            .collect();
        Report::new(range, sheet, totals)
    }
}
