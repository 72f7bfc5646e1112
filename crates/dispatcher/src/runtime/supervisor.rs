//! Who works on what: one task per partition of every enabled trigger that this node holds, as the
//! registry, the topics and the node's share change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use clock::Timestamp;
use event_log::{ConsumerId, Error, OwnerId, Share, TopicPartition, Writer};
use function::{Trigger, TriggerId};
use metering::UsageRecord;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Shared;
use super::dead_letter::DEAD_LETTERS;
use super::feed::Feed;
use super::flight::error_text;
use super::partition::{Cure, Ended, PartitionTask, Stop, until};
use super::status::{DispatcherStatus, problem};
use crate::queue::{ASYNC_TOPIC, OWN_TOPIC, own_topic};
use crate::{Invoker, Payloads};

/// What a [`Dispatcher`] is made of.
#[derive(Clone, Debug)]
pub struct DispatcherParts {
    /// Through which everything is run. Its log, functions, clock and settings are the dispatcher's.
    pub invoker: Arc<Invoker>,
    /// Who encodes what handlers see.
    pub payloads: Arc<dyn Payloads>,
}

/// Runs triggers and asynchronous invocations, as far as they are in this node's share of the log.
/// One per node: a second one fences the first.
#[derive(Debug)]
pub struct Dispatcher {
    parts: DispatcherParts,
    status: DispatcherStatus,
}

/// One partition for one feed.
type Key = (Option<TriggerId>, TopicPartition);

/// What a task was started from: it is started anew when this changes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// All of the trigger that the task applies.
    rules: Option<Arc<Trigger>>,
    topic: Uuid,
}

/// A partition whose work has failed.
struct Failed {
    identity: Identity,
    /// How often in a row.
    times: u32,
    /// When it is taken up again; `None` when only a change can help.
    again: Option<Instant>,
}

/// Pauses before a failed partition is taken up again double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

struct Supervisor {
    shared: Arc<Shared>,
    tasks: JoinSet<(Key, Ended)>,
    running: BTreeMap<Key, Running>,
    /// Partitions whose work has failed; taken up again when something about them changes, or
    /// after a pause where time may have helped.
    failed: BTreeMap<Key, Failed>,
    share: watch::Receiver<Share>,
    /// Triggers that the registry has shown.
    seen: BTreeSet<TriggerId>,
    /// Whether no other node has worked on the log since the start.
    alone: bool,
}

struct Running {
    consumer: ConsumerId,
    identity: Identity,
    stop: Stop,
    since: Instant,
    /// How often in a row it had failed before.
    failures: u32,
}

impl Dispatcher {
    /// A dispatcher that does nothing until it is [run](Self::run).
    #[must_use]
    pub fn new(parts: DispatcherParts) -> Self {
        let status = DispatcherStatus::new(Arc::clone(&parts.invoker.parts().log));
        Self { parts, status }
    }

    /// A handle to the status, which outlives the dispatcher.
    #[must_use]
    pub fn status(&self) -> DispatcherStatus {
        self.status.clone()
    }

    /// Works until `stop`, then drains: nothing new begins, what runs may end within the drain
    /// setting, the rest is cut off and void, and everything that has ended is settled.
    ///
    /// # Errors
    /// The dispatcher's epoch or its own topics could not be made; nothing was run.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let owner = OwnerId::new("dispatcher");
        let log = &self.parts.invoker.parts().log;
        let epoch = log.open_epoch(&owner).await?;
        for topic in [ASYNC_TOPIC, UsageRecord::TOPIC, DEAD_LETTERS] {
            log.ensure_topic(&own_topic(topic), OWN_TOPIC).await?;
        }
        let shared = Arc::new(Shared {
            invoker: self.parts.invoker,
            payloads: self.parts.payloads,
            writer: Writer { owner, epoch },
            status: self.status,
            held: AtomicUsize::new(0),
        });
        let share = shared.parts().log.share();
        let alone = *share.borrow() == Share::all();
        let supervisor = Supervisor {
            alone,
            share,
            seen: BTreeSet::new(),
            shared,
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        supervisor.run(stop).await;
        Ok(())
    }
}

impl Running {
    fn failed(self, cure: Cure) -> Failed {
        let now = Instant::now();
        let fresh = now.duration_since(self.since) > LONGEST_PAUSE;
        let before = if fresh { 0 } else { self.failures };
        // 2^9 times the first pause is beyond the longest.
        let pause = (FIRST_PAUSE * (1 << before.min(9))).min(LONGEST_PAUSE);
        Failed {
            identity: self.identity,
            times: before.saturating_add(1),
            again: match cure {
                Cure::Time => Some(now + pause),
                Cure::Change => None,
            },
        }
    }
}

/// The trigger without what no task looks at.
fn rules(trigger: &Trigger) -> Arc<Trigger> {
    Arc::new(Trigger {
        problem: None,
        tags: BTreeMap::new(),
        last_modified: Timestamp::default(),
        revision: Uuid::nil(),
        ..trigger.clone()
    })
}

