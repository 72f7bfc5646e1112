//! A dispatcher over a log in memory.

use std::sync::Arc;

use clock::{Clock, Timestamp};
use event::Record;
use event_log::{
    Lifetime, MemoryLog, Offset, Partition, RecordBatch, Settlement, SharedLog, TopicConfig,
    TopicName, TopicPartition,
};
use function::{FunctionName, Trigger, TriggerId};
use instance::{Outcome, Pool, PoolConfig};
use metering::UsageRecord;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::doubles::{Answer, Call, Listed, Lists, PausedClock, Script};
use crate::{
    Dispatcher, DispatcherParts, DispatcherStatus, Invoker, InvokerParts, Settings, Tallies,
    TriggerStatus,
};

pub(super) struct World {
    pub(super) log: SharedLog,
    pub(super) functions: Arc<Listed>,
    pub(super) clock: Arc<PausedClock>,
    pub(super) settings: Settings,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// A dispatcher that runs.
pub(super) struct Life {
    pub(super) invoker: Arc<Invoker>,
    pub(super) status: DispatcherStatus,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

pub(super) const TOPIC: &str = "orders";

impl World {
    pub(super) fn new() -> Self {
        Self::over(MemoryLog::new())
    }

    pub(super) fn over(log: SharedLog) -> Self {
        let functions = Arc::new(Listed::default());
        functions.put_function(crate::tests::function("f"));
        Self {
            log,
            functions,
            clock: PausedClock::new(),
            settings: Settings::default(),
            calls: Arc::default(),
        }
    }

    /// A dispatcher whose functions answer at once.
    pub(super) fn start(&self, answer: impl Fn(&Call) -> Outcome + Send + Sync + 'static) -> Life {
        self.start_async(move |call| {
            let outcome = answer(&call);
            Box::pin(async move { outcome })
        })
    }

    pub(super) fn start_async(
        &self,
        answer: impl Fn(Call) -> Answer + Send + Sync + 'static,
    ) -> Life {
        let calls = Arc::clone(&self.calls);
        let script = Script::new(move |call| {
            calls.lock().push(call.clone());
            answer(call)
        });
        let invoker = Arc::new(Invoker::new(InvokerParts {
            log: Arc::clone(&self.log),
            functions: Arc::clone(&self.functions) as _,
            pool: Arc::new(Pool::new(Arc::new(script), PoolConfig::default())),
            clock: Arc::clone(&self.clock) as _,
            settings: self.settings.clone(),
        }));
        let dispatcher = Dispatcher::new(DispatcherParts {
            invoker: Arc::clone(&invoker),
            payloads: Arc::new(Lists),
        });
        let status = dispatcher.status();
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let task = tokio::spawn(async move { dispatcher.run(stopping).await.unwrap() });
        Life {
            invoker,
            status,
            stop,
            task,
        }
    }

    pub(super) async fn create_topic(&self, name: &str, partitions: u32) {
        let config = TopicConfig::new(partitions, Lifetime::Events);
        let name = TopicName::new(name).unwrap();
        self.log.create_topic(&name, config).await.unwrap();
    }

    /// Publishes each value in a batch of its own to partition 0 of the topic.
    pub(super) async fn publish(&self, values: impl IntoIterator<Item = (Option<&str>, String)>) {
        for (key, value) in values {
            let mut record = Record::new(value, self.clock.now());
            record.key = key.map(|key| key.to_owned().into());
            let batch = RecordBatch::of_one(record);
            let settlement = Settlement::of(partition(TOPIC, 0), batch);
            self.log.commit(settlement).await.unwrap();
        }
    }

    pub(super) async fn publish_numbers(&self, numbers: std::ops::Range<u64>) {
        self.publish(numbers.map(|number| (None, number.to_string())))
            .await;
    }

    /// Every call so far, in order.
    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().clone()
    }

