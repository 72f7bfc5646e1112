//! The one runner: source in, log out.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use clock::{SharedClock, Timestamp};
use event::{Record, SourceId, SourcePosition};
use event_log::{
    Append, Lifetime, OwnerId, PositionUpdate, RecordBatch, Settlement, SharedLog, Topic,
    TopicConfig, TopicName, TopicPartition, Writer,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Batch, Delivery, Error, Memory, Note, Notice, Notices, Pause, Placement, Source, SourceError,
    TopicPlan, pause_after,
};

/// How a runner runs.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Payload that a source is asked for at once. A single event may be larger.
    pub max_bytes: usize,
    /// After how long without anything a source is asked whether it should have handed over something;
    /// it is asked never when there is none. [`Source::next`] is dropped for it, so it must not be work
    /// that takes longer.
    pub quiet: Option<Duration>,
}

/// Drives one source into the log. Nothing happens before [`run`](Self::run).
#[derive(Debug)]
pub struct Runner {
    source: Box<dyn Source>,
    log: SharedLog,
    clock: SharedClock,
    settings: Settings,
}

impl Default for Settings {
    /// 1 MiB: large enough for full frames in the log, small enough to hold for every source. No
    /// watchdog.
    fn default() -> Self {
        Self {
            max_bytes: 1 << 20,
            quiet: None,
        }
    }
}

/// Why a session with a source ended.
enum Ended {
    /// Open the source again, or give up: the policy decides.
    BySource(SourceError),
    /// Give up.
    For(Error),
}

impl From<SourceError> for Ended {
    fn from(error: SourceError) -> Self {
        Self::BySource(error)
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::For(error)
    }
}

impl Runner {
    /// A runner of `source` into `log`.
    #[must_use]
    pub fn new(
        source: Box<dyn Source>,
        log: SharedLog,
        clock: SharedClock,
        settings: Settings,
    ) -> Self {
        Self {
            source,
            log,
            clock,
            settings,
        }
    }

    /// Runs until `stop`. Dropping the future loses nothing: the next run resumes at the position in
    /// the log.
    ///
    /// # Errors
    /// When going on cannot help: the source rejects or breaks its contract, its topic belongs to
    /// something else, or the log refuses, for example because a newer runner fenced this one.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        self.drive(&stop).await
    }

    /// As [`run`](Self::run), for who may want to go on after an error: driven again, the runner opens
    /// a new epoch, and its source at the position in the log.
    ///
    /// # Errors
    /// As `run`.
    pub async fn drive(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        let id = self.source.id().clone();
        let owner = OwnerId::new(format!("connector/{id}"));
        let epoch = self.log.open_epoch(&owner).await;
        let epoch = epoch.map_err(log_error("open the epoch", &id))?;
        let writer = Writer { owner, epoch };
        let mut failures = 0;
        loop {
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                ended = self.session(&id, &writer, &mut failures) => ended,
            };
            let Err(ended) = ended;
            let error = match ended {
                Ended::For(error) => return Err(error),
                Ended::BySource(error) => error,
            };
            failures += 1;
            metrics::counter!("tidemill_connector_failures_total", "source" => id.to_string())
                .increment(1);
            match pause_after(&error, failures) {
                Pause::Forever => return Err(Error::Source { id, source: error }),
                Pause::For(pause) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(source = %id, %error, cause, failures, "a source failed and is opened again");
                    let retry_at = Instant::now() + pause;
                    tokio::select! {
                        () = stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep_until(retry_at) => {}
                    }
                }
            }
        }
    }

    /// The next batch. While none comes, the watchdog makes sure that there is none.
    async fn next(&mut self, id: &SourceId) -> Result<Batch, SourceError> {
        let Settings { max_bytes, quiet } = self.settings;
        let Some(quiet) = quiet else {
            return self.source.next(max_bytes).await;
        };
        loop {
            if let Ok(next) = tokio::time::timeout(quiet, self.source.next(max_bytes)).await {
                return next;
            }
            if let Err(error) = self.source.check(quiet).await {
                metrics::counter!("tidemill_connector_stalls_total", "source" => id.to_string())
                    .increment(1);
                return Err(error);
            }
        }
    }

    /// Opens the source and moves batches until something fails. Stopping drops it: between settling
    /// and acknowledging that costs a redelivery, whose copies are dropped.
    async fn session(
        &mut self,
        id: &SourceId,
        writer: &Writer,
        failures: &mut u32,
    ) -> Result<std::convert::Infallible, Ended> {
        let mut reached = self.log.position(id);
        let memory = Memory::of(&self.log, id).map_err(log_error("name the memory", id))?;
        self.source.recall(memory.clone());
        let plans = self.source.open(reached.as_ref()).await?;
        let topics = ensure_topics(&self.log, id, plans).await?;
        if let Some(position) = &reached {
            // The acknowledgement may have been lost with whoever settled it.
            self.source.acknowledge(position).await?;
        }
        loop {
            let batch = self.next(id).await?;
            let moved = reached.as_ref().is_none_or(|reached| {
                self.source.order(&batch.position, reached) == Ordering::Greater
            });
            if moved {
                let (mut settlement, newest) =
                    self.settlement(id, writer, &topics, &reached, &batch)?;
                if let Some(batch) = RecordBatch::of(&self.remembered(&batch.notes)) {
                    let to = memory.place(id).await?;
                    settlement.appends.push(Append { to, batch });
                }
                self.log
                    .commit(settlement)
                    .await
                    .map_err(log_error("settle the events", id))?;
                self.measure(id, newest);
                reached = Some(batch.position);
            }
            *failures = 0;
            if let Some(position) = &reached {
                self.source.acknowledge(position).await?;
            }
        }
    }

    /// What to write for `batch`, copies left out, and the newest event's time.
    fn settlement(
        &self,
        id: &SourceId,
        writer: &Writer,
        topics: &HashMap<TopicName, Topic>,
        reached: &Option<SourcePosition>,
        batch: &Batch,
    ) -> Result<(Settlement, Option<(u64, Timestamp)>), Error> {
        let mut records: BTreeMap<TopicPartition, Vec<Record>> = BTreeMap::new();
        let mut newest: Option<(u64, Timestamp)> = None;
        for delivery in &batch.deliveries {
            let copy = reached.as_ref().is_some_and(|reached| {
                self.source.order(&delivery.position, reached) != Ordering::Greater
            });
            if copy {
                continue;
            }
            let at = delivery.record.timestamp;
            newest = Some(newest.map_or((1, at), |(count, last)| (count + 1, last.max(at))));
            for to in places(id, topics, delivery)? {
                records.entry(to).or_default().push(delivery.record.clone());
            }
        }
        let mut positions = vec![PositionUpdate {
            source: id.clone(),
            position: batch.position.clone(),
        }];
        let new = |notice: &&Notice| {
            reached.as_ref().is_none_or(|reached| {
                self.source.order(&notice.position, reached) == Ordering::Greater
            })
        };
        let mut new = batch.notices.iter().filter(new).peekable();
        if new.peek().is_some() {
            let known = Notices::of(&*self.log, id);
            positions.push(known.with(id, new, self.clock.now()));
        }
        let settlement = Settlement {
            appends: records
                .into_iter()
                .filter_map(|(to, records)| {
                    RecordBatch::of(&records).map(|batch| Append { to, batch })
                })
                .collect(),
            checkpoints: Vec::new(),
            positions,
            writer: Some(writer.clone()),
        };
        Ok((settlement, newest))
    }

    /// Notes as the memory's topic holds them.
    fn remembered(&self, notes: &[Note]) -> Vec<Record> {
        let now = self.clock.now();
        let record = |note: &Note| Record {
            key: Some(note.key.clone()),
            value: note.value.clone(),
            headers: Vec::new(),
            timestamp: now,
        };
        notes.iter().map(record).collect()
    }

    fn measure(&self, id: &SourceId, newest: Option<(u64, Timestamp)>) {
        let source = id.to_string();
        if let Some((count, at)) = newest {
            metrics::counter!("tidemill_connector_events_total", "source" => source.clone())
                .increment(count);
            metrics::gauge!("tidemill_connector_delay_seconds", "source" => source.clone())
                .set(self.clock.now().since(at).as_secs_f64());
        }
        if let Some(lag) = self.source.lag() {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a gauge is a double; lags beyond 2^53 events do not occur"
            )]
            metrics::gauge!("tidemill_connector_lag_events", "source" => source).set(lag as f64);
        }
    }
}

