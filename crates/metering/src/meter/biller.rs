//! One run's work: read, fold, settle.

use std::collections::BTreeMap;

use clock::SharedClock;
use event::Record;
use event_log::{
    Append, CheckpointUpdate, ConsumerId, Epoch, Lifetime, Offset, OwnerId, Partition, RecordBatch,
    Rule, Settlement, Share, SharedLog, Topic, TopicConfig, TopicName, TopicPartition, Writer,
    end_of_damage,
};
use tokio::sync::watch;

use super::Settled;
use crate::read::{READ_BYTES, read_chunk};
use crate::{BillingRecord, Error, Fold, UsageRange, UsageRecord};

/// Usage records that one settlement bills at most: bounds memory and the numbers of a delta.
pub(super) const MAX_RECORDS: u64 = 10_000;
/// Deltas that one settlement writes at most: about 600 KiB, well below what a log takes at once.
const MAX_DELTAS: usize = 1_000;
/// Whose checkpoints say how far usage has been billed.
pub(super) const CONSUMER: &str = "billing";
/// Who writes bills.
const OWNER: &str = "metering";

/// The state of one run.
pub(super) struct Biller {
    log: SharedLog,
    epoch: Epoch,
    usage: Topic,
    billing: Topic,
    cursors: Vec<Cursor>,
}

/// How far one usage partition has been billed.
struct Cursor {
    partition: TopicPartition,
    next: Offset,
    revision: u64,
}

/// What one settlement says of one usage partition.
struct Folded {
    cursor: usize,
    to: Offset,
    fold: Fold,
}

impl Biller {
    pub(super) async fn open(log: SharedLog, partitions: u32) -> Result<Self, Error> {
        let usage = ensure(&log, UsageRecord::TOPIC, Lifetime::Events, partitions).await?;
        let billing = ensure(&log, BillingRecord::TOPIC, Lifetime::LongLived, partitions).await?;
        let epoch = log
            .open_epoch(&OwnerId::new(OWNER))
            .await
            .map_err(Error::log("open metering's epoch"))?;
        Ok(Self {
            log,
            epoch,
            usage,
            billing,
            cursors: Vec::new(),
        })
    }

    /// Bills, from the checkpoints on, the partitions that `share` holds and no others.
    pub(super) fn hold(&mut self, share: Share) -> Result<(), Error> {
        let consumer = ConsumerId::new(CONSUMER);
        self.cursors.clear();
        for partition in self.usage.partitions() {
            if !share.holds(&consumer, &partition) {
                continue;
            }
            let checkpoint = self.log.checkpoint(&consumer, &partition);
            let checkpoint = checkpoint.unwrap_or_default();
            let bounds = self
                .log
                .bounds(&partition)
                .map_err(Error::log(format!("find the bounds of {partition}")))?;
            if checkpoint.next < bounds.start {
                tracing::error!(
                    %partition,
                    from = checkpoint.next.get(),
                    to = bounds.start.get(),
                    "usage has left the log before it was billed"
                );
            }
            self.cursors.push(Cursor {
                next: checkpoint.next.max(bounds.start),
                revision: checkpoint.revision,
                partition,
            });
        }
        Ok(())
    }

    /// The ends of the usage partitions as they grow.
    pub(super) fn tails(&self) -> Result<Vec<watch::Receiver<Offset>>, Error> {
        self.cursors
            .iter()
            .map(|cursor| {
                self.log
                    .tail(&cursor.partition)
                    .map_err(Error::log(format!("follow {}", cursor.partition)))
            })
            .collect()
    }

    /// Whether there is unbilled usage.
    pub(super) fn is_behind(&self, tails: &mut [watch::Receiver<Offset>]) -> bool {
        let mut behind = false;
        for (cursor, tail) in self.cursors.iter().zip(tails) {
            behind |= *tail.borrow_and_update() > cursor.next;
        }
        behind
    }

    /// The first unbilled offset of each usage partition.
    pub(super) fn reached(&self) -> Settled {
        self.cursors
            .iter()
            .map(|cursor| (cursor.partition.partition, cursor.next))
            .collect()
    }

    /// Bills up to [`MAX_RECORDS`] usage records: reads, folds, settles. Changes nothing on error.
    pub(super) async fn settle(&mut self, clock: &SharedClock) -> Result<(), Error> {
        let mut left = MAX_RECORDS;
        let mut folded: Vec<Folded> = Vec::new();
        for index in 0..self.cursors.len() {
            let deltas: usize = folded.iter().map(|folded| folded.fold.len()).sum();
            if left == 0 || deltas >= MAX_DELTAS {
                break;
            }
            let partition = self.fold(index, &mut left, MAX_DELTAS - deltas).await?;
            folded.extend(partition);
        }
        let settlement = self.settlement(&folded);
        // Nothing but unreadable records: the next settlement with a bill moves the checkpoint. A
        // checkpoint on its own would go to the journal of events, away from the bills.
        let revisions = u64::from(!settlement.appends.is_empty());
        if revisions > 0 {
            self.log
                .commit(settlement)
                .await
                .map_err(Error::log("settle bills"))?;
        }
        let oldest = folded
            .iter()
            .flat_map(|folded| folded.fold.groups())
            .map(|(_, group)| group.last_ended_at)
            .min();
        if let Some(oldest) = oldest {
            metrics::histogram!("tidemill_metering_delay_seconds")
                .record(clock.now().since(oldest).as_secs_f64());
        }
        metrics::counter!("tidemill_metering_usage_records_total").increment(MAX_RECORDS - left);
        for Folded { cursor, to, .. } in folded {
            self.cursors[cursor].next = to;
            self.cursors[cursor].revision += revisions;
        }
        Ok(())
    }

