//! Asynchronous and synchronous invocations.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use function::{FunctionName, QualifiedName};
use metering::UsageOutcome;
use tokio::time::Instant;

use super::doubles::{broken, fine};
use super::world::World;
use crate::{FunctionResult, InvokeError, InvokeRequest, Settings, Throttle};

fn request(function: &str) -> InvokeRequest {
    InvokeRequest {
        target: QualifiedName::unqualified(FunctionName::new(function).unwrap()),
        request_id: "5f0e9f5e-0000-4000-8000-000000000001".to_owned(),
        payload: Bytes::from_static(br#"{"n":1}"#),
        client_context: None,
        trace_id: None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_invocation_is_tried_three_times_under_one_request_id() {
    let world = World::new();
    let life = world.start(|_| broken());
    let began = world.now();
    life.invoker.enqueue(request("f")).await.unwrap();
    life.until_ended(None, 1).await;
    assert_eq!(world.now().since(began), Duration::from_secs(60 + 120));
    let calls = world.calls();
    assert_eq!(calls.len(), 3);
    assert!(
        calls
            .iter()
            .all(|call| call.request_id == request("f").request_id)
    );
    assert!(
        calls
            .iter()
            .all(|call| call.payload == request("f").payload)
    );
    let usage = world.check_usage().await;
    let attempts: Vec<_> = usage.iter().map(|usage| usage.attempt).collect();
    assert_eq!(attempts, [1, 2, 3]);
    let letters = world.letters().await;
    assert_eq!(letters.len(), 1);
    let context = &letters[0]["requestContext"];
    assert_eq!(context["requestId"], request("f").request_id.as_str());
    assert_eq!(
        context["functionArn"],
        "arn:aws:lambda:us-east-1:000000000000:function:f"
    );
    assert_eq!(letters[0]["requestPayload"]["n"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_invocation_that_succeeds_is_settled_once() {
    let world = World::new();
    let life = world.start(|_| fine());
    life.invoker.enqueue(request("f")).await.unwrap();
    life.until_ended(None, 1).await;
    assert_eq!(life.tallies(None).succeeded, 1);
    life.stop().await;
    let again = world.start(|_| fine());
    again.until(|list| list.len() == 8).await;
    assert!(again.status.is_caught_up());
    assert_eq!(world.calls().len(), 1);
    assert_eq!(world.check_usage().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_gone_when_its_turn_comes_leaves_a_dead_letter() {
    let world = World::new();
    world.functions.put_function(crate::tests::function("gone"));
    let life = world.start(|_| fine());
    life.invoker.enqueue(request("gone")).await.unwrap();
    world.functions.delete_function("gone");
    life.until_ended(None, 1).await;
    assert!(world.calls().is_empty());
    let letters = world.letters().await;
    assert_eq!(letters[0]["requestContext"]["condition"], "Rejected");
    assert_eq!(letters[0]["requestPayload"]["n"], 1);
    let error = life.invoker.enqueue(request("nobody")).await.unwrap_err();
    assert!(matches!(error, InvokeError::UnknownFunction { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_is_switched_off_fails_asynchronous_invocations_at_once() {
    let world = World::new();
    world.functions.put_function(function::Function {
        reserved_concurrency: Some(0),
        ..crate::tests::function("off")
    });
    let life = world.start(|_| fine());
    life.invoker.enqueue(request("off")).await.unwrap();
    life.until_ended(None, 1).await;
    assert!(world.calls().is_empty());
    let letters = world.letters().await;
    assert_eq!(letters[0]["requestContext"]["condition"], "Rejected");
    assert_eq!(
        letters[0]["requestContext"]["reason"],
        "PROBLEM: function off is switched off: it reserves nothing"
    );
    assert_eq!(letters[0]["requestContext"]["approximateInvokeCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_function_without_room_does_not_hold_up_the_others() {
    let world = World::new();
    world.functions.put_function(function::Function {
        reserved_concurrency: Some(1),
        ..crate::tests::function("slow")
    });
    let life = world.start_async(|call| {
        Box::pin(async move {
            if call.function == "slow" {
                std::future::pending::<()>().await;
            }
            fine()
        })
    });
    let numbered = |function, number: u32| InvokeRequest {
        request_id: format!("{function}-{number}"),
        ..request(function)
    };
    for number in 0..1_000 {
        let queued = life.invoker.enqueue(numbered("slow", number)).await;
        queued.unwrap();
    }
    for number in 0..20 {
        let queued = life.invoker.enqueue(numbered("f", number)).await;
        queued.unwrap();
    }
    life.until_ended(None, 20).await;
    let slow = world
        .calls()
        .iter()
        .filter(|it| it.function == "slow")
        .count();
    assert_eq!(slow, 1);
}

#[tokio::test(start_paused = true)]
async fn a_burst_at_one_function_runs_to_its_end_without_a_pause() {
    let world = World::new();
    world.functions.put_function(function::Function {
        reserved_concurrency: Some(1),
        ..crate::tests::function("one")
    });
    let life = world.start(|_| fine());
    let began = world.now();
    for number in 0..1_000 {
        let request = InvokeRequest {
            request_id: number.to_string(),
            ..request("one")
        };
        life.invoker.enqueue(request).await.unwrap();
    }
    life.until_ended(None, 1_000).await;
    assert_eq!(world.now(), began);
    assert_eq!(world.calls().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_invocation_is_accounted_for_before_its_answer() {
    let world = World::new();
    let life = world.start(|_| fine());
    let response = life.invoker.invoke(request("f")).await.unwrap();
    assert_eq!(response.result, FunctionResult::Success("[]".into()));
    let usage = world.usage().await;
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[0].outcome, UsageOutcome::Success);
    assert_eq!(usage[0].request_id, request("f").request_id);
    assert_eq!((usage[0].billed_ms, usage[0].requests), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn a_synchronous_call_beyond_the_limit_is_throttled_and_an_abandoned_one_still_counts() {
    let mut world = World::new();
    world.settings = Settings {
        account_concurrency: 1,
        ..world.settings
    };
    let life = world.start_async(|_| {
        Box::pin(async {
            tokio::time::sleep_until(Instant::now() + Duration::from_secs(1)).await;
            fine()
        })
    });
    let invoker = Arc::clone(&life.invoker);
    let abandoned = tokio::spawn(async move { invoker.invoke(request("f")).await });
    tokio::task::yield_now().await;
    let error = life.invoker.invoke(request("f")).await.unwrap_err();
    let InvokeError::Throttled { reason, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(reason, Throttle::Account);
    abandoned.abort();
    assert!(life.invoker.drain(Duration::from_secs(5)).await);
    assert_eq!(world.usage().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_servers_is_an_answer_and_gives_its_room_back() {
    let mut world = World::new();
    world.settings = Settings {
        account_concurrency: 1,
        ..world.settings
    };
    let life = world.start(|_| panic!("a defect"));
    for _ in 0..2 {
        let error = life.invoker.invoke(request("f")).await.unwrap_err();
        assert!(matches!(error, InvokeError::Unavailable { .. }), "{error}");
    }
    assert!(life.invoker.drain(Duration::from_secs(5)).await);
}