async fn ensure_topics(
    log: &SharedLog,
    id: &SourceId,
    plans: Vec<TopicPlan>,
) -> Result<HashMap<TopicName, Topic>, Error> {
    let mut topics = HashMap::new();
    for plan in plans {
        let config = TopicConfig::new(plan.partitions, Lifetime::Events);
        let topic = log
            .ensure_topic(&plan.name, config)
            .await
            .map_err(log_error("create the topic", id))?;
        if topic.config.lifetime != Lifetime::Events {
            return Err(Error::TopicTaken {
                id: id.clone(),
                topic: plan.name,
                reason: "it holds objects of our own".to_owned(),
            });
        }
        topics.insert(plan.name, topic);
    }
    Ok(topics)
}

fn places(
    id: &SourceId,
    topics: &HashMap<TopicName, Topic>,
    delivery: &Delivery,
) -> Result<Vec<TopicPartition>, Error> {
    let topic = topics.get(&delivery.topic).ok_or_else(|| Error::Contract {
        id: id.clone(),
        reason: format!("it did not announce topic {}", delivery.topic),
    })?;
    match delivery.placement {
        Placement::ByKey => Ok(vec![match &delivery.record.key {
            Some(key) => topic.partition_for(key),
            None => topic.name.partition(event_log::Partition::new(0)),
        }]),
        Placement::Every => Ok(topic.partitions().collect()),
        Placement::Exact(partition) if partition.index() < topic.config.partitions => {
            Ok(vec![topic.name.partition(partition)])
        }
        Placement::Exact(partition) => Err(Error::TopicTaken {
            id: id.clone(),
            topic: topic.name.clone(),
            reason: format!(
                "partition {partition} is needed and it has {}",
                topic.config.partitions
            ),
        }),
    }
}

fn log_error(act: &'static str, id: &SourceId) -> impl FnOnce(event_log::Error) -> Error {
    let id = id.clone();
    move |source| Error::Log { act, id, source }
}

#[cfg(test)]
mod tests;
