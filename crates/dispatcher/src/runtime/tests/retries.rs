//! What becomes of batches that fail.

use event::Record;
use event_log::{RecordBatch, Settlement};
use function::{Destination, Ordering};
use metering::UsageOutcome;

use super::doubles::{broken, fine};
use super::world::{TOPIC, World, partition, trigger};

#[tokio::test(start_paused = true)]
async fn a_failing_event_is_retried_and_then_a_dead_letter() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.batch.batch_size = 1;
        trigger.retry.maximum_retry_attempts = Some(2);
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..3).await;
    let began = world.now();
    let life = world.start(|call| {
        if call.offsets() == [1] {
            broken()
        } else {
            fine()
        }
    });
    life.until_ended(id, 3).await;

    let tries: Vec<_> = world
        .calls()
        .iter()
        .flat_map(|call| call.offsets())
        .collect();
    assert_eq!(tries, [0, 1, 1, 1, 2]);
    assert_eq!(world.now().since(began).as_millis(), 100 + 200);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["source"]["offset"], 1);
    assert_eq!(letters[0]["requestPayload"], 1);
    assert_eq!(
        letters[0]["requestContext"]["condition"],
        "RetriesExhausted"
    );
    assert_eq!(letters[0]["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(letters[0]["responsePayload"]["errorMessage"], "no");
    let usage = world.check_usage().await;
    let failed = usage.iter().filter(|it| it.outcome == UsageOutcome::Error);
    let attempts: Vec<_> = failed.map(|usage| usage.attempt).collect();
    assert_eq!((usage.len(), attempts), (5, vec![1, 2, 3]));
    let mut ids: Vec<_> = usage.iter().map(|usage| &usage.request_id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "a mapping's attempts have an id each");
    let tallies = life.tallies(id);
    assert_eq!((tallies.succeeded, tallies.failed), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn bisecting_brings_only_the_poison_to_the_users_own_topic() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.batch.batch_size = 8;
        trigger.retry.maximum_retry_attempts = Some(0);
        trigger.retry.bisect_batch_on_function_error = true;
        trigger.retry.on_failure = Destination::Topic(partition("poison", 0).topic);
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let records: Vec<_> = (0..8)
        .map(|number| Record::new(number.to_string(), world.now()))
        .collect();
    let batch = RecordBatch::of(&records).unwrap();
    let settlement = Settlement::of(partition(TOPIC, 0), batch);
    world.log.commit(settlement).await.unwrap();
    let life = world.start(|call| {
        let poisoned = call.offsets().contains(&5);
        if poisoned { broken() } else { fine() }
    });
    life.until_ended(id, 8).await;

    let sizes: Vec<_> = world
        .calls()
        .iter()
        .map(|call| call.offsets().len())
        .collect();
    assert_eq!(sizes, [8, 4, 4, 2, 1, 1, 2]);
    assert_eq!(world.records("poison").await.len(), 1);
    assert!(world.letters().await.is_empty());
    let tallies = life.tallies(id);
    assert_eq!((tallies.succeeded, tallies.failed), (7, 1));
    world.check_usage().await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_failed_in_part_is_retried_in_part() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.ordering = Ordering::None;
        trigger.report_batch_item_failures = true;
    });
    let id = Some(trigger.id);
    world.publish_numbers(0..4).await;
    world.functions.put_trigger(trigger);
    let first = std::sync::atomic::AtomicBool::new(true);
    let life = world.start(move |_| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            instance::Outcome::Success("[1,3]".into())
        } else {
            fine()
        }
    });
    life.until_ended(id, 4).await;
    let tries: Vec<_> = world.calls().iter().map(|call| call.offsets()).collect();
    assert_eq!(tries, [vec![0, 1, 2, 3], vec![1, 3]]);
    let usage = world.check_usage().await;
    let places: Vec<_> = usage.iter().map(|usage| usage.event.as_str()).collect();
    assert_eq!(places, ["orders-0@0..4", "orders-0@1..2,3..4"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_fails_the_batch() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.report_batch_item_failures = true;
        trigger.retry.maximum_retry_attempts = Some(0);
    });
    let id = trigger.id;
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..2).await;
    let life = world.start(|_| instance::Outcome::Success("nonsense".into()));
    life.until_ended(Some(id), 2).await;
    assert_eq!(life.tallies(Some(id)).failed, 2);
    assert!(
        life.status
            .last_result(id)
            .unwrap()
            .starts_with("PROBLEM: ")
    );
}

#[tokio::test(start_paused = true)]
async fn what_no_filter_wants_ends_without_a_call() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.filters = vec![r#"{"kind":["order"]}"#.to_owned()];
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let values = [r#"{"kind":"order"}"#, r#"{"kind":"visit"}"#, "no json"];
    world
        .publish(values.map(|value| (None, value.to_owned())))
        .await;
    let life = world.start(|_| fine());
    life.until_ended(id, 3).await;
    let tallies = life.tallies(id);
    assert_eq!((tallies.succeeded, tallies.filtered), (1, 2));
    assert_eq!(world.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_batch_becomes_dead_letters_and_the_rest_goes_on() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|_| {});
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..1).await;
    let settlement = Settlement::of(partition(TOPIC, 0), garbled());
    world.log.commit(settlement).await.unwrap();
    world.publish_numbers(2..3).await;
    let life = world.start(|_| fine());
    life.until_ended(id, 3).await;
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["requestContext"]["condition"], "Unreadable");
    assert_eq!(letters[0]["source"]["offset"], 1);
    assert!(letters[0]["requestContext"]["reason"].is_string());
    let tallies = life.tallies(id);
    assert_eq!((tallies.succeeded, tallies.failed), (2, 1));
}

/// A batch of one record whose header claims a compression that its bytes do not have.
fn garbled() -> RecordBatch {
    let batch = RecordBatch::of_one(Record::new("x", clock::Timestamp::default()));
    let mut bytes = batch.as_bytes().to_vec();
    bytes[22] |= 4;
    RecordBatch::trusted(bytes.into()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_old_expires() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.retry.maximum_record_age_seconds = Some(60);
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    world.publish_numbers(0..1).await;
    let life = world.start(|_| broken());
    life.until_ended(id, 1).await;
    assert_eq!(life.tallies(id).expired, 1);
    let letters = world.letters().await;
    assert_eq!(
        letters[0]["requestContext"]["condition"],
        "EventAgeExceeded"
    );
    let tried = world.calls().len() as u64;
    assert_eq!(
        letters[0]["requestContext"]["approximateInvokeCount"],
        tried
    );
}
