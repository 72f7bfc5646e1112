//! What runs beside what.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use function::Ordering;
use tokio::time::Instant;

use super::doubles::fine;
use super::world::{TOPIC, World, trigger};

/// Counts what runs at once.
#[derive(Clone, Default)]
struct Crowd {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Crowd {
    async fn join(&self, stay: Duration) {
        let now = self.now.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(now, SeqCst);
        tokio::time::sleep_until(Instant::now() + stay).await;
        self.now.fetch_sub(1, SeqCst);
    }

    fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

const STAY: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn d3_events_of_one_key_run_in_log_order_and_keys_side_by_side() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.ordering = Ordering::Key;
        trigger.batch.batch_size = 2;
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let keys = ["a", "b", "c"];
    let values: Vec<_> = (0..60)
        .map(|n| (Some(keys[n * n % 3]), format!("{}{n}", keys[n * n % 3])))
        .collect();
    world.publish(values).await;
    let crowd = Crowd::default();
    let seen = crowd.clone();
    let life = world.start_async(move |_| {
        let crowd = seen.clone();
        Box::pin(async move {
            crowd.join(STAY).await;
            fine()
        })
    });
    life.until_ended(id, 60).await;
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for call in world.calls() {
        for (offset, value) in call.events() {
            let before = last.insert(value[..1].to_owned(), offset);
            assert!(
                before.is_none_or(|before| before < offset),
                "{value} came late"
            );
        }
    }
    assert!(crowd.most() > 1, "keys run side by side");
}

#[tokio::test(start_paused = true)]
async fn d2_a_trigger_never_exceeds_the_functions_reservation() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    world.functions.put_function(function::Function {
        reserved_concurrency: Some(3),
        ..crate::tests::function("f")
    });
    let trigger = trigger(|trigger| {
        trigger.ordering = Ordering::None;
        trigger.batch.batch_size = 1;
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..20).await;
    let crowd = Crowd::default();
    let seen = crowd.clone();
    let life = world.start_async(move |_| {
        let crowd = seen.clone();
        Box::pin(async move {
            crowd.join(STAY).await;
            fine()
        })
    });
    life.until_ended(id, 20).await;
    assert_eq!(crowd.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_partition_in_order_runs_one_batch_at_a_time_and_partitions_side_by_side() {
    let world = World::new();
    world.create_topic(TOPIC, 2).await;
    let trigger = trigger(|trigger| trigger.batch.batch_size = 1);
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..5).await;
    let crowd = Crowd::default();
    let seen = crowd.clone();
    let life = world.start_async(move |_| {
        let crowd = seen.clone();
        Box::pin(async move {
            crowd.join(STAY).await;
            fine()
        })
    });
    life.until_ended(id, 5).await;
    assert_eq!(crowd.most(), 1);
    let values: Vec<_> = world
        .calls()
        .iter()
        .flat_map(|call| call.values())
        .collect();
    assert_eq!(values, ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_far_beyond_the_budget_is_worked_off() {
    let mut world = World::new();
    world.settings.prefetch_bytes = 4_000;
    world.settings.prefetch_bytes_total = 1;
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| trigger.ordering = Ordering::None);
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..500).await;
    let life = world.start(|_| fine());
    life.until_ended(id, 500).await;
    assert_eq!(life.tallies(id).succeeded, 500);
    assert!(life.status.is_caught_up());
}