    pub(super) async fn usage(&self) -> Vec<UsageRecord> {
        let records = self.records(UsageRecord::TOPIC).await;
        let parsed = records
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap());
        parsed.collect()
    }

    pub(super) async fn letters(&self) -> Vec<Value> {
        let records = self.records("tidemill.dead-letters").await;
        let parsed = records
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_ref().unwrap()).unwrap());
        parsed.collect()
    }

    /// Every record of a topic, partition by partition.
    pub(super) async fn records(&self, topic: &str) -> Vec<Record> {
        let Some(topic) = self.log.topic(&TopicName::new(topic).unwrap()) else {
            return Vec::new();
        };
        let mut records = Vec::new();
        for place in topic.partitions() {
            let bounds = self.log.bounds(&place).unwrap();
            if bounds.start == bounds.end {
                continue;
            }
            for batch in self
                .log
                .read(&place, bounds.start, usize::MAX)
                .await
                .unwrap()
                .batches
            {
                records.extend(batch.records().unwrap().into_iter().map(|it| it.record));
            }
        }
        records
    }

    /// M1: no two usage records have the same id.
    pub(super) async fn check_usage(&self) -> Vec<UsageRecord> {
        let usage = self.usage().await;
        let mut ids: Vec<_> = usage.iter().map(|usage| usage.usage_id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), usage.len(), "M1: one usage record per attempt");
        usage
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl Life {
    /// Waits until the status is as wanted.
    pub(super) async fn until(&self, wanted: impl Fn(&[TriggerStatus]) -> bool) {
        let mut changes = self.status.changes();
        loop {
            changes.mark_unchanged();
            if wanted(&self.status.list()) {
                return;
            }
            changes.changed().await.unwrap();
        }
    }

    /// Waits until so many events of a trigger have ended and are settled.
    pub(super) async fn until_ended(&self, trigger: Option<TriggerId>, events: u64) {
        self.until(|list| {
            let of = list.iter().filter(|status| status.trigger == trigger);
            of.map(|status| status.tallies.total()).sum::<u64>() == events
        })
        .await;
    }

    pub(super) fn tallies(&self, trigger: Option<TriggerId>) -> Tallies {
        let mut sum = Tallies::default();
        for status in self.status.list() {
            if status.trigger == trigger {
                sum.succeeded += status.tallies.succeeded;
                sum.filtered += status.tallies.filtered;
                sum.failed += status.tallies.failed;
                sum.expired += status.tallies.expired;
            }
        }
        sum
    }

    /// Stops and drains.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// Ends as a crash does: between any two polls, nothing drained.
    pub(super) async fn crash(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

/// A trigger on the topic with AWS's defaults for mappings, from the first record on.
pub(super) fn trigger(change: impl FnOnce(&mut Trigger)) -> Trigger {
    let mut trigger: Trigger = serde_json::from_value(json!({
        "id": TriggerId::random(),
        "function": FunctionName::new("f").unwrap(),
        "source": {
            "kind": "topic",
            "topic": TOPIC,
            "bootstrap_servers": "localhost:9092",
            "consumer_group_id": "g",
        },
        "filters": [],
        "batch": { "batch_size": 100, "maximum_batching_window_ms": 0 },
        "retry": {
            "maximum_retry_attempts": null,
            "maximum_record_age_seconds": null,
            "bisect_batch_on_function_error": false,
            "backoff": "exponential",
            "on_failure": "dead_letters",
        },
        "ordering": "partition",
        "report_batch_item_failures": false,
        "enabled": true,
        "starting_position": "trim_horizon",
        "last_modified": 0,
        "revision": "00000000-0000-4000-8000-000000000001",
    }))
    .unwrap();
    change(&mut trigger);
    trigger
}

pub(super) fn partition(topic: &str, index: u32) -> TopicPartition {
    let topic = TopicName::new(topic).unwrap();
    topic.partition(Partition::new(index))
}

pub(super) fn offset(value: u64) -> Offset {
    Offset::new(value)
}