impl Supervisor {
    async fn run(mut self, stop: CancellationToken) {
        let parts = self.shared.parts();
        let mut changes = parts.functions.changes();
        let mut topics = parts.log.topics_changed();
        loop {
            changes.mark_unchanged();
            topics.mark_unchanged();
            self.share.mark_unchanged();
            self.shared.invoker.refresh();
            self.reconcile().await;
            let next_attempt = self.next_attempt();
            tokio::select! {
                Ok(()) = changes.changed() => {}
                Ok(()) = topics.changed() => {}
                Ok(()) = self.share.changed() => {}
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.ended(ended);
                }
                () = until(next_attempt) => {}
                () = stop.cancelled() => break,
            }
        }
        for running in self.running.values() {
            running.stop.shutdown.cancel();
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended);
        }
    }

    /// Starts and stops tasks until they are what the registry and the topics ask for.
    async fn reconcile(&mut self) {
        let triggers = self.shared.parts().functions.triggers();
        self.seen.extend(triggers.iter().map(|trigger| trigger.id));
        let share = *self.share.borrow();
        self.alone &= share == Share::all();
        let wanted = self.wanted(&triggers, share);
        for (key, running) in &self.running {
            let stays = wanted
                .get(key)
                .is_some_and(|(identity, _)| *identity == running.identity);
            if !share.holds(&running.consumer, &key.1) {
                running.stop.moved.cancel();
            } else if !stays {
                running.stop.replace.cancel();
            }
        }
        self.failed.retain(|key, failed| {
            let now = wanted.get(key);
            now.is_some_and(|(identity, _)| *identity == failed.identity)
        });
        let now = Instant::now();
        for (key, (identity, feed)) in wanted {
            if self.running.contains_key(&key) {
                continue;
            }
            let failed = self.failed.get(&key);
            let rests = failed.is_some_and(|it| it.again.is_none_or(|again| again > now));
            if !rests {
                self.start(key, identity, feed);
            }
        }
        self.forget_deleted(&triggers).await;
    }

    fn wanted(
        &self,
        triggers: &[Arc<Trigger>],
        share: Share,
    ) -> BTreeMap<Key, (Identity, Arc<Feed>)> {
        let log = &self.shared.parts().log;
        let mut feeds = vec![(None, Arc::new(Feed::Asynchronous))];
        for trigger in triggers.iter().filter(|trigger| trigger.enabled) {
            match Feed::of(Arc::clone(trigger)) {
                Ok(feed) => feeds.push((Some(rules(trigger)), Arc::new(feed))),
                Err(error) => self.refuse(trigger, &error_text(&error)),
            }
        }
        let mut wanted = BTreeMap::new();
        for (rules, feed) in feeds {
            // A trigger may be older than its topic: it begins when the topic does.
            let Some(topic) = log.topic(&feed.topic()) else {
                continue;
            };
            let identity = Identity {
                rules,
                topic: topic.id,
            };
            let consumer = feed.consumer();
            let held = |place: &TopicPartition| share.holds(&consumer, place);
            for place in topic.partitions().filter(held) {
                wanted.insert((feed.id(), place), (identity.clone(), Arc::clone(&feed)));
            }
        }
        wanted
    }

    /// The registry compiles filters before it keeps them, so that this is a document of another
    /// version.
    fn refuse(&self, trigger: &Trigger, reason: &str) {
        tracing::error!(trigger = %trigger.id, reason, "the trigger's filters cannot be read");
        if let Some(topic) = self.shared.parts().log.topic(&trigger.topic()) {
            for place in topic.partitions() {
                self.shared.status.set(&(Some(trigger.id), place), |entry| {
                    entry.last_result = problem(reason);
                });
            }
        }
    }

    fn start(&mut self, key: Key, identity: Identity, feed: Arc<Feed>) {
        let stop = Stop::default();
        let consumer = feed.consumer();
        let failures = self.failed.remove(&key).map_or(0, |failed| failed.times);
        let work = PartitionTask::work(Arc::clone(&self.shared), feed, key.1.clone(), stop.clone());
        let named = key.clone();
        self.tasks.spawn(async move { (named, work.await) });
        let running = Running {
            consumer,
            identity,
            stop,
            since: Instant::now(),
            failures,
        };
        self.running.insert(key, running);
    }

    fn ended(&mut self, ended: Result<(Key, Ended), tokio::task::JoinError>) {
        let (key, ended) = match ended {
            Ok(ended) => ended,
            // Nothing aborts these tasks, so that one has panicked: a bug, not to be hidden.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let running = self.running.remove(&key);
        if let (Ended::Failed(failure), Some(running)) = (&ended, running) {
            self.failed.insert(key, running.failed(failure.cure));
        }
    }

    /// When the next failed partition is to be taken up again.
    fn next_attempt(&self) -> Option<Instant> {
        self.failed.values().filter_map(|failed| failed.again).min()
    }

    /// Forgets the checkpoints of triggers that are gone, once nobody writes them any more. What a
    /// crash leaves over is found here after the restart. A node among others does so only for
    /// triggers that it has known: one that it has not heard of may be new.
    async fn forget_deleted(&mut self, triggers: &[Arc<Trigger>]) {
        let log = &self.shared.parts().log;
        let known: Vec<_> = triggers.iter().map(|trigger| trigger.consumer()).collect();
        for consumer in log.consumers() {
            let ours = consumer.as_str().starts_with("trigger/");
            let runs = self.running.keys().any(|(trigger, _)| {
                trigger.is_some_and(|id| consumer.as_str() == format!("trigger/{id}"))
            });
            let may_be_new = || {
                let id = |id: &TriggerId| consumer.as_str() == format!("trigger/{id}");
                !self.alone && !self.seen.iter().any(id)
            };
            if !ours || runs || known.contains(&consumer) || may_be_new() {
                continue;
            }
            if let Err(error) = log.forget_consumer(&consumer).await {
                let reason = error_text(&error);
                tracing::warn!(%consumer, reason, "could not forget the checkpoints of a deleted trigger");
            }
        }
    }
}
