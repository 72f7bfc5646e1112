//! From `tidemill.usage` to `tidemill.billing`.
//!
//! A consumer of the log like any other: it folds the usage above its checkpoint and settles the
//! deltas together with the new checkpoint, all or nothing. After a crash it resumes at the
//! checkpoint, so every usage record is in exactly one delta (invariant M2). A newer [`Metering`]
//! on the same log fences an older one.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use event::Record;
use event_log::{
    Append, CheckpointUpdate, ConsumerId, Epoch, Lifetime, Offset, OwnerId, Partition, RecordBatch,
    Rule, Settlement, SharedLog, Topic, TopicConfig, TopicName, TopicPartition, Writer,
};
use futures::future::select_all;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::read::{READ_BYTES, read_chunk};
use crate::{BillingRecord, Error, Fold, UsageRange, UsageRecord};

/// Usage records that one settlement bills at most: bounds memory and the numbers of a delta.
const MAX_RECORDS: u64 = 10_000;
/// Deltas that one settlement writes at most: about 600 KiB, well below what a log takes at once.
const MAX_DELTAS: usize = 1_000;
/// How long to leave a full disk alone.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(5);
/// Whose checkpoints say how far usage has been billed.
const CONSUMER: &str = "billing";
/// Who writes bills.
const OWNER: &str = "metering";

/// How metering runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long the first unbilled usage record waits for others: fewer and larger deltas.
    pub settle_after: Duration,
    /// Partitions of the two topics where metering has to create them.
    pub partitions: u32,
}

/// The part that bills. Nothing happens before [`run`](Self::run).
#[derive(Debug)]
pub struct Metering {
    log: SharedLog,
    clock: SharedClock,
    settings: Settings,
    settled: watch::Sender<Settled>,
    hurry: Arc<Notify>,
}

/// A view of how far billing has come. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress {
    log: SharedLog,
    settled: watch::Receiver<Settled>,
    hurry: Arc<Notify>,
}

/// The first unbilled offset of each usage partition.
type Settled = BTreeMap<Partition, Offset>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle_after: Duration::from_secs(1),
            partitions: 8,
        }
    }
}

impl Metering {
    /// Metering over `log`.
    #[must_use]
    pub fn new(log: SharedLog, clock: SharedClock, settings: Settings) -> Self {
        Self {
            log,
            clock,
            settings,
            settled: watch::Sender::new(Settled::new()),
            hurry: Arc::new(Notify::new()),
        }
    }

