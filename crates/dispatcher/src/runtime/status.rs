//! How far every trigger has come, for whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use event_log::{ConsumerId, Error, Offset, Share, SharedLog, TopicPartition};
use function::{StartingPosition, Trigger, TriggerId};
use futures::future::try_join_all;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::Tallies;
use crate::queue::{ASYNC_TOPIC, own_topic};
use crate::schedule::{NotedState, Notes};

/// How far one trigger has come in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerStatus {
    /// The trigger; `None` for the queue of asynchronous invocations.
    pub trigger: Option<TriggerId>,
    /// What it reads.
    pub partition: TopicPartition,
    /// The lowest offset that is not settled.
    pub next: Offset,
    /// The end of the partition, exclusive.
    pub end: Offset,
    /// Events from `next` to `end`: settled ones above `next` count, too.
    pub lag: u64,
    /// Events taken in that have not ended.
    pub in_flight: u64,
    /// How many events have ended in which state, settled.
    pub tallies: Tallies,
    /// `No records processed`, `OK`, or `PROBLEM: …`.
    pub last_result: String,
}

/// A cheap handle to the status of a dispatcher.
#[derive(Clone, Debug)]
pub struct DispatcherStatus {
    log: SharedLog,
    board: Arc<Mutex<BTreeMap<Key, Entry>>>,
    changes: Arc<watch::Sender<u64>>,
}

type Key = (Option<TriggerId>, TopicPartition);

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) next: Offset,
    pub(super) in_flight: u64,
    pub(super) tallies: Tallies,
    pub(super) last_result: String,
}

impl DispatcherStatus {
    pub(super) fn new(log: SharedLog) -> Self {
        Self {
            log,
            board: Arc::default(),
            changes: Arc::default(),
        }
    }

    /// Every partition that is worked on here, or was until it met a problem.
    #[must_use]
    pub fn list(&self) -> Vec<TriggerStatus> {
        let board = self.board.lock().clone();
        board
            .into_iter()
            .map(|((trigger, partition), entry)| {
                let bounds = self.log.bounds(&partition);
                let end = bounds.map_or(entry.next, |bounds| bounds.end);
                TriggerStatus {
                    trigger,
                    partition,
                    next: entry.next,
                    end,
                    lag: end.get().saturating_sub(entry.next.get()),
                    in_flight: entry.in_flight,
                    tallies: entry.tallies,
                    last_result: entry.last_result,
                }
            })
            .collect()
    }

    /// Every partition of enabled triggers and of asynchronous invocations, whichever node works on
    /// it. Of others' work it says what their latest settlements have left: what was still being
    /// written a moment ago is not in it, and neither is what a batch in flight there will come to.
    /// Ends are those of now: whatever was acknowledged before the call is settled or in the lag.
    ///
    /// # Errors
    /// Those of [`EventLog::end`](event_log::EventLog::end).
    pub async fn everywhere(&self, triggers: &[Arc<Trigger>]) -> Result<Vec<TriggerStatus>, Error> {
        let alone = *self.log.share().borrow() == Share::all();
        if alone {
            return Ok(self.list());
        }
        // Ends first: what has been settled is looked at later, and can only have come further.
        let ends = self.ends(triggers).await?;
        let mut found = self.list();
        found.extend(self.elsewhere(triggers));
        for status in &mut found {
            if let Some(end) = ends.get(&status.partition) {
                status.end = status.end.max(*end);
                status.lag = status.end.get().saturating_sub(status.next.get());
            }
            // Markers of transactions are no events; nobody settles a trailing one by itself.
            let records = self
                .log
                .has_records(&status.partition, status.next, status.end);
            if status.lag > 0 && matches!(records.await, Ok(false)) {
                status.lag = 0;
            }
        }
        Ok(found)
    }

    /// Where the partitions of these triggers end now. All are asked at once, as a cluster answers many
    /// questions in one.
    async fn ends(
        &self,
        triggers: &[Arc<Trigger>],
    ) -> Result<BTreeMap<TopicPartition, Offset>, Error> {
        let enabled = triggers.iter().filter(|trigger| trigger.enabled);
        let mut topics: BTreeSet<_> = enabled.map(|trigger| trigger.topic()).collect();
        topics.insert(own_topic(ASYNC_TOPIC));
        let topics = topics.iter().filter_map(|topic| self.log.topic(topic));
        let ends = topics
            .flat_map(|topic| topic.partitions().collect::<Vec<_>>())
            .map(async |partition| Ok((partition.clone(), self.log.end(&partition).await?)));
        Ok(try_join_all(ends).await?.into_iter().collect())
    }

