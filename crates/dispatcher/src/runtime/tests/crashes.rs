//! Restarts, graceful and not.

use std::collections::BTreeMap;
use std::time::Duration;

use function::Ordering;
use metering::UsageOutcome;
use tokio::time::Instant;

use super::doubles::fine;
use super::world::{TOPIC, World, trigger};

#[tokio::test(start_paused = true)]
async fn a_restart_runs_nothing_that_was_settled() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..10).await;
    let life = world.start(|_| fine());
    life.until_ended(id, 10).await;
    life.stop().await;
    world.publish_numbers(10..12).await;
    let life = world.start(|_| fine());
    life.until_ended(id, 12).await;
    let mut seen: Vec<_> = world
        .calls()
        .iter()
        .flat_map(|call| call.offsets())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..12).collect::<Vec<_>>());
    world.check_usage().await;
}

#[tokio::test(start_paused = true)]
async fn d4_m1_crashes_in_the_middle_leave_every_event_settled_exactly_once() {
    for ordering in [Ordering::Partition, Ordering::Key, Ordering::None] {
        let world = World::new();
        world.create_topic(TOPIC, 1).await;
        let trigger = trigger(|trigger| {
            trigger.ordering = ordering;
            trigger.batch.batch_size = 3;
        });
        let id = Some(trigger.id);
        world.functions.put_trigger(trigger);
        let keys = ["a", "b", "c", "d"];
        let values: Vec<_> = (0..60)
            .map(|n| (Some(keys[n % 4]), n.to_string()))
            .collect();
        world.publish(values).await;
        for round in 0u64..8 {
            let life = world.start_async(move |call| {
                Box::pin(async move {
                    let slow = call.offsets()[0] * 7 % 13;
                    tokio::time::sleep_until(Instant::now() + Duration::from_millis(slow)).await;
                    fine()
                })
            });
            let lasts = Duration::from_millis(3 + round * 5 % 17);
            tokio::time::sleep_until(Instant::now() + lasts).await;
            life.crash().await;
        }
        let life = world.start(|_| fine());
        life.until_ended(id, 60).await;
        assert_eq!(life.tallies(id).succeeded, 60);
        life.stop().await;

        let usage = world.check_usage().await;
        let mut settled: BTreeMap<u64, u32> = BTreeMap::new();
        let mut attempts = 0;
        for usage in &usage {
            if usage.outcome == UsageOutcome::Void {
                assert_eq!((usage.billed_ms, usage.requests), (0, 0));
                continue;
            }
            attempts += 1;
            let (_, spans) = usage.event.split_once('@').unwrap();
            for span in spans.split(',') {
                let (from, to) = span.split_once("..").unwrap();
                for offset in from.parse::<u64>().unwrap()..to.parse().unwrap() {
                    *settled.entry(offset).or_default() += 1;
                }
            }
        }
        assert_eq!(settled.len(), 60, "{ordering:?}");
        assert!(
            settled.values().all(|times| *times == 1),
            "{ordering:?}: {settled:?}"
        );
        assert!(
            attempts < world.calls().len(),
            "the crashes cut something off"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_graceful_stop_waits_for_what_runs() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| trigger.batch.batch_size = 1);
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..2).await;
    let life = world.start_async(|_| {
        Box::pin(async {
            tokio::time::sleep_until(Instant::now() + Duration::from_secs(2)).await;
            fine()
        })
    });
    life.until(|list| {
        list.iter()
            .any(|status| status.trigger == id && status.in_flight == 2)
    })
    .await;
    tokio::task::yield_now().await;
    life.stop().await;
    assert_eq!(world.calls().len(), 1, "nothing new begins");
    let usage = world.check_usage().await;
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].outcome, UsageOutcome::Success);
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_drain_is_void_and_runs_again_under_the_next_number() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..1).await;
    let life = world.start_async(|_| Box::pin(std::future::pending()));
    life.until(|list| {
        list.iter()
            .any(|status| status.trigger == id && status.in_flight == 1)
    })
    .await;
    while world.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    let began = world.now();
    life.stop().await;
    assert_eq!(world.now().since(began), world.settings.drain);
    let life = world.start(|_| fine());
    life.until_ended(id, 1).await;
    let usage = world.check_usage().await;
    let attempts: Vec<_> = usage.iter().map(|it| (it.attempt, it.outcome)).collect();
    assert_eq!(
        attempts,
        [(1, UsageOutcome::Void), (2, UsageOutcome::Success)]
    );
}