    /// Folds what one partition has, up to `left` records and `deltas` deltas. `None` for nothing.
    async fn fold(
        &self,
        index: usize,
        left: &mut u64,
        deltas: usize,
    ) -> Result<Option<Folded>, Error> {
        let Cursor {
            partition, next, ..
        } = &self.cursors[index];
        let end = self
            .log
            .bounds(partition)
            .map_err(Error::log(format!("find the end of {partition}")))?
            .end;
        let mut fold = Fold::default();
        let mut to = *next;
        while to < end && *left > 0 && fold.len() < deltas {
            let read = read_chunk(&self.log, partition, to, READ_BYTES).await;
            let (records, chunk_end) = match read {
                Err(Error::Log {
                    source: damage @ event_log::Error::Corrupt { .. },
                    ..
                }) => {
                    let lost_to = end_of_damage(&*self.log, partition, to, end, &damage).await;
                    report_lost(partition, to, lost_to, &damage);
                    (Vec::new(), lost_to)
                }
                read => read?,
            };
            let begun_at = to;
            for raw in records {
                if *left == 0 || fold.len() >= deltas {
                    return Ok(Some(Folded {
                        cursor: index,
                        to,
                        fold,
                    }));
                }
                add(&mut fold, partition, raw.offset, &raw.value);
                *left -= 1;
                to = raw.offset.next();
            }
            // Offsets without records (control batches) are passed over too.
            to = to.max(chunk_end);
            if to == begun_at {
                break;
            }
        }
        Ok((to > *next).then_some(Folded {
            cursor: index,
            to,
            fold,
        }))
    }

    fn settlement(&self, folded: &[Folded]) -> Settlement {
        let mut bills: BTreeMap<TopicPartition, Vec<Record>> = BTreeMap::new();
        let mut checkpoints = Vec::new();
        for Folded { cursor, to, fold } in folded {
            let cursor = &self.cursors[*cursor];
            let range = UsageRange {
                partition: cursor.partition.partition,
                from: cursor.next,
                to: *to,
            };
            for (key, group) in fold.groups() {
                let record = BillingRecord::new(range, key, group).to_record(group);
                let partition = record.key.as_ref().map_or_else(
                    || self.billing.name.partition(Partition::new(0)),
                    |key| self.billing.partition_for(key),
                );
                bills.entry(partition).or_default().push(record);
            }
            checkpoints.push(CheckpointUpdate {
                consumer: ConsumerId::new(CONSUMER),
                partition: cursor.partition.clone(),
                next: *to,
                finished_above: Vec::new(),
                metadata: bytes::Bytes::new(),
                rule: Rule::Advance {
                    expected_revision: cursor.revision,
                },
            });
        }
        Settlement {
            appends: bills
                .into_iter()
                .filter_map(|(to, records)| {
                    RecordBatch::of(&records).map(|batch| Append { to, batch })
                })
                .collect(),
            checkpoints,
            positions: Vec::new(),
            writer: Some(Writer {
                owner: OwnerId::new(OWNER),
                epoch: self.epoch,
            }),
        }
    }
}

/// Adds one record to the fold. One that is no usage record is reported, counted and passed over:
/// it must not stop every other function's bill. The recount finds it again.
fn add(fold: &mut Fold, partition: &TopicPartition, offset: Offset, value: &[u8]) {
    let refused = match serde_json::from_slice::<UsageRecord>(value) {
        Ok(usage) => match fold.add(&usage) {
            Ok(()) => return,
            Err(implausible) => implausible.to_string(),
        },
        Err(error) => error.to_string(),
    };
    metrics::counter!("tidemill_metering_unreadable_records_total").increment(1);
    tracing::error!(
        %partition,
        offset = offset.get(),
        error = refused,
        "a usage record cannot be billed"
    );
}

/// Says which usage the log has lost. It is passed over like a record that cannot be read.
fn report_lost(partition: &TopicPartition, from: Offset, to: Offset, damage: &event_log::Error) {
    metrics::counter!("tidemill_metering_lost_offsets_total").increment(to.get() - from.get());
    tracing::error!(
        %partition,
        from = from.get(),
        to = to.get(),
        error = %damage,
        "usage is damaged in the log and will not be billed"
    );
}

pub(super) async fn ensure(
    log: &SharedLog,
    name: &str,
    lifetime: Lifetime,
    partitions: u32,
) -> Result<Topic, Error> {
    let name = TopicName::new(name).expect("our topics' names are legal");
    let config = TopicConfig::new(partitions, lifetime);
    log.ensure_topic(&name, config)
        .await
        .map_err(Error::log(format!("create topic {name}")))
}
