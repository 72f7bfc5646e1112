//! Versions and aliases as targets.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use function::{
    Alias, Draw, Function, FunctionName, ProvisionedConcurrency, QualifiedName, Version,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::doubles::{broken, fine};
use super::world::{TOPIC, World, trigger};
use crate::{InvokeRequest, ProvisionError};

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn version(number: u64) -> Function {
    Function {
        version: Version::published(number).unwrap(),
        revision: Uuid::new_v4(),
        ..crate::tests::function("f")
    }
}

fn alias(version: u64, weight_of_second: f64) -> Alias {
    let additional = json!({"version": "2", "weight": weight_of_second});
    serde_json::from_value(json!({
        "account": "000000000000", "function": "f", "name": "live",
        "version": version.to_string(), "additional": additional, "description": "",
        "revision": Uuid::new_v4(),
    }))
    .unwrap()
}

fn live() -> QualifiedName {
    QualifiedName {
        name: FunctionName::new("f").unwrap(),
        qualifier: Some("live".parse().unwrap()),
    }
}

/// Two versions and an alias that divides between them.
fn world(weight_of_second: f64) -> World {
    let world = World::new();
    world.functions.put_version(version(1));
    world.functions.put_version(version(2));
    world.functions.put_alias(alias(1, weight_of_second));
    world
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_one_versions_and_which_is_a_function_of_the_attempt() {
    let world = world(0.5);
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.qualifier = live().qualifier;
        trigger.batch.batch_size = 1;
        trigger.retry.maximum_retry_attempts = Some(2);
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let life = world.start(|_| broken());
    world.publish_numbers(0..20).await;
    life.until_ended(id, 20).await;
    let usage = world.check_usage().await;
    assert_eq!(usage.len(), 60);
    for used in &usage {
        let drawn = alias(1, 0.5).choose(Draw::of(&used.event, used.attempt));
        assert_eq!(used.version, drawn.to_string(), "{}", used.event);
    }
    let billed: BTreeSet<_> = usage
        .iter()
        .map(|used| (used.version.clone(), used.request_id.clone()))
        .collect();
    let calls = world.calls();
    let ran: BTreeSet<_> = calls
        .iter()
        .map(|call| (call.version.clone(), call.request_id.clone()))
        .collect();
    assert_eq!(billed, ran, "what is billed is what ran");
    assert!(calls.iter().all(|call| call.arn == format!("{ARN}:live")));
    let versions: BTreeSet<_> = usage.iter().map(|used| used.version.as_str()).collect();
    assert_eq!(versions, BTreeSet::from(["1", "2"]));
    for letter in world.letters().await {
        assert_eq!(
            letter["requestContext"]["functionArn"],
            format!("{ARN}:live")
        );
        let id = &letter["requestContext"]["requestId"];
        let last = usage.iter().find(|used| *id == used.request_id).unwrap();
        assert_eq!(letter["responseContext"]["executedVersion"], last.version);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_is_pointed_elsewhere_is_followed_and_the_old_version_stays_warm_for_others()
{
    let world = world(0.0);
    let life = world.start(|_| fine());
    let request = |target: QualifiedName| InvokeRequest {
        target,
        request_id: Uuid::new_v4().to_string(),
        payload: Bytes::from_static(b"{}"),
        client_context: None,
        trace_id: None,
    };
    let invoke = async |target| {
        let response = life.invoker.invoke(request(target)).await.unwrap();
        response.executed_version.to_string()
    };
    assert_eq!(invoke(live()).await, "1");
    world.functions.put_alias(alias(2, 0.0));
    assert_eq!(invoke(live()).await, "2");
    let first = QualifiedName {
        qualifier: Some("1".parse().unwrap()),
        ..live()
    };
    assert_eq!(invoke(first).await, "1");
    let head = QualifiedName::unqualified(live().name);
    assert_eq!(invoke(head).await, "$LATEST");
    assert_eq!(life.invoker.parts().pool.count().idle, 3, "one for each");

    life.invoker.enqueue(request(live())).await.unwrap();
    life.until_ended(None, 1).await;
    let usage = world.check_usage().await;
    let versions: Vec<_> = usage.iter().map(|used| used.version.as_str()).collect();
    assert_eq!(
        versions.iter().filter(|version| **version == "2").count(),
        2
    );
    let missing = QualifiedName {
        qualifier: Some("none".parse().unwrap()),
        ..live()
    };
    assert!(life.invoker.enqueue(request(missing)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_cut_off_is_void_under_the_version_that_it_was_made_with() {
    let world = world(0.5);
    world.create_topic(TOPIC, 1).await;
    let trigger = trigger(|trigger| {
        trigger.qualifier = live().qualifier;
        trigger.batch.batch_size = 1;
        trigger.ordering = function::Ordering::None;
    });
    let id = Some(trigger.id);
    world.functions.put_trigger(trigger);
    let life = world.start_async(|_| Box::pin(std::future::pending()));
    world.publish_numbers(0..8).await;
    life.until(|list| list.iter().any(|status| status.in_flight == 8))
        .await;
    while world.calls().len() < 8 {
        tokio::task::yield_now().await;
    }
    let cut: BTreeSet<_> = world
        .calls()
        .iter()
        .map(|call| (call.version.clone(), call.request_id.clone()))
        .collect();
    life.stop().await;
    let life = world.start(|_| fine());
    life.until_ended(id, 8).await;
    let usage = world.check_usage().await;
    let void = usage.iter().filter(|used| used.attempt == 1);
    let void: BTreeSet<_> = void
        .map(|used| (used.version.clone(), used.request_id.clone()))
        .collect();
    assert_eq!(void, cut);
}

#[tokio::test(start_paused = true)]
async fn provisioned_concurrency_follows_the_registry() {
    let world = world(0.0);
    let life = world.start(|_| fine());
    let stop = CancellationToken::new();
    let (pool, reaper) = (Arc::clone(&life.invoker.parts().pool), stop.clone());
    let pool = tokio::spawn(async move { pool.run(reaper).await });
    let keeper = tokio::spawn(Arc::clone(&life.invoker).keep_provisioned(stop.clone()));
    let provisioned = |executions| Function {
        provisioned: Some(ProvisionedConcurrency {
            executions,
            configured_at: world.now(),
        }),
        ..version(1)
    };
    for executions in [3, 1] {
        let version = provisioned(executions);
        world.functions.put_version(version.clone());
        loop {
            let status = life.invoker.provisioned(&version);
            if status.is_some_and(|it| it.available == executions as usize) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let none = version(1);
    world.functions.put_version(none.clone());
    while life.invoker.parts().pool.count().idle > 0 {
        tokio::task::yield_now().await;
    }
    let head = crate::tests::function("f");
    let account = world.settings.account_concurrency - world.settings.minimum_unreserved;
    let check = |function: &Function, wanted, others| {
        life.invoker.check_provision(function, wanted, others)
    };
    assert_eq!(check(&head, account - 2, 2), Ok(()));
    let left = ProvisionError::Account { left: account - 2 };
    assert_eq!(check(&head, account - 1, 2), Err(left));
    let reserved = Function {
        reserved_concurrency: Some(5),
        ..head
    };
    assert_eq!(check(&reserved, 3, 2), Ok(()));
    let left = ProvisionError::Reserved {
        reserved: 5,
        left: 3,
    };
    assert_eq!(check(&reserved, 4, 2), Err(left));
    stop.cancel();
    keeper.await.unwrap();
    pool.await.unwrap();
}
