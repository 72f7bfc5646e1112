//! Several nodes on one log: what a node holds, and what it does not.

use std::sync::Arc;
use std::time::Duration;

use event_log::{MemoryLog, Shard, Share};
use tokio::time::Instant;

use super::doubles::fine;
use super::world::{TOPIC, World, partition, trigger};

#[tokio::test(start_paused = true)]
async fn only_partitions_in_the_share_are_worked_on() {
    let log = MemoryLog::new();
    let world = World::over(Arc::clone(&log) as _);
    world.create_topic(TOPIC, 4).await;
    let trigger = trigger(|_| {});
    let (id, consumer) = (Some(trigger.id), trigger.consumer());
    let first = Shard::of(&consumer, &partition(TOPIC, 0));
    log.hold(Share::none().with(first));
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..3).await;
    let life = world.start(|_| fine());
    life.until_ended(id, 3).await;
    let held = |index| Shard::of(&consumer, &partition(TOPIC, index)) == first;
    let worked_on = life.status.list();
    let worked_on = worked_on.iter().filter(|status| status.trigger == id);
    assert!(worked_on.clone().count() >= 1);
    for status in worked_on {
        assert!(
            held(status.partition.partition.index()),
            "{}",
            status.partition
        );
    }

    log.hold(Share::all());
    let ours = |list: &[crate::TriggerStatus]| list.iter().filter(|it| it.trigger == id).count();
    life.until(|list| ours(list) == 4).await;
    assert_eq!(life.tallies(id).succeeded, 3, "it goes on where it was");
}

#[tokio::test(start_paused = true)]
async fn work_that_leaves_the_share_is_cut_off_and_settled_by_its_next_holder() {
    let log = MemoryLog::new();
    let world = World::over(Arc::clone(&log) as _);
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let (id, consumer) = (Some(trigger.id), trigger.consumer());
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..2).await;
    let long = Duration::from_secs(60);
    let life = world.start_async(move |_| {
        Box::pin(async move {
            tokio::time::sleep_until(Instant::now() + long).await;
            fine()
        })
    });
    life.until(|list| list.iter().any(|it| it.trigger == id && it.in_flight == 2))
        .await;
    let begun = Instant::now();
    log.hold(Share::none());
    life.until(|list| list.is_empty()).await;
    assert!(
        begun.elapsed() < long,
        "nobody waits for what cannot be settled"
    );
    let place = partition(TOPIC, 0);
    let before = world.log.checkpoint(&consumer, &place).expect("written");
    assert_eq!(before.next.get(), 0);

    log.hold(Share::all());
    life.until_ended(id, 2).await;
    life.stop().await;
    let usage = world.check_usage().await;
    let charged: u64 = usage.iter().map(|usage| usage.requests).sum();
    assert_eq!(charged, 1, "the attempt that was cut off is void");
}

#[tokio::test(start_paused = true)]
async fn a_node_among_others_forgets_no_trigger_that_it_has_never_known() {
    let log = MemoryLog::new();
    let world = World::over(Arc::clone(&log) as _);
    world.create_topic(TOPIC, 1).await;
    let unknown = trigger(|_| {});
    let (id, consumer) = (Some(unknown.id), unknown.consumer());
    world.functions.put_trigger(unknown.clone());
    world.publish_numbers(0..2).await;
    let life = world.start(|_| fine());
    life.until_ended(id, 2).await;
    life.stop().await;

    // Another node: its view of the registry does not have the trigger yet.
    world.functions.delete_trigger(unknown.id);
    let held = Shard::of(&consumer, &partition(TOPIC, 0));
    let elsewhere = Shard::all()
        .find(|shard| *shard != held)
        .expect("one of many");
    log.hold(Share::all().without(elsewhere));
    let life = world.start(|_| fine());
    life.until(|list| !list.is_empty()).await;
    let kept = world.log.checkpoint(&consumer, &partition(TOPIC, 0));
    assert_eq!(kept.expect("kept").next.get(), 2);
    world.functions.put_trigger(unknown);
    life.until_ended(id, 2).await;
    assert_eq!(world.calls().len(), 1, "nothing was run again");
}
