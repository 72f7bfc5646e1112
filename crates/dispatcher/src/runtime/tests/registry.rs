//! Triggers and functions that come, change and go while the dispatcher runs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use clock::Timestamp;
use function::{
    AsyncPolicy, Draw, Function, FunctionName, Ordering, QualifiedName, StartingPosition, Trigger,
};
use instance::{Pool, PoolConfig};
use metering::UsageOutcome;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::doubles::{Listed, PausedClock, Script, fine};
use super::world::{TOPIC, World, offset, partition, trigger};
use crate::{Folders, Functions, Invoker, InvokerParts};

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
async fn changing_a_trigger_lets_what_runs_end_and_labels_restart_nothing() {
    let world = World::new();
    world.create_topic(TOPIC, 1).await;
    world.functions.put_function(Function {
        timeout_seconds: 900,
        ..crate::tests::function("f")
    });
    let first = trigger(|trigger| {
        trigger.batch.batch_size = 1;
        trigger.ordering = Ordering::None;
    });
    let id = Some(first.id);
    world.functions.put_trigger(first.clone());
    let pause = |seconds| tokio::time::sleep_until(Instant::now() + Duration::from_secs(seconds));
    let life = world.start_async(move |_| {
        Box::pin(async move {
            pause(600).await;
            fine()
        })
    });
    let began = world.now();
    world.publish_numbers(0..1).await;
    life.until(|list| list.iter().any(|status| status.in_flight > 0))
        .await;
    let mut changed = first.clone();
    changed.tags.insert("team".to_owned(), "a".to_owned());
    changed.last_modified = Timestamp::from_millis(7);
    changed.revision = Uuid::new_v4();
    world.functions.put_trigger(changed.clone());
    pause(1).await;
    world.publish_numbers(1..2).await;
    life.until_ended(id, 2).await;
    assert_eq!(world.now().since(began).as_secs(), 601, "side by side");

    world.publish_numbers(2..3).await;
    life.until(|list| list.iter().any(|status| status.in_flight > 0))
        .await;
    changed.batch.batch_size = 10;
    changed.revision = Uuid::new_v4();
    world.functions.put_trigger(changed);
    pause(1).await;
    world.publish_numbers(3..4).await;
    life.until_ended(id, 4).await;
    assert_eq!(
        world.now().since(began).as_secs(),
        601 + 600 + 600,
        "one after the other"
    );
    assert_eq!(world.calls().len(), 4);
    let usage = world.check_usage().await;
    assert!(usage.iter().all(|it| it.outcome == UsageOutcome::Success));
}

/// A registry in which something happens while its functions are listed for the first time.
struct Interrupted {
    listed: Arc<Listed>,
    happens: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl std::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupted").finish_non_exhaustive()
    }
}

#[async_trait]
impl Functions for Interrupted {
    fn function(&self, name: &FunctionName) -> Option<Arc<Function>> {
        self.listed.function(name)
    }

    fn functions(&self) -> Vec<Arc<Function>> {
        let listed = self.listed.functions();
        let happens = self.happens.lock().take();
        if let Some(happens) = happens {
            happens();
        }
        listed
    }

    fn versions(&self) -> Vec<Arc<Function>> {
        self.listed.versions()
    }

    fn provisioned(&self) -> Vec<(Arc<Function>, u32)> {
        self.listed.provisioned()
    }

    fn resolve(&self, target: &QualifiedName, draw: Draw) -> Option<Arc<Function>> {
        self.listed.resolve(target, draw)
    }

    fn async_policy(&self, target: &QualifiedName) -> Option<AsyncPolicy> {
        self.listed.async_policy(target)
    }

    fn triggers(&self) -> Vec<Arc<Trigger>> {
        self.listed.triggers()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.listed.changes()
    }

    async fn folders(
        &self,
        function: &Function,
    ) -> Result<Folders, Box<dyn std::error::Error + Send + Sync>> {
        self.listed.folders(function).await
    }
}

#[tokio::test]
async fn an_older_look_at_the_registry_does_not_undo_a_newer_one() {
    let world = World::new();
    let functions = Arc::new(Interrupted {
        listed: Arc::clone(&world.functions),
        happens: Mutex::default(),
    });
    let invoker = Arc::new(Invoker::new(InvokerParts {
        log: Arc::clone(&world.log),
        functions: Arc::clone(&functions) as _,
        pool: Arc::new(Pool::new(
            Arc::new(Script::new(|_| Box::pin(async { fine() }))),
            PoolConfig::default(),
        )),
        clock: PausedClock::new(),
        settings: world.settings.clone(),
    }));
    let newer = Arc::new(OnceLock::new());
    let (invoker_too, newer_too) = (Arc::clone(&invoker), Arc::clone(&newer));
    let listed = Arc::clone(&world.functions);
    *functions.happens.lock() = Some(Box::new(move || {
        listed.put_function(Function {
            reserved_concurrency: Some(50),
            ..crate::tests::function("f")
        });
        let (done, is_done) = mpsc::channel::<()>();
        let look = std::thread::spawn(move || {
            invoker_too.refresh();
            drop(done);
        });
        // It ends now, or waits for the older one: either is fine, losing it is not.
        is_done
            .recv_timeout(Duration::from_millis(100))
            .unwrap_err();
        drop(newer_too.set(look));
    }));
    invoker.refresh();
    let look = Arc::into_inner(newer).and_then(OnceLock::into_inner);
    look.unwrap().join().unwrap();
    let other = FunctionName::new("g").unwrap();
    assert!(invoker.check_reservation(&other, 50).is_err());
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