    /// How far billing has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            log: Arc::clone(&self.log),
            settled: self.settled.subscribe(),
            hurry: Arc::clone(&self.hurry),
        }
    }

    /// Bills until `stop`, then bills what is there and returns. Idle while no usage arrives.
    /// Dropping the future loses nothing: the next run resumes at the checkpoint.
    ///
    /// # Errors
    /// [`Error::Log`] when the log refuses: fenced by a newer run, damaged, closed. A full disk is
    /// waited for.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let mut meter = Meter::open(&self).await?;
        meter.publish(&self.settled);
        let mut tails = meter.tails()?;
        loop {
            if !meter.is_behind(&mut tails) {
                let mut grown = pin!(select_all(
                    tails.iter_mut().map(|tail| Box::pin(tail.changed()))
                ));
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = self.hurry.notified() => continue,
                    (tail, ..) = &mut grown => tail.map_err(|_| Error::Log {
                        act: format!("follow {}", UsageRecord::TOPIC),
                        source: event_log::Error::Closed,
                    })?,
                }
            }
            let deadline = Instant::now() + self.settings.settle_after;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.hurry.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
            while meter.is_behind(&mut tails) {
                match meter.settle(&self.clock).await {
                    Ok(()) => meter.publish(&self.settled),
                    Err(Error::Log {
                        act,
                        source: event_log::Error::Full { source },
                    }) => {
                        tracing::warn!(error = %source, "{act}: the disk is full, billing waits");
                        let retry_at = Instant::now() + FULL_DISK_PAUSE;
                        tokio::select! {
                            () = stop.cancelled() => return Ok(()),
                            () = tokio::time::sleep_until(retry_at) => {}
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }
}

impl Progress {
    /// Asks for an immediate settlement and waits until every usage record that is in the log now
    /// has been billed.
    ///
    /// # Errors
    /// [`Error::Stopped`] when metering ends before; [`Error::Log`] when the log cannot say where
    /// usage ends.
    ///
    /// # Panics
    /// Never: the topic's name is legal.
    pub async fn caught_up(&self) -> Result<(), Error> {
        let topic = TopicName::new(UsageRecord::TOPIC).expect("the name is legal");
        let mut ends = Settled::new();
        if let Some(topic) = self.log.topic(&topic) {
            for partition in topic.partitions() {
                let bounds = self
                    .log
                    .bounds(&partition)
                    .map_err(Error::log(format!("find the end of {partition}")))?;
                ends.insert(partition.partition, bounds.end);
            }
        }
        self.hurry.notify_one();
        let reached = |settled: &Settled| {
            ends.iter().all(|(partition, end)| {
                *end == Offset::ZERO || settled.get(partition).is_some_and(|next| next >= end)
            })
        };
        self.settled
            .clone()
            .wait_for(reached)
            .await
            .map(drop)
            .map_err(|_| Error::Stopped)
    }
}

/// The state of one run.
struct Meter {
    log: SharedLog,
    epoch: Epoch,
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

impl Meter {
    async fn open(metering: &Metering) -> Result<Self, Error> {
        let log = Arc::clone(&metering.log);
        let partitions = metering.settings.partitions;
        let usage = ensure(&log, UsageRecord::TOPIC, Lifetime::Events, partitions).await?;
        let billing = ensure(&log, BillingRecord::TOPIC, Lifetime::LongLived, partitions).await?;
        let epoch = log
            .open_epoch(&OwnerId::new(OWNER))
            .await
            .map_err(Error::log("open metering's epoch"))?;
        let consumer = ConsumerId::new(CONSUMER);
        let mut cursors = Vec::new();
        for partition in usage.partitions() {
            let checkpoint = log.checkpoint(&consumer, &partition).unwrap_or_default();
            let bounds = log
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
            cursors.push(Cursor {
                next: checkpoint.next.max(bounds.start),
                revision: checkpoint.revision,
                partition,
            });
        }
        Ok(Self {
            log,
            epoch,
            billing,
            cursors,
        })
    }

    fn tails(&self) -> Result<Vec<watch::Receiver<Offset>>, Error> {
        self.cursors
            .iter()
            .map(|cursor| {
                self.log
                    .tail(&cursor.partition)
                    .map_err(Error::log(format!("follow {}", cursor.partition)))
            })
            .collect()
    }

    fn is_behind(&self, tails: &mut [watch::Receiver<Offset>]) -> bool {
        let mut behind = false;
        for (cursor, tail) in self.cursors.iter().zip(tails) {
            behind |= *tail.borrow_and_update() > cursor.next;
        }
        behind
    }

    fn publish(&self, settled: &watch::Sender<Settled>) {
        let reached = self.cursors.iter();
        settled.send_replace(
            reached
                .map(|cursor| (cursor.partition.partition, cursor.next))
                .collect(),
        );
    }

    /// Bills up to [`MAX_RECORDS`] usage records: reads, folds, settles. Changes nothing on error.
    async fn settle(&mut self, clock: &SharedClock) -> Result<(), Error> {
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
            let (records, chunk_end) = read_chunk(&self.log, partition, to, READ_BYTES).await?;
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

async fn ensure(
    log: &SharedLog,
    name: &str,
    lifetime: Lifetime,
    partitions: u32,
) -> Result<Topic, Error> {
    let name = TopicName::new(name).expect("our topics' names are legal");
    let config = TopicConfig {
        partitions,
        lifetime,
    };
    log.ensure_topic(&name, config)
        .await
        .map_err(Error::log(format!("create topic {name}")))
}

#[cfg(test)]
mod crashing;
#[cfg(test)]
mod tests;