    fn elsewhere(&self, triggers: &[Arc<Trigger>]) -> Vec<TriggerStatus> {
        let mut feeds = vec![(None, ConsumerId::new("async"), own_topic(ASYNC_TOPIC), None)];
        feeds.extend(triggers.iter().filter(|it| it.enabled).map(|trigger| {
            let start = Some(&trigger.starting_position);
            (Some(trigger.id), trigger.consumer(), trigger.topic(), start)
        }));
        let board = self.board.lock().clone();
        let mut found = Vec::new();
        for (trigger, consumer, topic, start) in feeds {
            let Some(topic) = self.log.topic(&topic) else {
                continue;
            };
            for partition in topic.partitions() {
                if board.contains_key(&(trigger, partition.clone())) {
                    continue;
                }
                let bounds = self.log.bounds(&partition).unwrap_or_default();
                let checkpoint = self.log.checkpoint(&consumer, &partition);
                let next = match &checkpoint {
                    Some(checkpoint) => checkpoint.next,
                    None => first_of(start, &partition, &bounds),
                };
                let metadata = checkpoint.map(|it| it.metadata).unwrap_or_default();
                let notes = Notes::decode(metadata).unwrap_or_default();
                let flown = notes
                    .batches
                    .iter()
                    .filter(|batch| batch.state == NotedState::InFlight)
                    .flat_map(|batch| &batch.offsets);
                found.push(TriggerStatus {
                    trigger,
                    next,
                    end: bounds.end,
                    lag: bounds.end.get().saturating_sub(next.get()),
                    in_flight: flown.map(|range| range.end.get() - range.start.get()).sum(),
                    tallies: notes.tallies,
                    last_result: match notes.tallies.total() {
                        0 => NOTHING.to_owned(),
                        _ => OK.to_owned(),
                    },
                    partition,
                });
            }
        }
        found
    }

    /// What AWS calls the last processing result of a trigger: the first problem among its
    /// partitions, else whether anything was processed. `None` for a trigger that does not run.
    #[must_use]
    pub fn last_result(&self, trigger: TriggerId) -> Option<String> {
        let board = self.board.lock();
        let results = board
            .iter()
            .filter(|((of, _), _)| *of == Some(trigger))
            .map(|(_, entry)| &entry.last_result);
        let rank = |result: &&String| match result.as_str() {
            NOTHING => 0,
            OK => 1,
            _ => 2,
        };
        results.max_by_key(rank).cloned()
    }

    /// Whether every event that stands in a topic now has ended and is settled, for every trigger.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        let caught_up = |status: &TriggerStatus| status.lag == 0 && status.in_flight == 0;
        self.list().iter().all(caught_up)
    }

    /// Changes whenever the status of some partition has.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn set(&self, key: &Key, change: impl FnOnce(&mut Entry)) {
        let mut board = self.board.lock();
        change(board.entry(key.clone()).or_insert_with(|| Entry {
            next: Offset::ZERO,
            in_flight: 0,
            tallies: Tallies::default(),
            last_result: NOTHING.to_owned(),
        }));
        drop(board);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn remove(&self, key: &Key) {
        self.board.lock().remove(key);
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Where a trigger that has settled nothing yet begins, as far as its rules say so.
fn first_of(
    start: Option<&StartingPosition>,
    partition: &TopicPartition,
    bounds: &Range<Offset>,
) -> Offset {
    match start {
        None | Some(StartingPosition::TrimHorizon) => bounds.start,
        // A partition that came later is read from its beginning.
        Some(StartingPosition::Latest { ends }) => {
            let end = ends.get(&partition.partition.index()).copied();
            end.unwrap_or(bounds.start).max(bounds.start)
        }
        // Whoever works on it looks the time up.
        Some(StartingPosition::AtTimestamp { .. }) => bounds.end,
    }
}

pub(super) const OK: &str = "OK";
const NOTHING: &str = "No records processed";

/// A result that tells of a problem.
pub(super) fn problem(text: impl std::fmt::Display) -> String {
    format!("PROBLEM: {text}")
}
