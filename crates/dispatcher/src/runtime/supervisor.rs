//! Who works on what: one task per partition of every enabled trigger, as the registry and the
//! topics change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use event_log::{Error, OwnerId, TopicPartition, Writer};
use function::{Trigger, TriggerId};
use metering::UsageRecord;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Shared;
use super::dead_letter::DEAD_LETTERS;
use super::feed::Feed;
use super::flight::error_text;
use super::partition::{Ended, PartitionTask};
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

/// Runs triggers and asynchronous invocations. One per log: a second one fences the first.
#[derive(Debug)]
pub struct Dispatcher {
    parts: DispatcherParts,
    status: DispatcherStatus,
}

/// One partition for one feed.
type Key = (Option<TriggerId>, TopicPartition);

/// What a task was started from: it is started anew when this changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    /// The trigger's revision.
    revision: Option<Uuid>,
    topic: Uuid,
}

struct Supervisor {
    shared: Arc<Shared>,
    tasks: JoinSet<(Key, Ended)>,
    running: BTreeMap<Key, Running>,
    /// Partitions whose work has failed; not taken up again until something about them changes.
    failed: BTreeMap<Key, Identity>,
}

struct Running {
    identity: Identity,
    stop: CancellationToken,
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
        let supervisor = Supervisor {
            shared,
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            failed: BTreeMap::new(),
        };
        supervisor.run(stop).await;
        Ok(())
    }
}

impl Supervisor {
    async fn run(mut self, stop: CancellationToken) {
        let parts = self.shared.parts();
        let mut changes = parts.functions.changes();
        let mut topics = parts.log.topics_changed();
        loop {
            changes.mark_unchanged();
            topics.mark_unchanged();
            self.shared.invoker.refresh();
            self.reconcile().await;
            tokio::select! {
                Ok(()) = changes.changed() => {}
                Ok(()) = topics.changed() => {}
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    self.ended(ended);
                }
                () = stop.cancelled() => break,
            }
        }
        for running in self.running.values() {
            running.stop.cancel();
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.ended(ended);
        }
    }

    /// Starts and stops tasks until they are what the registry and the topics ask for.
    async fn reconcile(&mut self) {
        let triggers = self.shared.parts().functions.triggers();
        let wanted = self.wanted(&triggers);
        for (key, running) in &self.running {
            let stays = wanted
                .get(key)
                .is_some_and(|(identity, _)| *identity == running.identity);
            if !stays {
                running.stop.cancel();
            }
        }
        self.failed
            .retain(|key, identity| wanted.get(key).is_some_and(|(now, _)| now == identity));
        for (key, (identity, feed)) in wanted {
            if !self.running.contains_key(&key) && !self.failed.contains_key(&key) {
                self.start(key, identity, feed);
            }
        }
        self.forget_deleted(&triggers).await;
    }

    fn wanted(&self, triggers: &[Arc<Trigger>]) -> BTreeMap<Key, (Identity, Arc<Feed>)> {
        let log = &self.shared.parts().log;
        let mut feeds = vec![(None, Arc::new(Feed::Asynchronous))];
        for trigger in triggers.iter().filter(|trigger| trigger.enabled) {
            match Feed::of(Arc::clone(trigger)) {
                Ok(feed) => feeds.push((Some(trigger.revision), Arc::new(feed))),
                Err(error) => self.refuse(trigger, &error_text(&error)),
            }
        }
        let mut wanted = BTreeMap::new();
        for (revision, feed) in feeds {
            // A trigger may be older than its topic: it begins when the topic does.
            let Some(topic) = log.topic(&feed.topic()) else {
                continue;
            };
            let identity = Identity {
                revision,
                topic: topic.id,
            };
            for place in topic.partitions() {
                wanted.insert((feed.id(), place), (identity, Arc::clone(&feed)));
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
        let stop = CancellationToken::new();
        let work = PartitionTask::work(Arc::clone(&self.shared), feed, key.1.clone(), stop.clone());
        let named = key.clone();
        self.tasks.spawn(async move { (named, work.await) });
        self.running.insert(key, Running { identity, stop });
    }

    fn ended(&mut self, ended: Result<(Key, Ended), tokio::task::JoinError>) {
        let (key, ended) = match ended {
            Ok(ended) => ended,
            // Nothing aborts these tasks, so that one has panicked: a bug, not to be hidden.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let running = self.running.remove(&key);
        if let (Ended::Failed(_), Some(running)) = (&ended, running) {
            self.failed.insert(key, running.identity);
        }
    }

    /// Forgets the checkpoints of triggers that are gone, once nobody writes them any more. What a
    /// crash leaves over is found here after the restart.
    async fn forget_deleted(&mut self, triggers: &[Arc<Trigger>]) {
        let log = &self.shared.parts().log;
        let known: Vec<_> = triggers.iter().map(|trigger| trigger.consumer()).collect();
        for consumer in log.consumers() {
            let ours = consumer.as_str().starts_with("trigger/");
            let runs = self.running.keys().any(|(trigger, _)| {
                trigger.is_some_and(|id| consumer.as_str() == format!("trigger/{id}"))
            });
            if !ours || runs || known.contains(&consumer) {
                continue;
            }
            if let Err(error) = log.forget_consumer(&consumer).await {
                let reason = error_text(&error);
                tracing::warn!(%consumer, reason, "could not forget the checkpoints of a deleted trigger");
            }
        }
    }
}
