//! Triggers and functions that come, change and go while the dispatcher runs.

use std::collections::BTreeMap;

use function::StartingPosition;
use uuid::Uuid;

use super::doubles::fine;
use super::world::{TOPIC, World, offset, partition, trigger};

#[tokio::test(start_paused = true)]
async fn a_trigger_made_at_run_time_runs_from_its_start_and_an_idle_one_waits_for_its_topic() {
    let world = World::new();
    let life = world.start(|_| fine());
    let trigger = trigger(|_| {});
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.create_topic(TOPIC, 2).await;
    life.until(|list| list.iter().filter(|status| status.trigger == id).count() == 2)
        .await;
    world.publish_numbers(0..3).await;
    life.until_ended(id, 3).await;
    let seen: Vec<_> = world
        .calls()
        .iter()
        .flat_map(|call| call.offsets())
        .collect();
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_trigger_on_what_is_new_skips_what_was_there() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    world.publish_numbers(0..4).await;
    let trigger = trigger(|trigger| {
        trigger.starting_position = StartingPosition::Latest {
            ends: BTreeMap::from([(0, offset(3))]),
        };
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let life = world.start(|_| fine());
    life.until_ended(id, 1).await;
    assert_eq!(world.calls()[0].offsets(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_trigger_rests_and_goes_on_where_it_stopped() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let on = trigger(|_| {});
    let id = Some(on.id);
    world.functions.put_trigger(on.clone());
    world.publish_numbers(0..2).await;
    let life = world.start(|_| fine());
    life.until_ended(id, 2).await;

    let mut off = on.clone();
    off.enabled = false;
    off.revision = Uuid::new_v4();
    world.functions.put_trigger(off);
    life.until(|list| list.iter().all(|status| status.trigger != id))
        .await;
    world.publish_numbers(2..4).await;
    let before = world.calls().len();

    let mut again = on;
    again.revision = Uuid::new_v4();
    world.functions.put_trigger(again);
    life.until_ended(id, 4).await;
    let after = &world.calls()[before..];
    let seen: Vec<_> = after.iter().flat_map(|call| call.offsets()).collect();
    assert_eq!(seen, [2, 3]);
    world.check_usage().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_trigger_leaves_no_checkpoint() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let (id, consumer) = (trigger.id, trigger.consumer());
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..2).await;
    let life = world.start(|_| fine());
    life.until_ended(Some(id), 2).await;
    assert!(world.log.consumers().contains(&consumer));
    world.functions.delete_trigger(id);
    life.until(|list| list.iter().all(|status| status.trigger != Some(id)))
        .await;
    life.stop().await;
    assert!(!world.log.consumers().contains(&consumer));
}

#[tokio::test(start_paused = true)]
async fn a_trigger_without_its_function_waits_for_it_and_says_so() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.function = function::FunctionName::new("later").unwrap();
    });
    let id = trigger.id;
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..1).await;
    let life = world.start(|_| fine());
    life.until(|_| {
        let result = life.status.last_result(id);
        result.is_some_and(|it| it == "PROBLEM: function later does not exist")
    })
    .await;
    world
        .functions
        .put_function(crate::tests::function("later"));
    life.until_ended(Some(id), 1).await;
    assert_eq!(life.status.last_result(id).as_deref(), Some("OK"));
}

#[tokio::test(start_paused = true)]
async fn two_triggers_on_one_topic_see_every_event_each() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    world.functions.put_function(crate::tests::function("g"));
    let one = trigger(|_| {});
    let other = trigger(|trigger| {
        trigger.function = function::FunctionName::new("g").unwrap();
    });
    let ids = [one.id, other.id];
    world.functions.put_trigger(one);
    world.functions.put_trigger(other);
    world.publish_numbers(0..3).await;
    let life = world.start(|_| fine());
    for id in ids {
        life.until_ended(Some(id), 3).await;
    }
    for function in ["f", "g"] {
        let calls = world.calls();
        let own = calls.iter().filter(|call| call.function == function);
        let seen: Vec<_> = own.flat_map(|call| call.offsets()).collect();
        assert_eq!(seen, [0, 1, 2], "{function}");
    }
    assert_eq!(world.check_usage().await.len(), world.calls().len());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_topic_ends_the_work_on_it() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let life = world.start(|_| fine());
    life.until(|list| list.iter().any(|status| status.trigger == id))
        .await;
    world
        .log
        .delete_topic(&partition(TOPIC, 0).topic)
        .await
        .unwrap();
    life.until(|list| list.iter().all(|status| status.trigger != id))
        .await;
    world.create_topic(TOPIC, 1).await;
    world.publish_numbers(0..1).await;
    life.until_ended(id, 1).await;
}
