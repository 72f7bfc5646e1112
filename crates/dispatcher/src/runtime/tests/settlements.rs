//! Settlements that the log refuses.

use event_log::{CheckpointUpdate, OwnerId, Rule, Settlement};

use super::doubles::{broken, fine};
use super::faulty_log::FaultyLog;
use super::world::{TOPIC, World, offset, partition, trigger};

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_waited_for_and_nothing_is_lost() {
    let log = FaultyLog::new();
    let world = World::over(log.clone());
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| trigger.batch.batch_size = 1);
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let life = world.start(|_| fine());
    life.until(|list| list.iter().any(|status| status.trigger == id))
        .await;
    log.fill(3);
    let began = world.now();
    world.publish_numbers(0..200).await;
    life.until(|list| list.iter().any(|status| status.in_flight > 0))
        .await;
    life.until_ended(id, 200).await;
    assert_eq!(world.now().since(began).as_millis(), 500 + 1_000 + 2_000);
    assert_eq!(world.calls().len(), 200);
    world.check_usage().await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_that_are_too_large_go_without_their_payloads() {
    let log = FaultyLog::new();
    let world = World::over(log.clone());
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| trigger.retry.maximum_retry_attempts = Some(0));
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish([(None, "x".repeat(5_000))]).await;
    log.limit(4_000);
    let life = world.start(|_| broken());
    life.until_ended(id, 1).await;
    let letters = world.letters().await;
    assert_eq!(letters[0]["source"]["offset"], 0);
    assert_eq!(letters[0].get("requestPayload"), None);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_whose_keys_are_too_large_go_without_them() {
    let log = FaultyLog::new();
    let world = World::over(log.clone());
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| trigger.retry.maximum_retry_attempts = Some(0));
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let key = "k".repeat(5_000);
    world.publish([(Some(key.as_str()), "x".to_owned())]).await;
    log.limit(4_000);
    let life = world.start(|_| broken());
    life.until_ended(id, 1).await;
    let letters = world.letters().await;
    assert_eq!(letters[0]["source"]["offset"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_the_log_failed_is_taken_up_again_after_a_pause() {
    let log = FaultyLog::new();
    let world = World::over(log.clone());
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let id = trigger.id;
    world.functions.put_trigger(trigger);
    let life = world.start(|_| fine());
    world.publish_numbers(0..1).await;
    life.until_ended(Some(id), 1).await;
    log.break_down(2);
    let began = world.now();
    world.publish_numbers(1..2).await;
    life.until(|_| {
        let result = life.status.last_result(id).unwrap_or_default();
        result.starts_with("PROBLEM: write the journal")
    })
    .await;
    life.until_ended(Some(id), 2).await;
    assert_eq!(world.now().since(began).as_secs(), 1 + 2);
    world.check_usage().await;
}

#[tokio::test(start_paused = true)]
async fn a_trigger_writes_down_where_it_begins_before_anything_has_happened() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let (id, consumer) = (Some(trigger.id), trigger.consumer());
    world.functions.put_trigger(trigger);
    let life = world.start(|_| fine());
    life.until(|list| list.iter().any(|status| status.trigger == id))
        .await;
    let checkpoint = world.log.checkpoint(&consumer, &partition(TOPIC, 0));
    assert_eq!(checkpoint.unwrap().next, offset(0));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_moved_from_outside_stops_its_partition_and_no_other() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let moved = trigger(|_| {});
    let other = trigger(|_| {});
    let (id, consumer) = (moved.id, moved.consumer());
    let other_id = other.id;
    world.functions.put_trigger(moved);
    world.functions.put_trigger(other);
    world.publish_numbers(0..2).await;
    let life = world.start(|_| fine());
    life.until_ended(Some(id), 2).await;
    life.until_ended(Some(other_id), 2).await;
    let reset = Settlement {
        checkpoints: vec![CheckpointUpdate {
            consumer,
            partition: partition(TOPIC, 0),
            next: offset(0),
            finished_above: Vec::new(),
            metadata: bytes::Bytes::new(),
            rule: Rule::Reset,
        }],
        ..Settlement::default()
    };
    world.log.commit(reset).await.unwrap();
    world.publish_numbers(2..3).await;
    life.until(|_| {
        let result = life.status.last_result(id).unwrap_or_default();
        result.starts_with("PROBLEM: checkpoint of trigger/")
    })
    .await;
    life.until_ended(Some(other_id), 3).await;
    assert_eq!(life.tallies(Some(id)).total(), 2);
}

#[tokio::test(start_paused = true)]
async fn l3_a_dispatcher_that_was_replaced_settles_nothing_more() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let id = trigger.id;
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..1).await;
    let life = world.start(|_| fine());
    life.until_ended(Some(id), 1).await;
    world
        .log
        .open_epoch(&OwnerId::new("dispatcher"))
        .await
        .unwrap();
    world.publish_numbers(1..2).await;
    life.until(|_| {
        let result = life.status.last_result(id).unwrap_or_default();
        result.contains("is fenced by epoch")
    })
    .await;
    assert_eq!(world.usage().await.len(), 1);
}
