//! From `tidemill.usage` to `tidemill.billing`.
//!
//! A consumer of the log like any other: it folds the usage above its checkpoint and settles the
//! deltas together with the new checkpoint, all or nothing. After a crash it resumes at the
//! checkpoint, so every usage record is in exactly one delta (invariant M2). A newer [`Metering`]
//! on the same node fences an older one; nodes that share a log each bill the partitions in their
//! share.

mod biller;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use event_log::{ConsumerId, Offset, Partition, Share, SharedLog, TopicName, TopicPartition};
use futures::future::{select_all, try_join_all};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::biller::Biller;
use crate::{Error, UsageRecord};

/// How long to leave a full disk alone.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(5);
/// How long to leave a cluster alone that does not answer.
const CLUSTER_PAUSE: Duration = Duration::from_secs(1);

/// How often somebody who waits for bills of other nodes looks for them.
const LOOK: Duration = Duration::from_millis(50);

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

/// Why billing came to an end.
enum Ended {
    Stopped,
    /// What this node bills may be something else now.
    ShareChanged,
}

/// The first unbilled offset of each usage partition that this node bills.
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
    /// [`Error::Log`] when the log refuses: fenced by a newer run, damaged, closed. A full disk and a
    /// cluster that does not answer are waited for.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let mut share = self.log.share();
        let mut biller = Biller::open(Arc::clone(&self.log), self.settings.partitions).await?;
        loop {
            // Copied first: the log waits for whoever still looks at the share it has changed, and
            // the biller asks the log.
            let held = *share.borrow_and_update();
            biller.hold(held)?;
            match self.bill(&mut biller, &mut share, &stop).await {
                Ok(Ended::Stopped) => return Ok(()),
                Ok(Ended::ShareChanged) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Bills what the biller holds.
    async fn bill(
        &self,
        biller: &mut Biller,
        share: &mut watch::Receiver<Share>,
        stop: &CancellationToken,
    ) -> Result<Ended, Error> {
        self.settled.send_replace(biller.reached());
        let mut tails = biller.tails()?;
        loop {
            if !biller.is_behind(&mut tails) {
                tokio::select! {
                    biased;
                    grown = any_grown(&mut tails) => grown?,
                    Ok(()) = share.changed() => return Ok(Ended::ShareChanged),
                    () = self.hurry.notified() => continue,
                    () = stop.cancelled() => return Ok(Ended::Stopped),
                }
            }
            let deadline = Instant::now() + self.settings.settle_after;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.hurry.notified() => {}
                () = tokio::time::sleep_until(deadline) => {}
            }
            // Other nodes go on using: a node that stops bills what there is now.
            let mut last: Option<Vec<Offset>> = None;
            while biller.is_behind(&mut tails) {
                if stop.is_cancelled() {
                    let ends = || tails.iter().map(|tail| *tail.borrow()).collect();
                    let last = last.get_or_insert_with(ends);
                    let reached = biller.reached();
                    if reached.values().zip(last).all(|(next, end)| next >= end) {
                        return Ok(Ended::Stopped);
                    }
                }
                match biller.settle(&self.clock).await {
                    Ok(()) => {
                        self.settled.send_replace(biller.reached());
                    }
                    Err(Error::Log {
                        source: event_log::Error::NotHeld { .. },
                        ..
                    }) => return Ok(Ended::ShareChanged),
                    Err(Error::Log { act, source }) => {
                        let (pause, reason) = match &source {
                            event_log::Error::Full { .. } => (FULL_DISK_PAUSE, "the disk is full"),
                            event_log::Error::Unavailable { .. } => {
                                (CLUSTER_PAUSE, "the cluster does not answer")
                            }
                            _ => return Err(Error::Log { act, source }),
                        };
                        tracing::warn!(error = %source, "{act}: {reason}, billing waits");
                        tokio::select! {
                            () = stop.cancelled() => return Ok(Ended::Stopped),
                            () = tokio::time::sleep_until(Instant::now() + pause) => {}
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            if stop.is_cancelled() {
                return Ok(Ended::Stopped);
            }
        }
    }
}

/// Returns when one of the partitions has grown; never without any.
async fn any_grown(tails: &mut [watch::Receiver<Offset>]) -> Result<(), Error> {
    if tails.is_empty() {
        return std::future::pending().await;
    }
    let changes = tails.iter_mut().map(|tail| Box::pin(tail.changed()));
    let (grown, ..) = select_all(changes).await;
    grown.map_err(|_| Error::Log {
        act: format!("follow {}", UsageRecord::TOPIC),
        source: event_log::Error::Closed,
    })
}

impl Progress {
    /// Asks for an immediate settlement and waits until every usage record that is in the log now has
    /// been billed, by whichever node bills it.
    ///
    /// # Errors
    /// [`Error::Stopped`] when metering ends before; [`Error::Log`] when the log cannot say where
    /// usage ends.
    pub async fn caught_up(&self) -> Result<(), Error> {
        let mut ends = self.ends().await?;
        let (mut settled, mut unbilled) = (self.settled.clone(), None);
        loop {
            settled.mark_unchanged();
            if self.is_billed(&mut ends, &mut unbilled).await? {
                return Ok(());
            }
            self.hurry.notify_one();
            let alone = *self.log.share().borrow() == Share::all();
            // Nobody tells of what another node has billed.
            let look = async {
                match alone {
                    true => std::future::pending().await,
                    false => tokio::time::sleep_until(Instant::now() + LOOK).await,
                }
            };
            tokio::select! {
                changed = settled.changed() => changed.map_err(|_| Error::Stopped)?,
                () = look => {}
            }
        }
    }

    /// Whether no usage record below `ends` is unbilled. Keeps in `ends` what was not found to be billed,
    /// and in `unbilled` where usage was found that is not: nothing is read twice.
    async fn is_billed(
        &self,
        ends: &mut BTreeMap<TopicPartition, Offset>,
        unbilled: &mut Option<(TopicPartition, Offset)>,
    ) -> Result<bool, Error> {
        while let Some((partition, end)) = ends.first_key_value() {
            let next = self.billed_to(partition)?;
            let here = Some((partition.clone(), next));
            if *unbilled == here {
                return Ok(false);
            }
            let found = self.log.has_records(partition, next, *end).await;
            if found.map_err(Error::log(format!("look for usage in {partition}")))? {
                *unbilled = here;
                return Ok(false);
            }
            ends.pop_first();
        }
        Ok(true)
    }

    /// Usage records that are in the log and not billed yet; on a cluster, markers of transactions
    /// after the last of them count, too.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot say where usage ends.
    pub async fn unbilled(&self) -> Result<u64, Error> {
        let mut behind = 0;
        for (partition, end) in self.ends().await? {
            let next = self.billed_to(&partition)?;
            behind += end.get().saturating_sub(next.get());
        }
        Ok(behind)
    }

    /// The first offset of a usage partition that is not billed, as far as is known here.
    fn billed_to(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        let consumer = ConsumerId::new(biller::CONSUMER);
        let held = self.log.share().borrow().holds(&consumer, partition);
        let next = match held {
            true => self.settled.borrow().get(&partition.partition).copied(),
            false => self
                .log
                .checkpoint(&consumer, partition)
                .map(|checkpoint| checkpoint.next),
        };
        let first = self.log.bounds(partition).map(|bounds| bounds.start);
        let first = first.map_err(Error::log(format!("find the start of {partition}")))?;
        Ok(next.unwrap_or_default().max(first))
    }

    async fn ends(&self) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        let topic = TopicName::new(UsageRecord::TOPIC).expect("the name is legal");
        let Some(topic) = self.log.topic(&topic) else {
            return Ok(BTreeMap::new());
        };
        // At once: a cluster answers many questions in one.
        let ends = topic.partitions().map(async |partition| {
            let end = self.log.end(&partition).await;
            let end = end.map_err(Error::log(format!("find the end of {partition}")))?;
            Ok((partition, end))
        });
        Ok(try_join_all(ends).await?.into_iter().collect())
    }
}

#[cfg(test)]
mod crashing;
#[cfg(test)]
mod tests;
